"""Changes to the shipped runbook for bad models, each with what is then said of it (a part that stands alone)."""

from __future__ import annotations

Case = tuple[tuple[str, str], str]

BLOCK = 'revision: "{{ steps.check-target.live }}"'
GOLDEN = "{signals: [golden], count: 2,"
END = "isEnd: true\n    endStatus: recovered"
LOAD = "timeoutSeconds: 300\n    onFailure: step:contain-only"
PROOF = "validation: [validate-golden, validate-traffic]"
ASKED = "minRequiredApprovals: 1"
PLANES = "code, model, features, index, config, infra, data"

VERBS: list[Case] = [
    (
        ("action: plane.switch", "action: plane.swich"),
        "steps[7].action: plane.swich is no verb; did you mean plane.switch?",
    ),
    (
        ("probe: changes.list", "action: changes.list"),
        "steps[3].action: changes.list only looks; write probe: changes.list or gate: changes.list",
    ),
    (
        ("action: serving.roll", "probe: serving.roll"),
        "steps[9].probe: serving.roll changes the world; write action: serving.roll",
    ),
    (
        ("with: {status: mitigated}", "with: {status: better}"),
        ("steps[11].with.status: incident.move: is 'better', must be one of declared, mitigating, mitigated, resolved"),
    ),
    (
        ('with: {plane: model, to: "{{', 'with: {plane: modle, to: "{{'),
        f"steps[7].with.plane: plane.switch: is 'modle', must be one of {PLANES}",
    ),
    (
        (GOLDEN, "{signals: [gold], cuont: 2,"),
        "steps[10].with.cuont: signals.hold: is not known here; did you mean count?",
    ),
    (
        (GOLDEN, "{signals: [gold], count: 2,"),
        (
            "steps[10].with.signals: signals.hold: postcode watches no 'gold'; it watches: golden, scores, "
            "wrong-answers, errors, feature-age, feature-zeros, feature-nulls"
        ),
    ),
    ((GOLDEN, "{signals: [], count: 2,"), "steps[10].with.signals: signals.hold: name at least one"),
    (
        (GOLDEN, "{signals: [golden], count: two,"),
        "steps[10].with.count: signals.hold: is 'two', must be a whole number",
    ),
    ((GOLDEN, "{count: 2,"), "steps[10].with: signals.hold: signals: is missing; it must be given"),
    (
        ("with: {plane: model}\n    why: Retraining", "with: {plane: index}\n    why: Retraining"),
        "steps[4].with.plane: promotions.freeze: service postcode has no index plane; it has: model, features, code",
    ),
    (
        ("gate: approval\n", "gate: approval\n    with: {who: me}\n"),
        "steps[6].with: the approval gate takes no inputs; `approval:` of the runbook says how",
    ),
    (
        ("why: Everyone who was told of the trouble is told of its end.\n    isCritical: false", "why: x"),
        "steps[14].action: comms.post never blocks a recovery; write isCritical: false",
    ),
]

FLOW: list[Case] = [
    (("name: report", "name: announce"), "steps[14].name: 'announce' is taken by the step on line 40"),
    (("name: report", "name: Report it"), "steps[14].name: 'Report it' must be small letters, digits and hyphens"),
    (
        (LOAD, LOAD.removesuffix("-only")),
        "steps[9].onFailure: there is no step 'contain'; did you mean contain-only?",
    ),
    (
        (LOAD, "timeoutSeconds: 300\n    onFailure: abort"),
        "steps[9].onFailure: is 'abort', must be Abort, Continue or step:NAME",
    ),
    (
        (END, "isEnd: true\n    nextStep: approve"),
        "steps[14].nextStep: this step is the end (isEnd); it has no next step",
    ),
    (
        (END, "nextStep: check-target"),
        (
            "steps[5]: goes round in a loop: check-target -> approve -> roll-back -> block-bad-version -> load-model "
            "-> validate-golden -> mitigated -> validate-traffic -> thaw-promotions -> report -> check-target"
        ),
    ),
    (
        ("maxAttempts: 3\n    timeoutSeconds: 300", "nextStep: mitigated\n    timeoutSeconds: 300"),
        "steps[10]: is never reached; the step before it ends the run or jumps past it",
    ),
    (
        ("endStatus: contained", "endStatus: recovered"),
        "steps[17]: is reached after a failure and would end as recovered; write endStatus: contained",
    ),
    (
        ("containment: contain-only}", "containment: check-target}"),
        "target.containment: step 'check-target' is a gate; containment is an action",
    ),
    (
        ("target: {plane: model", "target: {plane: index"),
        "target.plane: service postcode has no index plane; it has: model, features, code",
    ),
    (
        (PROOF, "validation: [approve, report]"),
        "validation[0]: step 'approve' proves nothing; name a gate that looks at the result",
    ),
    ((PROOF, "validation: []"), "validation: names no step; recovery is proved, not assumed"),
    (
        (ASKED, "minRequiredApprovals: 3"),
        "steps[6].gate: needs 3 approval(s); service postcode names 2 approver(s) in owners.approvers",
    ),
    ((ASKED, "minRequiredApprovals: 0"), "approval: minRequiredApprovals and timeoutSeconds must be 1 or more"),
]

NAMES: list[Case] = [
    (
        ("(run {{ run.id }}). Please", "(run {{ run.number }}). Please"),
        "steps[1].with.text: {{ run.number }} is not known; allowed: run.id, run.title, run.requester",
    ),
    (
        ("(run {{ run.id }}). Please", "({{ weather }}). Please"),
        (
            "steps[1].with.text: {{ weather }} is not known; templates may name run, service, owners, incident, "
            "parameters, steps.<name>.<value>"
        ),
    ),
    (
        ("(run {{ run.id }}). Please", "({{ parameters.model }}). Please"),
        "steps[1].with.text: {{ parameters.model }} is not known; allowed: parameters.to",
    ),
    (
        (BLOCK, BLOCK.replace("check", "chek")),
        "steps[8].with.revision: {{ steps.chek-target.live }} names no step; did you mean check-target?",
    ),
    (
        (BLOCK, BLOCK.replace("live", "bad")),
        (
            "steps[8].with.revision: {{ steps.check-target.bad }} is not what target.check gives; allowed: object, "
            "live, target, live_digest, target_digest, summary"
        ),
    ),
    (
        (BLOCK, BLOCK.replace("check-target.live", "recent-changes.newest")),
        (
            "steps[8].with.revision: {{ steps.recent-changes.newest }} may have no value: 'recent-changes' does not "
            "always succeed before 'block-bad-version'"
        ),
    ),
    (
        (BLOCK, BLOCK.replace("check-target", "roll-back")),
        (
            "steps[8].with.revision: {{ steps.roll-back.live }} is only known after the approval; what is approved "
            "must be known by then: 'block-bad-version' cannot use it"
        ),
    ),
    (
        ("back at {{ steps.check-target.target }}", "back at {{ steps.report.summary }}"),
        (
            "steps[14].with.text: {{ steps.report.summary }} may have no value: 'report' does not always succeed "
            "before 'report'"
        ),
    ),
]

BESIDE: list[Case] = [
    (
        ('incidentCommander: "{{ owners.oncall }}"', 'incidentCommander: "{{ owners.boss }}"'),
        (
            "roles: {{ owners.boss }} is not known here; allowed: service.name, service.customers, owners.team, "
            "owners.oncall, owners.decisionMaker"
        ),
    ),
]

ALL = VERBS + FLOW + NAMES + BESIDE

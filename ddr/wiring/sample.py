"""The `ddr.yaml` that `ddr init` writes: short, valid as it is, with a whole service to uncomment.

Lines that begin with `## ` explain; lines that begin with `# ` are the example: without those two characters the
file is valid too (a test holds it to that).
"""

from __future__ import annotations

from collections.abc import Mapping

_HEAD = """\
## ddr.yaml: what ddr watches, and where it keeps its record.
## Check it with `ddr doctor`. Relative paths count from this file's folder.
## Secrets never stand here: write ${env:NAME} or ${file:PATH} instead of a value.
apiVersion: ddr/v1

## Where the journal and the backups live. A folder serves one machine; a bucket serves a team.
repository:
"""

_REST = """
## How to reach the systems your service is made of. Types: {types}.
connectors: {{}}
# connectors:
#   registry: {{type: mlflow, tracking: "https://mlflow.example.com"}}   ## or sqlite:///mlflow.db
#   online: {{type: feature-table, root: /srv/features, table: user_stats, entity: user_id}}
#   code: {{type: release-folder, root: /srv/app}}
#   server: {{type: model-server, url: "http://127.0.0.1:8080", golden: golden.jsonl}}
#   requests: {{type: prediction-log, predictions: /var/log/app/predictions.jsonl, truths: /var/log/app/truths.jsonl}}
#   metrics: {{type: metrics-endpoint, url: "http://127.0.0.1:8080"}}
#   pipelines: {{type: files, root: /srv/pipelines, include: ["*.yaml", dvc.lock, "*.dvc"]}}   ## for backups
#   features: {{type: feast, repo: /srv/feature_repo}}   ## definitions; a registry in a file or a database
#   needs: {{type: secret-references, envFiles: [/srv/app/.env], manifests: [/srv/k8s]}}   ## names, never values

## What you are responsible for: which connector holds each plane, how it is watched, what was promised, who decides.
services: {{}}
# services:
#   ranking:
#     customers: "shop visitors: a wrong order of results"
#     serving: server
#     planes:
#       code: {{connector: code}}
#       model: {{connector: registry, model: ranking, alias: champion}}
#       features: {{connector: online}}
#     signals:
#       golden: {{source: server, series: golden, detector: share, plane: model, limit: 0.02, minSamples: 200}}
#       feature-age: {{source: online, series: event-age-p95, detector: ceiling, plane: features, limit: 10800}}
#       feature-zeros: {{source: online, series: zero-shares, detector: columns, plane: features, minSamples: 100}}
#       scores: {{source: requests, series: scores, detector: distribution, minSamples: 300}}
#       errors: {{source: metrics, series: errors, detector: share, plane: infra, limit: 0.01, minSamples: 50}}
#     objectives: {{rpo: 1h, rto: 15m, detectWithin: 1h}}
#     owners:
#       team: team-ranking
#       oncall: oncall-ml
#       decisionMaker: head-of-ranking
#       approvers: [oncall-ml-lead, head-of-ranking]
#       escalation: [{{after: 10m, to: oncall-ml-lead}}, {{after: 30m, to: head-of-ranking}}]

## How `ddr backup run` seals what it takes: a key file (`ddr backup key new-file PATH`), or a passphrase by reference.
# backup:
#   keyFile: /etc/ddr/backup.key
#   keep: {{keepWithin: 14d, keepDaily: 14, keepWeekly: 8, keepMonthly: 12}}
#   grace: 24h                          ## between "nobody needs this" and deleting it: longer than any backup runs
#   allow: []                           ## fingerprints of what the search for secrets found and is none
#   metrics: /var/lib/prometheus/node-exporter/ddr.prom   ## for Prometheus; `ddr backup schedule --alerts`
#   ping: https://hc-ping.example.com/ID                  ## told when a backup begins, ends, fails
#   copies: {{offsite: {{type: s3, bucket: ddr-offsite, region: eu-central-1}}}}   ## `ddr backup copy offsite`
"""


def text(repository: Mapping[str, str], types: str) -> str:
    """The file, with `repository` filled in."""
    lines = [f"  {key}: {value}\n" for key, value in repository.items() if value]
    return _HEAD + "".join(lines) + _REST.format(types=types)

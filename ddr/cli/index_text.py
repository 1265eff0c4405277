"""Plans, versions and checks of indexes as text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ddr.cli import output
from ddr.lib import digest
from ddr.report import words

if TYPE_CHECKING:
    from ddr.domain import indexes
    from ddr.index.homes import home, publishing

_MIB = 1 << 20


def planned(plan: indexes.Plan, key: str, where: str, called: str) -> str:
    """`key` is "" where it is not known before texts are embedded."""
    shape = plan.shape
    rows = [
        (
            "corpus",
            f"{words.plural(plan.rows, 'row')} of {shape.dimension}, {words.plural(len(plan.shards), 'shard')}",
        ),
        *([("ids", _paired(plan.shards))] if plan.shards[0].ids_uri else []),
        ("kind", shape_of(shape)),
        ("engine", f"{plan.engine} on {plan.device}"),
        ("parts", f"{len(plan.parts)}"),
        ("recall", f"@{plan.wanted.k} at least {plan.wanted.recall:g}, or it is not published"),
        ("work", where),
    ]
    stages = [
        (one.stage, f"{one.memory_mib:,} MiB", f"about {_span(one.seconds)}" if one.seconds else "")
        for one in plan.estimates
    ]
    return "\n".join(
        [
            f"{output.heading(f'index {called}')}  "
            + (f"plan {digest.short(key)}" if key else "as it will be: its texts are not embedded yet"),
            output.table(rows),
            *(["why:", *(f"  {reason}" for reason in plan.reasons)] if plan.reasons else []),
            *(["takes:", output.table(stages)] if stages else []),
            f"next: ddr index build {called}",
        ]
    )


def _paired(shards: Sequence[indexes.Shard]) -> str:
    ends = [shards[0], *shards[1:][-1:]]
    return " … ".join(f"{_last(one.uri)} with {_last(one.ids_uri)}" for one in ends)


def _last(uri: str) -> str:
    return uri.rpartition("/")[2]


def shape_of(shape: indexes.Shape) -> str:
    more = [
        f"{shape.lists:,} lists" if shape.lists else "",
        f"{shape.links} links" if shape.links else "",
        f"{shape.code_bytes} bytes a code" if shape.code_bytes else "",
        shape.metric.value,
    ]
    return ", ".join(filter(None, [shape.kind.value, *more]))


def _span(seconds: float) -> str:
    if seconds < 1:
        return "a second"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def quality(found: indexes.Quality) -> list[tuple[str, str]]:
    rows = [
        (f"recall@{one.k}", f"{one.share:.4f}  (95 %: {one.low:.4f} to {one.high:.4f}, {one.queries} queries)")
        for one in found.recalls
    ]
    rows += [(name, str(value)) for name, value in found.search.items()]
    rows.append(("speed", f"{found.queries_per_s:,.0f} queries/s"))
    if found.imbalance:
        rows.append(("lists", f"imbalance {found.imbalance:.2f}, {found.empty_lists} empty"))
    rows.append(("finds itself", f"{100 * found.self_hits:.1f} %"))
    return rows


def built(name: str, manifest: indexes.Manifest, refusals: Sequence[str], took_s: float, uncompared: str = "") -> str:
    """`uncompared`: why its recall was not held against that of what serves."""
    from ddr.index import gate

    scan = manifest.scan
    left_out = ", ".join(f"{count:,} {why}" for why, count in scan.dropped.items() if count)
    copies = 0 if scan.dropped.get("duplicate") else scan.anomalies.get("duplicate", 0)
    files = ", ".join(f"{file.name} {output.size(file.size_bytes)}" for file in manifest.files)
    mark = output.mark("bad" if refusals else "ok")
    lines = [
        f"{mark} {output.heading(f'index {name}')} built in {took_s:.1f} s",
        output.table(
            [
                (
                    "rows",
                    f"{scan.kept:,}"
                    + (f", {copies:,} with the vector of an earlier one" if copies else "")
                    + (f", left out: {left_out}" if left_out else ""),
                ),
                ("kind", shape_of(manifest.plan.shape)),
                ("files", files),
                *quality(manifest.quality),
            ]
        ),
    ]
    if exactness := gate.exactness(manifest):
        lines.append(f"  {output.mark('ok')} {exactness}")
    if uncompared:
        lines.append(f"  {output.mark('unknown')} not compared: {uncompared}")
    lines += [f"  not good enough: {reason}" for reason in refusals]
    return "\n".join(lines)


def moved(name: str, one: publishing.Moved, services: Sequence[str] = ()) -> str:
    if one.before == one.after:
        return f"{output.mark('ok')} index {name} serves {one.after} already"
    lines = [f"{output.mark('ok')} index {name} serves {one.after}, before: {one.before or 'nothing'}"]
    lines += [f"  {passed}" for passed in one.proof.passed]
    lines += [f"  {output.mark('unknown')} {warning}" for warning in one.warnings]
    lines += [
        f"next: ddr status {service}   (its server serves what it loaded until it loads this)" for service in services
    ]
    return "\n".join(lines)


def may_move(name: str, one: publishing.Moved, given: Sequence[str] = ()) -> str:
    """A rollback that was proved and not made. `given`: the words without which it would not be."""
    if one.before == one.after:
        return f"{output.mark('ok')} index {name} serves {one.after} already"
    lines = [f"index {name} can go from {one.before or 'nothing'} to {one.after}; nothing was changed"]
    lines += [f"  {output.mark('ok')} {passed}" for passed in one.proof.passed]
    lines += [f"  {output.mark('unknown')} {warning}" for warning in one.warnings]
    words = "".join(f" {shlex.quote(word)}" for word in ("--to", one.after, *given, "--apply"))
    return "\n".join([*lines, f"next: ddr index rollback {name}{words}"])


def checked(check: indexes.Check, name: str) -> str:
    lines = [f"{output.mark('bad' if check.findings else 'ok')} index {name} {check.version}"]
    lines += [f"  {output.mark('ok')} {passed}" for passed in check.passed]
    for one in check.findings:
        lines.append(f"  {output.mark('bad')} {one.trouble.value}: {one.where}: {one.what}")
        if one.next:
            lines.append(f"     next: {one.next}")
    lines += [f"  {output.mark('unknown')} not checked: {what}" for what in check.not_checked]
    return "\n".join(lines)


def listed(
    name: str, shelf: home.Home, rows: Sequence[Sequence[str]], bad: Sequence[str] = (), hints: Sequence[str] = ()
) -> str:
    """`bad` stands below the table: what is wrong is longer than a column."""
    below = [f"  {output.mark('bad')} {one}" for one in bad] + [f"next: {one}" for one in dict.fromkeys(hints)]
    if not rows:
        nothing = f"index {name}: nothing published in {shelf.name}"
        return "\n".join([nothing, *(below or [f"next: ddr index build {name} --publish"])])
    most = max(len(row) for row in rows)
    even = [(*row, *[""] * (most - len(row))) for row in rows]
    return "\n".join([f"{output.heading(f'index {name}')}  {shelf.name}", output.table(even), *below])

"""One Feast view kept, taken back, isolated and joined by command, on SQLite and on a real Redis; others do not move.

Written without Feast, in its layout (`connectors/feast_online`); `connectors/test_feast_real` does the same with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ddr.lib import resp
from tests.unit.cli.test_care import ddr
from tests.unit.connectors import feast_online as online

CONFIG = """\
apiVersion: ddr/v1
repository: {{type: local, path: .ddr}}
backup: {{encryption: none}}
connectors:
  pixels: {{type: feast-online, repo: features, view: pixels, fallback: {{p00: 0.25, p01: null}}{more}}}
services:
  lanes:
    planes: {{features: {{connector: pixels}}}}
    signals:
      age: {{source: pixels, series: event-age-p95, detector: ceiling, plane: features, limit: 7200, unit: s}}
    objectives: {{rpo: 1h, rto: 15m, detectWithin: 1h}}
    owners: {{team: lanes, oncall: oncall-ml, decisionMaker: head, approvers: []}}
"""
LIVES_MS = {f"lane-{number}": 10_000_000 + number for number in range(0, 60, 2)}


def rows(size: int, offset: float, age_s: int) -> list[online.Row]:
    at = int(time.time()) - age_s
    return [(f"lane-{number}", at, number + offset, None if number == 3 else 0.5) for number in range(size)]


class Rig:
    """A platform of one service and one view, another view beside it."""

    def __init__(self, root: Path, kind: str, stack: ExitStack) -> None:
        self.root, self.kind = root, kind
        self.store: online.Store
        if kind == "redis":
            self.store = online.Redis(stack.enter_context(online.redis_server(root / "redis")))
            online.repo(root / "features", self.store.online)
        else:
            online.repo(root / "features")
            self.store = online.Sqlite(root / "features")
        self.store.fill(online.OTHER, rows(60, 7.0, 300))
        self.store.fill(online.VIEW, rows(40, 0.0, 300))
        if isinstance(self.store, online.Redis):
            with resp.Client(self.store.address) as client:
                for lane, left in LIVES_MS.items():
                    client.ask(b"PEXPIRE", online.entity(lane) + b"lanes", b"%d" % left)
        (root / "ddr.yaml").write_text(CONFIG.format(more=""))

    def lives(self) -> dict[str, bool]:
        """Of every key whether it lives for as long as somebody said; time goes on meanwhile."""
        if not isinstance(self.store, online.Redis):
            return {}
        left = {f"lane-{number}": self.store.ttl_ms(f"lane-{number}") for number in range(60)}
        return {
            lane: ms == -1 if lane not in LIVES_MS else LIVES_MS[lane] - 600_000 < ms <= LIVES_MS[lane]
            for lane, ms in left.items()
        }

    def rest(self) -> Any:
        registry = (self.root / "features" / "data" / "registry.db").read_bytes()
        return self.store.rest(), registry, self.lives()

    def view(self) -> Any:
        return self.store.raw(online.VIEW)

    def ddr(self, *words: str, code: int = 0) -> Any:
        done = ddr(self.root, *words, "--json")
        assert done.code == code, done.out + done.err
        return done.document


@pytest.fixture(params=["sqlite", "redis"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(tmp_path, request.param, stack)


def _revision(rig: Rig) -> str:
    (kept,) = rig.ddr("features", "snapshot", "--why", "after the nightly run")["kept"]
    found: str = kept["facts"]["revision"]
    return found


DAMAGES: dict[str, Sequence[online.Row]] = {
    "frozen": rows(40, 0.0, 40 * 3600),
    "wrong": rows(40, 1000.0, 60),
    "emptied": rows(5, 0.0, 300),
    "more": rows(70, 0.0, 300),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_view_goes_back_alone_and_the_undo_too(rig: Rig, damage: str) -> None:
    """One of them is waited for until it is proved; the others end as switched."""
    is_proved = (rig.kind, damage) == ("redis", "frozen")
    good = _revision(rig)
    rig.ddr("release", "record", "--known-good")
    right, rest = rig.view(), rig.rest()
    rig.store.fill(online.VIEW, DAMAGES[damage])
    wrong, others = rig.view(), rig.rest()
    assert wrong != right
    words = [] if is_proved else ["--no-wait"]
    plan = rig.ddr("rollback", "features", "lanes", *words)
    (move,) = plan["plan"]["plan"]["moves"]
    assert move["target"]["name"] == good
    assert (rig.view(), rig.rest()) == (wrong, others), "a plan touches nothing"
    done = rig.ddr("rollback", "features", "lanes", *words, "--apply", "--plan", plan["plan_digest"])
    assert done["status"] == ("recovered" if is_proved else "switched")
    assert rig.view() == right
    assert rig.rest()[:2] == rest[:2]
    assert all(rig.lives().values())
    assert rig.ddr("features", "frozen")["frozen"] == ""
    rig.ddr("rollback", "undo", "--yes")
    assert (rig.view(), rig.rest()[:2]) == (wrong, others[:2])
    rig.ddr("rollback", "undo", "--yes")
    assert (rig.view(), rig.rest()[:2]) == (right, rest[:2])
    assert all(rig.lives().values())


def test_an_isolated_view_gives_its_fallback_and_joins_again(rig: Rig) -> None:
    right, rest = rig.view(), rig.rest()
    plan = rig.ddr("contain", "lanes", "--isolate", "pixels")
    assert plan["cannot"] == []
    assert (rig.view(), rig.rest()) == (right, rest)
    done = rig.ddr("contain", "lanes", "--isolate", "pixels", "--apply", code=2)
    assert done["status"] == "contained"
    now = rig.view()
    cells = [row[2] for row in now] if isinstance(now, list) else [one for had in now.values() for one in had.values()]
    assert online.value(0.25) in cells
    assert online.value(5.0) not in cells
    assert rig.rest() == rest
    refused = rig.ddr("contain", "lanes", "--isolate", "turnover", "--apply", code=64)
    assert "it has: pixels" in str(refused)
    rig.ddr("rollback", "undo", done["run"], "--yes")
    assert (rig.view(), rig.rest()) == (right, rest)

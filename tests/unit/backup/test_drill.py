"""A drill is honest: it passes for what restores and fails for everything else, whatever was damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ddr.backup import capture, drill, journal_origin, keys, repository
from ddr.connectors.files import connector as files
from ddr.domain import snapshots
from ddr.lib import clock
from ddr.ports import restorable
from ddr.stores import memory

Damage = Callable[[Path], None]


@dataclass
class Damaging:
    """A real connector whose restored copy somebody damages before it is compared."""

    real: restorable.Restorable
    damage: Damage
    places: list[Path] = field(default_factory=list)

    def capture(self, sink: restorable.Sink) -> None:
        self.real.capture(sink)

    def plan_restore(self, source: restorable.Source, options: restorable.RestoreOptions) -> restorable.RestorePlan:
        return self.real.plan_restore(source, options)

    def restore(
        self, plan: restorable.RestorePlan, source: restorable.Source, progress: restorable.Progress | None = None
    ) -> None:
        self.real.restore(plan, source, progress)
        self.places.append(Path(plan.target))
        self.damage(Path(plan.target))

    def compare(self, plan: restorable.RestorePlan, source: restorable.Source) -> Sequence[restorable.Comparison]:
        return self.real.compare(plan, source)


def _one_byte(place: Path) -> None:
    with (place / "b" / "large.bin").open("r+b") as file:
        file.seek(2_500_000)
        file.write(b"y")


def _link_turned(place: Path) -> None:
    (place / "link").unlink()
    (place / "link").symlink_to("b")


def _exchanged(place: Path) -> None:
    (place / "b" / "one").write_bytes(b"2")
    (place / "b" / "two").write_bytes(b"1")


def _cut(place: Path) -> None:
    (place / "a.yaml").write_bytes(b"learning")


def _emptied(place: Path) -> None:
    (place / "b" / "large.bin").write_bytes(b"")


DAMAGES: dict[str, Damage] = {
    "a byte": _one_byte,
    "a file gone": lambda place: (place / "a.yaml").unlink(),
    "a file cut": _cut,
    "a file emptied": _emptied,
    "a link turned": _link_turned,
    "two exchanged": _exchanged,
}


@pytest.fixture
def origin(tmp_path: Path) -> files.Files:
    source = tmp_path / "source"
    (source / "b").mkdir(parents=True)
    (source / "a.yaml").write_text("learning_rate: 0.1\n")
    (source / "b" / "large.bin").write_bytes(b"x" * 5_000_000)
    (source / "b" / "one").write_bytes(b"1")
    (source / "b" / "two").write_bytes(b"2")
    (source / "link").symlink_to("a.yaml")
    return files.connect(files.Settings(str(source)), tmp_path, clock.SystemClock())


@dataclass(frozen=True)
class Made:
    repository: repository.Repository
    snapshot: snapshots.Snapshot


@pytest.fixture
def made(origin: files.Files) -> Made:
    store = memory.MemoryStore()
    opened = repository.create(store, keys.Opening(), datetime.now(UTC))
    maker = capture.Maker("here", "anna", "0", lambda: datetime.now(UTC))
    origins = {
        "files": capture.Origin("files", "files", "a folder", origin),
        "journal": capture.Origin("journal", "journal", store.name, journal_origin.JournalOrigin(store)),
    }
    return Made(opened, capture.run(opened, origins, maker))


def rehearse(made: Made, connector: restorable.Restorable, place: Path) -> drill.Drill:
    both = {"files": connector, "journal": journal_origin.JournalOrigin(memory.MemoryStore())}
    return drill.rehearse(made.repository, made.snapshot, both, place)


def test_what_restores_passes_and_is_swept_away(made: Made, origin: files.Files, tmp_path: Path) -> None:
    place = tmp_path / "drills"
    place.mkdir()
    done = rehearse(made, origin, place)
    files_part = next(part for part in done.parts if part.component == "files")
    assert files_part.holds, done.why
    assert done.passed, "the journal is empty: there is nothing of it to prove"
    assert files_part.compared >= 1
    assert set(files_part.phases) == {"restore", "compare"}
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_copy_never_passes(made: Made, origin: files.Files, tmp_path: Path, what: str) -> None:
    place = tmp_path / "drills"
    place.mkdir()
    connector = Damaging(origin, DAMAGES[what])
    done = rehearse(made, connector, place)
    assert connector.places, "it was restored and damaged"
    assert not done.passed
    assert "files" in done.why
    assert list(place.iterdir()) == [], "swept away all the same"


def test_a_drill_of_nothing_proves_nothing(tmp_path: Path) -> None:
    store = memory.MemoryStore()
    opened = repository.create(store, keys.Opening(), datetime.now(UTC))
    empty = capture.Origin("journal", "journal", store.name, journal_origin.JournalOrigin(store))
    maker = capture.Maker("here", "anna", "0", lambda: datetime.now(UTC))
    snapshot = capture.run(opened, {"journal": empty}, maker)
    done = drill.rehearse(opened, snapshot, {"journal": journal_origin.JournalOrigin(store)}, tmp_path)
    assert not done.passed
    assert done.why == "nothing was compared, so nothing is proved"


def test_a_component_that_nobody_can_restore_fails_it(made: Made, tmp_path: Path) -> None:
    done = drill.rehearse(made.repository, made.snapshot, {}, tmp_path)
    assert not done.passed
    assert "no connector" in done.why


def test_a_damaged_pack_fails_it_and_names_the_files(made: Made, origin: files.Files, tmp_path: Path) -> None:
    store = made.repository.store
    for entry in list(store.list("backup/packs/")):
        content = bytearray(store.get(entry.key))
        content[len(content) // 2] ^= 1
        store.delete(entry.key)
        store.create(entry.key, bytes(content))
    done = rehearse(made, origin, tmp_path)
    assert not done.passed
    assert done.why

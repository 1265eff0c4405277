"""Versions of a snapshot into a home: decided by looking, then done.

A version is put there under its own name and never over another one. Where a damaged one has the name, `update` puts
the same bytes there under the next number, as a repair does. The pointer moves last, after digests, a load in a limited
child and the probes' answers; by itself it moves only where nothing is pointed at, or off a version that is damaged.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ddr.domain import indexes
from ddr.errors import Conflict, Damaged, Missing, Unavailable, UnknownName
from ddr.index import check
from ddr.index.backing import record
from ddr.index.homes import folder, home, naming, publishing, reading, writing
from ddr.lib import durable, redact
from ddr.ports import restorable

POINTER, DOCUMENTS = "pointer", "records"
WISHES: Mapping[str, str] = {
    POINTER: "recorded, stay or VERSION",
    DOCUMENTS: "FOLDER for the records of all versions",
}
SEEN, GOAL, NAMED = "pointer.seen", "pointer.goal", "named "
"""What a plan adds to its options: where the pointer was and is to be ("": it stays), what got another name."""

_AGAIN = "look again: the same command without --apply"


@dataclass(frozen=True)
class Step:
    """`name` is what the version is called in the home afterwards."""

    version: record.Version
    does: Literal["create", "skip", "leave"]
    name: str


@dataclass(frozen=True)
class Decision:
    steps: tuple[Step, ...]
    lines: tuple[restorable.PlanLine, ...]
    refusals: tuple[str, ...]
    pins: Mapping[str, str]
    seen: str = ""
    goal: str = ""


@dataclass(frozen=True)
class Restoring:
    """One snapshot's record and one home."""

    source: restorable.Source
    said: record.Record
    to: home.Home
    options: restorable.RestoreOptions

    def decide(self) -> Decision:
        """Only looks. UnknownName for a part or a version that the snapshot lacks."""
        lines: list[restorable.PlanLine] = []
        refusals: list[str] = []
        steps: list[Step] = []
        for version in self.chosen():
            self._decide(version, steps, lines, refusals)
        lines += self._notes()
        names = {step.version.name: step.name for step in steps if step.does != "leave"}
        pins = self._pins(names)
        lines += [restorable.PlanLine("create", f"pin of {name}", why) for name, why in pins.items()]
        seen, goal = self._pointer(steps, lines, refusals)
        return Decision(tuple(steps), tuple(lines), tuple(refusals), pins, seen, goal)

    def chosen(self) -> Sequence[record.Version]:
        """With their bytes, those of `--only version:NAME` or all, in the order of the home."""
        there = [one for one in self.said.versions if one.is_kept]
        for one in there:
            record.check_names(one)
        if not self.options.only:
            return there
        wanted = []
        for part in self.options.only:
            kind, _, name = part.partition(":")
            found = next((one for one in there if one.name == name), None)
            if kind != "version" or found is None:
                known = ", ".join(f"version:{one.name}" for one in there) or "no version"
                raise UnknownName(f"{part!r} is not in the snapshot with its bytes", hint=f"there is: {known}")
            wanted.append(found)
        return wanted

    def _decide(
        self, version: record.Version, steps: list[Step], lines: list[restorable.PlanLine], refusals: list[str]
    ) -> None:
        what, name = f"version {version.name}", version.name
        if not version.is_ours and not isinstance(self.to, folder.FolderHome):
            refusals.append(f"{name} was not published by `ddr index`: only a folder can hold it, not {self.to.name}")
            return
        trouble = self._trouble(version, name) if self._is_there(name) else None
        if trouble is None:
            steps.append(Step(version, "create", name))
            lines.append(restorable.PlanLine("create", what, _told(version)))
        elif not trouble:
            steps.append(Step(version, "skip", name))
            lines.append(restorable.PlanLine("skip", what, "there already, the same bytes"))
        elif other := self._twin(version):
            steps.append(Step(version, "skip", other))
            lines.append(restorable.PlanLine("skip", what, f"{trouble}; the same bytes are there as {other}"))
        elif self.options.policy == "skip":
            steps.append(Step(version, "leave", name))
            lines.append(restorable.PlanLine("leave", what, trouble))
        elif self.options.policy == "fail" or not version.is_ours:
            lines.append(restorable.PlanLine("conflict", what, trouble))
            way = "--policy update puts its bytes under the next number" if version.is_ours else "move it away"
            refusals.append(f"{self.to.name} has another {name}: {trouble}; it is never overwritten, {way}")
        else:
            taken = [*self.to.versions(), *(step.name for step in steps)]
            name = naming.seal(dataclasses.replace(self._manifest(version), version=""), taken).version
            steps.append(Step(version, "create", name))
            lines.append(restorable.PlanLine("recreate", what, f"{trouble}; it stays, its bytes come as {name}"))

    def _is_there(self, name: str) -> bool:
        if isinstance(self.to, folder.FolderHome):
            return (self.to.root / "versions" / name).exists()
        return name in self.to.versions()

    def _trouble(self, version: record.Version, name: str) -> str:
        """What is wrong with the one of that name there, "" when it is the same byte by byte."""
        if not version.is_ours:
            return self._foreign_trouble(version)
        try:
            if self.to.manifest(name) != dataclasses.replace(self._manifest(version), version=name):
                return "has another manifest"
            found = check.check(self.to, name, check.Means(), (0, 1))
        except (Damaged, Missing) as problem:
            return problem.message
        return "; ".join(f"{one.where} {one.what}" for one in found.findings[:3])

    def _foreign_trouble(self, version: record.Version) -> str:
        place = self._foreign_place(version.name)
        if not place.is_dir():
            return "is there and is no folder"
        linked = {name for name in version.documents if (place / name).is_file()}  # earlier ddrs read through links
        names = {path.name for path in place.iterdir()} - (set(self.to.strays(version.name)) - linked)
        found = {name for name in names if record.can_name(name)}  # no backup has the others
        if found != {*version.documents, *(file.name for file in version.files)}:
            return "has other files"
        other = [path for tree, path in _paths(version) if not self._matches(tree, version.name, path)]
        return f"{other[0]} has other bytes" if other else ""

    def _matches(self, tree: str, version: str, path: str) -> bool:
        place = self._foreign_place(version) / path
        with _told_of(place):
            return self.source.matches(tree, f"{version}/{path}", writing.blocks(place))

    def _foreign_place(self, name: str) -> Path:
        assert isinstance(self.to, folder.FolderHome)
        return self.to.root / "versions" / name

    def _manifest(self, version: record.Version) -> indexes.Manifest:
        return record.manifest(self.source, version.name)

    def _twin(self, version: record.Version) -> str:
        """Another name that the home has for the same manifest and the same bytes: of a restore before."""
        if not version.is_ours:
            return ""
        _, _, own = version.name.partition("-")
        names = [name for name in self.to.versions() if name.endswith(f"-{own}") and name != version.name]
        return next((name for name in reversed(names) if not self._trouble(version, name)), "")

    def _notes(self) -> Iterator[restorable.PlanLine]:
        for text in self.said.damaged:
            yield restorable.PlanLine("note", "when it was captured", text)
        bare = [one for one in self.said.versions if not one.is_kept]
        into = self.options.more.get(DOCUMENTS, "")
        if into:
            yield restorable.PlanLine("create", f"records of {len(self.said.versions)} versions", into)
        if bare and not self.options.only:
            names = ", ".join(one.name for one in bare[:5]) + (f" and {len(bare) - 5} more" if len(bare) > 5 else "")
            hint = "" if into else f"; --with {DOCUMENTS}=FOLDER writes them"
            yield restorable.PlanLine("note", names, f"only recorded: `ddr index build` makes an index again{hint}")

    def _pins(self, names: Mapping[str, str]) -> dict[str, str]:
        there = self.to.pins()
        return {names[name]: why for name, why in self.said.pins.items() if name in names and names[name] not in there}

    def _pointer(self, steps: Sequence[Step], lines: list[restorable.PlanLine], refusals: list[str]) -> tuple[str, str]:
        wish = self.options.more.get(POINTER, "")
        try:
            seen = self.to.current() or ""
        except home.LostPointer as problem:
            if wish == "stay":
                lines.append(restorable.PlanLine("note", POINTER, f"stays as it is: {problem.message}"))
                return "", ""
            if not (wish and problem.target):
                points = f"--with {POINTER}=recorded or =VERSION points it there"
                way = points if problem.target else f"{problem.first}the same command again"
                refusals.append(f"{problem.message}: {way}; --with {POINTER}=stay leaves it as it is")
                return "", ""
            seen = problem.target
        moved = next((one for one in steps if one.version.name == seen and one.name != seen), None)
        wanted = {"": seen if moved else "" if seen else self.said.current, "stay": ""}.get(wish, wish)
        if wish == "recorded":
            wanted = self.said.current or "nothing"
        if not wanted:
            recorded = self.said.current
            if recorded and recorded != seen:
                what = f"stays at {seen or 'nothing'}; it was at {recorded}: --with {POINTER}=recorded"
                lines.append(restorable.PlanLine("note", POINTER, what))
            return seen, ""
        goal = self._landing(wanted, steps)
        if goal and goal == seen:
            return seen, ""
        why = "its bytes are neither there nor restored"
        if goal:
            why = self._unfit(seen, goal, steps) if wish else ""
        if why:
            text = f"the pointer cannot go to {wanted}: {why}"
            if wish:
                refusals.append(text)
            else:
                lines.append(restorable.PlanLine("note", POINTER, text))
            return seen, ""
        lines.append(restorable.PlanLine("update" if seen else "create", POINTER, f"{seen or 'nothing'} → {goal}"))
        return seen, goal

    def _landing(self, wanted: str, steps: Sequence[Step]) -> str:
        for step in steps:
            if step.version.name == wanted or step.name == wanted:
                return "" if step.does == "leave" else step.name
        return wanted if wanted in self.to.versions() else ""

    def _unfit(self, seen: str, goal: str, steps: Sequence[Step]) -> str:
        """Why the queries of now cannot be answered from there, "" where nothing speaks against it."""
        step = next((one for one in steps if one.name == goal), None)
        if not seen or (step is not None and (step.version.name == seen or not step.version.is_ours)):
            return ""
        try:
            other = self._manifest(step.version).embedder.fingerprint if step else publishing.embedder_of(self.to, goal)
        except (Damaged, Missing):
            return ""
        live = publishing.embedder_of(self.to, seen)
        if not other or live in (other, ""):
            return ""
        known = "not known: its manifest cannot be read" if live is None else live
        return (
            f"embedder {other} made it, that of {seen} is {known}; restore without it, then "
            f"`ddr index rollback --to {goal} --model-also`"
        )

    def apply(self, decision: Decision, progress: restorable.Progress | None) -> None:
        """Every step may have been made by a run that was cut off."""
        self._sweep()
        for step in decision.steps:
            if step.does == "create" and step.version.is_ours:
                self._put(step, progress)
            elif step.does == "create":
                self._put_foreign(step.version, progress)
        for name, why in decision.pins.items():
            self.to.pin(name, why)
        self._write_documents()
        if decision.goal and decision.goal != decision.seen:
            self._point(decision)

    def _point(self, decision: Decision) -> None:
        goal = decision.goal
        if naming.is_ours(goal):
            proof = reading.proved(self.to, goal, lambda: check.check(self.to, goal, check.Means()))
            if proof.findings:
                found = "; ".join(f"{one.where}: {one.what}" for one in proof.findings)
                raise publishing.NotProved(
                    f"{self.to.name} stays at {decision.seen or 'nothing'}: {found}", proof, hint="`ddr index check`"
                )
        self.to.point(decision.seen or None, goal, f"restored from a backup of {self.said.place}")

    def _put(self, step: Step, progress: restorable.Progress | None) -> None:
        manifest = dataclasses.replace(self._manifest(step.version), version=step.name)
        with self._staged(step.name) as staged:
            places = {file.name: staged / file.name for file in manifest.files}
            self._fetch(step.version, staged, progress)
            for file in manifest.files:
                with _told_of(places[file.name]):
                    writing.settle(places[file.name])
                    found = writing.of_file(places[file.name])
                if what := home.difference(file, found):
                    raise Damaged(
                        f"{step.version.name}/{file.name} {what}; it was not put into {self.to.name}",
                        hint="`ddr backup verify`, then restore from another snapshot",
                    )
            if isinstance(self.to, folder.FolderHome):
                self.to.adopt(step.name, staged, manifest)
            else:
                self.to.add(step.name, places, manifest)

    def _fetch(self, version: record.Version, into: Path, progress: restorable.Progress | None) -> None:
        prefix = f"{version.name}/"
        wanted = {f"{prefix}{file.name}": into / file.name for file in version.files}
        self.source.write(record.VERSIONS, lambda stored: wanted.get(stored.path), progress)
        if lost := [path for path, place in wanted.items() if not place.is_file()]:
            raise Damaged(f"{lost[0]} is not in the snapshot", hint="`ddr backup verify`")

    def _put_foreign(self, version: record.Version, progress: restorable.Progress | None) -> None:
        place = self._foreign_place(version.name)
        with _told_of(place):
            durable.make_folder(place.parent)
            staged = writing.name_beside(place)
            staged.mkdir()
            try:
                self._fetch(version, staged, progress)
                for file in version.files:
                    found = writing.of_file(staged / file.name)
                    if file.sha256 and found.sha256 != file.sha256:
                        raise Damaged(f"{version.name}/{file.name} has other bytes than were captured")
                    (staged / file.name).chmod(0o644)
                for name in version.documents:
                    pieces = self.source.read(record.RECORDS, f"{version.name}/{name}")
                    writing.write_pieces(staged / name, pieces)
                durable.settle(staged)
                if place.exists():
                    raise Conflict(f"{place} came into being meanwhile; it was left as it is", hint=_AGAIN)
                staged.rename(place)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
            durable.sync_folder(place.parent)

    def _write_documents(self) -> None:
        into = self.options.more.get(DOCUMENTS, "")
        if not into:
            return
        paths = [record.HOME]
        for version in self.said.versions:
            record.check_names(version)
            paths += [f"{version.name}/{name}" for name in version.documents]
        for path in paths:
            place = Path(into) / path
            with _told_of(place):
                durable.make_folder(place.parent)
                writing.write_pieces(place, self.source.read(record.RECORDS, path))

    def _staged(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """Of a folder home beside its versions, where it becomes one of them; else where there is room."""
        if isinstance(self.to, folder.FolderHome):
            return self.to.staging(name)
        return _temporary()

    def _sweep(self) -> None:
        """What a killed restore left beside its place."""
        if not isinstance(self.to, folder.FolderHome):
            return
        for place in (self.to.root, self.to.root / "versions"):
            writing.sweep(place)


@contextlib.contextmanager
def _temporary() -> Iterator[Path]:
    staged = Path(tempfile.mkdtemp(prefix="ddr-restore-"))
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _paths(version: record.Version) -> Iterator[tuple[str, str]]:
    for name in version.documents:
        yield record.RECORDS, name
    for file in version.files:
        yield record.VERSIONS, file.name


def _told(version: record.Version) -> str:
    return f"{len(version.files)} files, {version.size_bytes:,} bytes"


@contextlib.contextmanager
def _told_of(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise Unavailable(
            f"{place}: {redact.foreign(problem)}", hint=durable.advice(problem, place) or "look at its rights"
        ) from problem

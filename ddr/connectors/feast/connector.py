"""A Feast feature repository: its definitions in Python, `feature_store.yaml` and the registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ddr.connectors import folder_restore, folder_tree
from ddr.connectors.feast import registry, sql
from ddr.connectors.tables import places
from ddr.errors import Away, Conflict, Damaged, InputError, Unavailable, Unsupported
from ddr.lib import clock as clocks
from ddr.lib import digest, durable, git, globs, located, redact, timetext, yamlmask
from ddr.ports import restorable

TREE, REGISTRY, OBJECTS = "repo", "registry", "objects.jsonl"
_NOT_KEPT = (".git", "__pycache__", "*.pyc", ".venv", ".ipynb_checkpoints")
_TYPE = "registry-type"
_ONLINE = restorable.PlanLine("note", "online values", "are in no backup: materialize(start, end) afterwards")
_TRIES, _PAUSE_S = 3, 0.2  # Feast writes its registry in place: a reader may see half of it


@dataclass(frozen=True)
class Settings:
    """`repo` is the folder of `config`. `registry` says where the registry is when `config` says it by a variable: a
    file, or the address of a database. Relative ones begin at `repo`."""

    repo: str
    config: str = "feature_store.yaml"
    registry: str = ""
    include: tuple[str, ...] = ("*.py",)

    def __post_init__(self) -> None:
        globs.Globs(self.include)


@dataclass(frozen=True)
class FeatureRepo:
    """Implements Capturable and Restorable."""

    root: Path
    settings: Settings
    clock: clocks.Clock

    @property
    def where(self) -> str:
        return str(self.root)

    @property
    def selection(self) -> globs.Globs:
        return globs.Globs((f"/{self.settings.config}", *self.settings.include), _NOT_KEPT)

    def capture(self, sink: restorable.Sink) -> None:
        """The registry first: the definitions that were applied are at least as old as the files."""
        text = self._config()
        problem: InputError | None = None
        try:
            self._capture_registry(text, sink)
        except InputError as found:
            problem = found  # a registry that ddr cannot read: the rest is worth having
        self._capture_repo(text, sink)
        if problem is not None:
            raise problem

    def _capture_registry(self, text: str, sink: restorable.Sink) -> None:
        place = self._place(text)
        if isinstance(place, places.Place):
            objects = sql.capture(place, sink)
            sink.fact("registry", place.label if place.path is None else self._spelled(place.path))
            sink.fact(_TYPE, "sql")
        else:
            found = self._read(place)
            objects = found.objects
            sink.fact("registry", self._spelled(place))
            sink.stream(REGISTRY, [found.content])
            sink.fact("feast.version-id", found.version_id)
            sink.fact("feast.last-updated", timetext.format_time(found.last_updated) if found.last_updated else "never")
        sink.stream(OBJECTS, registry.listing(objects))
        for kind, count in registry.counts(objects).items():
            sink.fact(f"feast.{_plural(kind)}", str(count))
        sink.fact("feast.projects-named", ", ".join(sorted({one.project for one in objects if one.project})))

    def _capture_repo(self, text: str, sink: restorable.Sink) -> None:
        try:
            clean = yamlmask.masked(text)
        except yamlmask.Unreadable as problem:
            raise Damaged(f"{self.root / self.settings.config}: {problem}", hint="mend that line") from None
        for key in clean.keys:
            sink.redacted(f"{self.settings.config}: {key} was left out; enter it again, best as ${{NAME}}")
        tree = folder_tree.LocalTree(self.root, self.selection, sink.warn)
        sink.tree(TREE, folder_tree.Masked(tree, {self.settings.config: clean.text.encode()} if clean.keys else {}))
        found = git.look(self.root, counts=self.selection.takes)
        for name, value in git.facts(found).items():
            sink.fact(name, value)
        for warning in git.warnings(found, self.root):
            sink.warn(warning)

    def _config(self) -> str:
        path = self.root / self.settings.config
        try:
            return path.read_text()
        except (FileNotFoundError, NotADirectoryError):
            raise Away(f"there is no {path}", hint="look at `repo` and `config` in ddr.yaml") from None
        except (OSError, UnicodeDecodeError) as problem:
            raise Unavailable(
                f"{path} cannot be read: {redact.foreign(problem)}", hint="look at its rights"
            ) from problem

    def _place(self, text: str) -> Path | places.Place:
        """Where the registry is. Unsupported for one that is no database and no file of this machine."""
        said, kind = self.settings.registry, "file"
        if not said:
            try:
                node = located.parse_yaml(text).fields.get("registry")
            except located.Malformed as problem:
                where = f"{self.root / self.settings.config}:{problem.line}"
                raise Damaged(f"{where}: no YAML that ddr reads", hint="mend that line") from None
            fields = node.fields if node else {}
            kind = str(fields["registry_type"].value) if "registry_type" in fields else "file"
            path = fields["path"].value if "path" in fields else None
            said = str(path or "") if fields else str(node.value if node else "data/registry.db")
        if said and "$" not in said and (kind == "sql" or (self.settings.registry and sql.is_address(said))):
            return places.place(said, self.root)
        if kind not in ("file", "sql") or ("://" in said and not said.startswith("file://")):
            where = f"of type {kind}" if kind != "file" else f"at {git.plain_url(said)}"
            raise Unsupported(
                f"the registry {where} is no database and no file of this machine; the rest was captured",
                hint="back up what is behind it; ddr reads registries of type file and sql",
            )
        if not said or "$" in said:
            raise InputError(
                f"{self.settings.config} gives the registry as {redact.foreign(said)!r}; ddr does not know its value",
                hint="say `registry:` in ddr.yaml, there with ${env:NAME}",
            )
        return self.root / said.removeprefix("file://")

    def config(self) -> str:
        """The text of feature_store.yaml. Away, Unavailable."""
        return self._config()

    def read_registry(self) -> tuple[Path | places.Place, registry.Registry]:
        """Where the registry is, and what is in it; of one in a database the definitions alone."""
        place = self._place(self._config())
        if not isinstance(place, places.Place):
            return place, self._read(place)
        return place, registry.Registry(b"", sql.objects(place), "", None)

    def _spelled(self, place: Path) -> str:
        return str(place.relative_to(self.root)) if place.is_relative_to(self.root) else str(place)

    def _read(self, place: Path) -> registry.Registry:
        for left in reversed(range(_TRIES)):
            content = self._bytes(place)
            if content is None:
                raise Away(f"there is no registry {place}", hint="`feast apply` makes it; or correct `registry`")
            try:
                return registry.parse(content, str(place))
            except Damaged:
                if not left:
                    raise
                self.clock.sleep(_PAUSE_S)
        raise AssertionError("unreachable")

    @staticmethod
    def _bytes(place: Path) -> bytes | None:
        try:
            return place.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as problem:
            raise Unavailable(
                f"{place} cannot be read: {redact.foreign(problem)}", hint="look at its rights"
            ) from problem

    def plan_restore(self, source: restorable.Source, options: restorable.RestoreOptions) -> restorable.RestorePlan:
        wishes = {"registry": "PATH, sqlite:///data/registry.db or postgresql://..."}
        restorable.check_wishes(options, wishes, rewrites=not _is_sql(source))
        if sql.is_address(options.target):
            return self._plan_sql(source, options, [], [])
        target = Path(options.target) if options.target else self.root
        if not target.is_absolute():
            raise InputError(f"{target} is no absolute path", hint="name the folder with its whole path")
        options = replace(options, target=str(target))
        lines: list[restorable.PlanLine] = []
        refusals: list[str] = []
        if not options.only:
            lines, refusals = self._folder(source, options).plan()
            lines += [restorable.PlanLine("enter-again", what) for what in source.component.redactions]
        if _is_sql(source):
            return self._plan_sql(source, options, lines, refusals)
        change = self._change(source, options)
        lines += change.lines
        refusals += change.refusals
        lines.append(_ONLINE)
        return restorable.RestorePlan(source.component.name, str(target), options, tuple(lines), tuple(refusals))

    def restore(
        self, plan: restorable.RestorePlan, source: restorable.Source, progress: restorable.Progress | None = None
    ) -> None:
        if _is_sql(source):
            job = self._sql(source, plan.options)
            state = sql.check(job)
            if not plan.options.only and not sql.is_address(plan.options.target):
                self._folder(source, plan.options).apply(progress)
            sql.apply(job, state, progress)
            return
        change = self._change(source, plan.options)
        seen = next((line.detail for line in plan.lines if line.what == REGISTRY), "")
        if change.content != change.before and seen and not seen.endswith(_seen(change.before)):
            raise Conflict(
                f"{change.place} is not as the plan saw it; nothing was changed", expected=seen,
                found=_seen(change.before), hint="somebody applied meanwhile: plan again",
            )  # fmt: skip
        if change.refusals:
            raise Conflict("; ".join(change.refusals) + "; nothing was changed", hint="--policy update replaces it")
        if not plan.options.only:
            self._folder(source, plan.options).apply(progress)
        if change.content != change.before:
            try:
                durable.make_folder(change.place.parent)
                durable.replace(change.place, change.content)
            except OSError as problem:
                raise Unavailable(
                    f"{change.place} cannot be written: {redact.foreign(problem)}", hint="look at its rights and disk"
                ) from problem

    def compare(self, plan: restorable.RestorePlan, source: restorable.Source) -> Sequence[restorable.Comparison]:
        if _is_sql(source):
            has_folder = not plan.options.only and not sql.is_address(plan.options.target)
            folder = self._folder(source, plan.options).compare() if has_folder else ()
            return [*folder, *sql.compare(self._sql(source, plan.options), plan.lines)]
        place = self._target_place(source, plan.options)
        content = self._bytes(place)
        if not plan.options.only:
            there = digest.of_bytes(content) if content is not None else "nothing"
            mine = digest.of_bytes(_stream(source, REGISTRY))
            return [*self._folder(source, plan.options).compare(), restorable.Comparison(REGISTRY, mine, there)]
        now, kept = (
            registry.parse(content or b"", str(place)),
            registry.parse(_stream(source, REGISTRY), "the snapshot"),
        )
        found = []
        for name in _views(plan.options):
            for view in kept.views(name):
                same = next((one for one in now.objects if one.key == view.key), None)
                said = digest.of_bytes(same.content) if same else "nothing"
                found.append(restorable.Comparison(f"{view.kind} {name}", digest.of_bytes(view.content), said))
        return found

    def _plan_sql(
        self, source: restorable.Source, options: restorable.RestoreOptions, lines: list[restorable.PlanLine],
        refusals: list[str],
    ) -> restorable.RestorePlan:  # fmt: skip
        if not _is_sql(source):
            raise InputError("the snapshot has the registry as a file, no database", hint="--to the path of a folder")
        job = self._sql(source, options)
        found, problems = sql.plan(job)
        lines = [*lines, *found]
        root, path = Path(options.target or self.root), job.place.path
        said = str(path.relative_to(root)) if path is not None and path.is_relative_to(root) else job.place.label
        if said != source.component.facts.get("registry") and not options.only:
            where = f"feature_store.yaml does not name {said} yet: say it there as path"
            lines.append(restorable.PlanLine("note", REGISTRY, where))
        lines.append(_ONLINE)
        target = options.target or str(self.root)
        return restorable.RestorePlan(
            source.component.name, redact.foreign(target), options, tuple(lines), (*refusals, *problems)
        )

    def _sql(self, source: restorable.Source, options: restorable.RestoreOptions) -> sql.Work:
        """Into what the target or `more.registry` names; into the database in use only where the repository goes back
        to its own place, else into a file beside it."""
        said = options.target if sql.is_address(options.target) else options.more.get("registry", "")
        root = self.root if not options.target or sql.is_address(options.target) else Path(options.target)
        place: Path | places.Place = places.place(said, root) if said else self.root
        if not said and root == self.root:
            place = self._place(self._config())
        elif not said:
            place = places.place("sqlite:///data/registry.db", root)
        if not isinstance(place, places.Place):
            raise InputError(
                f"the registry of the snapshot is a database, {place} is none",
                hint="--with registry=postgresql://..., or sqlite:///data/registry.db",
            )
        return sql.Work(source, options, place, views=tuple(_views(options)))

    def _folder(self, source: restorable.Source, options: restorable.RestoreOptions) -> folder_restore.FolderRestore:
        return folder_restore.FolderRestore(source, TREE, Path(options.target), options.policy, self.selection)

    def _target_place(self, source: restorable.Source, options: restorable.RestoreOptions) -> Path:
        """Below the target as it was below the repository; elsewhere only where it came from, or as `more` says."""
        said = options.more.get("registry") or source.component.facts.get("registry", "data/registry.db")
        for old, new in options.rewrites.items():
            if not said.startswith(old):
                raise InputError(f"--rewrite {old}: the registry was not there", hint=f"it was {redact.foreign(said)}")
            said = new + said.removeprefix(old)
        place = Path(options.target) / said
        if not Path(said).is_absolute() and ".." in Path(said).parts:
            raise Damaged(f"the registry's path {said!r} leads out of the folder", hint="say more.registry=PATH")
        is_said = "registry" in options.more or any(said.startswith(new) for new in options.rewrites.values())
        if Path(said).is_absolute() and Path(options.target) != self.root and not is_said:
            return Path(options.target) / "data" / place.name  # never over the one that is in use
        return place

    def _change(self, source: restorable.Source, options: restorable.RestoreOptions) -> _Change:
        place = self._target_place(source, options)
        before = self._bytes(place)
        kept = registry.parse(_stream(source, REGISTRY), "the registry in the snapshot")
        if options.only:
            return self._change_views(place, before, kept, options)
        if before is None:
            return _Change(place, None, kept.content, (_line("create", place, before),), ())
        if before == kept.content:
            return _Change(place, before, before, (_line("skip", place, before),), ())
        if options.policy == "fail":
            text = f"{place} is there already and different"
            return _Change(place, before, kept.content, (_line("conflict", place, before),), (text,))
        if options.policy == "skip":
            return _Change(place, before, before, (_line("leave", place, before),), ())
        return _Change(place, before, kept.content, (_line(options.policy, place, before),), ())

    def _change_views(
        self, place: Path, before: bytes | None, kept: registry.Registry, options: restorable.RestoreOptions
    ) -> _Change:
        now = registry.parse(before or b"", str(place))
        lines: list[restorable.PlanLine] = []
        refusals: list[str] = []
        for name in _views(options):
            views = kept.views(name)
            if len(views) != 1:
                known = sorted({one.name for one in kept.objects if one.is_view})
                why = f"has {len(views)} views {name!r}" if views else f"has no view {name!r}"
                raise InputError(f"the snapshot {why}", hint=f"there is: {', '.join(known[:10]) or 'none'}")
            merge = registry.merged(now, views[0], kept, self.clock.now())
            if merge.does == "update" and options.policy == "fail":
                refusals.append(f"{place}: {views[0].kind} {name} is there already and different")
            is_left = merge.does == "update" and options.policy == "skip"
            does: Does = "leave" if is_left else "skip" if merge.does == "same" else merge.does
            detail = "; ".join(
                [f"with {what}" for what in merge.added] + [f"{what} is different and left" for what in merge.kept]
            )
            lines.append(restorable.PlanLine(does, f"{views[0].kind} {name}", detail))
            now = now if is_left else registry.parse(merge.content, str(place))
        lines.append(_line("create" if before is None else "update", place, before))
        return _Change(place, before, now.content, tuple(lines), tuple(refusals))


def _plural(kind: str) -> str:
    many = "entities" if kind == "entity" else f"{kind}s"
    return many.replace(" ", "-")


@dataclass(frozen=True)
class _Change:
    """What becomes of the registry file; `before` None: it is not there."""

    place: Path
    before: bytes | None
    content: bytes
    lines: tuple[restorable.PlanLine, ...]
    refusals: tuple[str, ...]


Does = Literal["create", "update", "recreate", "skip", "leave", "conflict"]


def _line(does: Does, place: Path, before: bytes | None) -> restorable.PlanLine:
    return restorable.PlanLine(does, REGISTRY, f"{place}, {_seen(before)}")


def _seen(before: bytes | None) -> str:
    return "now not there" if before is None else f"now {digest.short(digest.of_bytes(before), 24)}"


def _views(options: restorable.RestoreOptions) -> list[str]:
    names = []
    for part in options.only:
        kind, _, name = part.partition(":")
        if kind != "view" or not name:
            raise InputError(f"{part!r} is no part of a feature repository", hint="`view:NAME`")
        names.append(name)
    return names


def _is_sql(source: restorable.Source) -> bool:
    return source.component.facts.get(_TYPE) == "sql"


def _stream(source: restorable.Source, name: str) -> bytes:
    """The registry is small: every client of Feast holds it whole."""
    if name not in {stream.name for stream in source.component.streams}:
        raise Unsupported(f"the snapshot has no {name} of {source.component.name}", hint="choose another snapshot")
    return b"".join(source.stream(name))


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> FeatureRepo:
    return FeatureRepo(base / settings.repo, settings, clock)

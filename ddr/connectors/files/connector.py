"""Pipeline configurations and any other files, by glob, with the commit they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ddr.connectors import folder_restore, folder_tree
from ddr.connectors.files import dvc, dvc_s3
from ddr.errors import InputError, UnknownName
from ddr.lib import clock as clocks
from ddr.lib import git, globs
from ddr.ports import restorable

TREE = "files"
_NOT_KEPT = (".git", "__pycache__", "*.pyc", ".venv", "node_modules", ".dvc/cache", ".dvc/tmp", ".ddr")
# Files that exist to hold credentials. They are told of by name, so that a person knows what to bring back.
_CREDENTIALS = (
    ".env", ".env.local", ".env.production", ".netrc", ".pgpass", ".pypirc", ".git-credentials", "id_rsa",
    "id_ed25519", "kubeconfig", ".dvc/config.local", "**/.aws/credentials", "**/.docker/config.json",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """`include` and `exclude` are globs: `*.yaml` at any depth, `configs/**` from the root. All is the default."""

    root: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        globs.Globs(self.include, self.exclude)


@dataclass(frozen=True)
class Files:
    """Implements Capturable and Restorable. `look_ups` says where the objects of a DVC remote are looked for."""

    root: Path
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    look_ups: dvc.LookUps = dvc_s3.anywhere

    @property
    def where(self) -> str:
        return str(self.root)

    @property
    def selection(self) -> globs.Globs:
        return globs.Globs(self.include, (*self.exclude, *_NOT_KEPT, *_CREDENTIALS))

    def capture(self, sink: restorable.Sink) -> None:
        """The files first, then what git says: a commit made in between is seen as a difference."""
        sink.fact("root", str(self.root))
        tree = folder_tree.LocalTree(self.root, self.selection, sink.warn)
        kept = sink.tree(TREE, self._masked(tree, sink))
        if kept.files == 0:
            sink.warn(f"{self.root}: no file fits include {list(self.include) or 'everything'}: nothing was captured")
        self._tell_credentials(sink)
        found = git.look(self.root, counts=self.selection.takes)
        for name, value in git.facts(found).items():
            sink.fact(name, value)
        for text in git.warnings(found, self.root):
            sink.warn(text)
        report = dvc.examine(self.root, self.look_ups)
        for name, value in (report.facts if report else {}).items():
            sink.fact(name, value)
        for text in report.warnings if report else ():
            sink.warn(text)

    def _masked(self, tree: folder_tree.LocalTree, sink: restorable.Sink) -> restorable.FileTree:
        """`.dvc/config` may hold logins; everything else is as it is, and the sink refuses secrets in it."""
        path = ".dvc/config"
        try:
            text = (self.root / path).read_text()
        except (OSError, UnicodeDecodeError):
            return tree
        clean = dvc.masked_config(text)
        if clean == text:
            return tree
        sink.redacted(f"{path}: logins were left out; enter them again, best in .dvc/config.local")
        return folder_tree.Masked(tree, {path: clean.encode()})

    def _tell_credentials(self, sink: restorable.Sink) -> None:
        there = folder_tree.LocalTree(self.root, globs.Globs(_CREDENTIALS, (*self.exclude, *_NOT_KEPT)))
        for seen in there.entries():
            if seen.kind != "folder":
                sink.redacted(f"{seen.path}: holds credentials and was left out; put it back by hand")

    def plan_restore(self, source: restorable.Source, options: restorable.RestoreOptions) -> restorable.RestorePlan:
        restorable.check_wishes(options, {})
        target = Path(options.target) if options.target else self.root
        if not target.is_absolute():
            raise InputError(f"{target} is no absolute path", hint="name the folder with its whole path")
        lines, refusals = self._restore(source, options, target).plan()
        if not options.only:
            lines += [restorable.PlanLine("enter-again", what) for what in source.component.redactions]
        if options.only and not lines and not refusals:
            raise UnknownName(
                f"the snapshot has nothing that fits {', '.join(options.only)}",
                hint="`ddr backup show` lists what it has; path:GLOB, as in path:configs/**",
            )
        options = replace(options, target=str(target))
        return restorable.RestorePlan(source.component.name, str(target), options, tuple(lines), tuple(refusals))

    def restore(
        self, plan: restorable.RestorePlan, source: restorable.Source, progress: restorable.Progress | None = None
    ) -> None:
        self._restore(source, plan.options, Path(plan.target)).apply(progress)

    def compare(self, plan: restorable.RestorePlan, source: restorable.Source) -> Sequence[restorable.Comparison]:
        return self._restore(source, plan.options, Path(plan.target)).compare()

    def _restore(
        self, source: restorable.Source, options: restorable.RestoreOptions, target: Path
    ) -> folder_restore.FolderRestore:
        only = []
        for part in options.only:
            kind, _, pattern = part.partition(":")
            if kind != "path" or not pattern:
                raise InputError(f"{part!r} is no part of files", hint="`path:GLOB`, as in path:configs/**")
            only.append(pattern)
        chosen = globs.Globs(tuple(only))
        return folder_restore.FolderRestore(source, TREE, target, options.policy, self.selection, chosen)


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> Files:
    del clock
    return Files(base / settings.root, settings.include, settings.exclude)

"""One feature view of Feast: where its definition and its values are, and where its states are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from ddr.connectors.feast import connector as repos
from ddr.connectors.feast import registry as registries
from ddr.connectors.feast.online import definition, places, state
from ddr.connectors.tables import places as databases
from ddr.errors import Missing
from ddr.lib import clock as clocks
from ddr.ports import keeping


@dataclass(frozen=True)
class Settings:
    """`repo` is the folder of `config`; `registry`, `online` and `project` say what `config` says by a variable.

    `fallback` is a value for each feature that stands in while the view is isolated. `feast` is the program that
    materializes, `refresh_window` how far back it does. `sample` entities are looked at for the signals.
    """

    repo: str
    view: str
    config: str = "feature_store.yaml"
    registry: str = ""
    online: str = field(default="", repr=False)
    project: str = ""
    fallback: Mapping[str, int | float | str | bool | None] = field(default_factory=dict)
    feast: str = "feast"
    refresh_window: timedelta = timedelta(hours=24)
    sample: int = 10_000
    timeout_s: float = 600.0


@dataclass(frozen=True)
class Place:
    """Everything about the view at one time. `registry_file` is None where the registry is a database."""

    view: definition.Definition
    registry: registries.Registry
    registry_file: Path | None
    store: places.Store
    said: places.Said


@dataclass
class View:
    """Implements Keepable."""

    root: Path
    settings: Settings
    clock: clocks.Clock
    _shelf: list[keeping.Shelf] = field(default_factory=list, repr=False)

    @property
    def keeps(self) -> str:
        return f"{self.settings.repo}/{self.settings.view}"

    def shelved(self, shelf: keeping.Shelf) -> None:
        self._shelf[:] = [shelf]

    @property
    def shelf(self) -> keeping.Shelf:
        if not self._shelf:
            raise Missing("there is no place to keep states in", hint="`backup:` in ddr.yaml names the repository")
        return self._shelf[0]

    def keep(self, why: str) -> keeping.Kept:
        with self.opened() as at:
            return self.shelf.keep(self.keeps, state.capture(at.view, at.registry, at.store), why)

    @contextmanager
    def opened(self) -> Iterator[Place]:
        """The view as the registry has it now, and its store open."""
        at = self.place()
        with at.store:
            yield at

    def place(self) -> Place:
        """As `opened`, without the store's door open."""
        repo = repos.FeatureRepo(
            self.root, repos.Settings(self.settings.repo, self.settings.config, self.settings.registry), self.clock
        )
        where = str(self.root / self.settings.config)
        said = places.read(repo.config(), where, project=self.settings.project, online=self.settings.online)
        at, registry = repo.read_registry()
        view = definition.of(registry, self.settings.view, where)
        store = places.store(said, self.root, view.name, view.join_keys, min(self.settings.timeout_s, 60.0))
        return Place(view, registry, None if isinstance(at, databases.Place) else at, store, said)

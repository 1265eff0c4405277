"""Code as a container image: the digest that a deployment's file names, held against the registry.

A tag is only a way to find a digest: who deploys by tag gets other code when the tag is moved, and nodes that have the
old bytes keep them. The file is changed under the lock beside it; applying it is the deployer's, as before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ddr.connectors.oci_image import image, reference, registry
from ddr.domain import changes, health, planes, plans, revisions, signals
from ddr.errors import Damaged, DdrError, Missing, Unavailable
from ddr.lib import clock as clocks
from ddr.lib import commits, digest, endpoint, jsonl, timetext

_REPOSITORY = re.compile(r"[a-z0-9][a-z0-9._/-]*")
_COMMITS = 100  # of the file, looked back at
_CANNOT = (reference.UNLOCKED, "see what the nodes run: their pods' imageID says that")
_BY_TAG = "hold the image still: the file names the tag {tag}, which anybody who pushes can move; name a digest"


@dataclass(frozen=True)
class Settings:
    """`registry` is the address of its API: `https://registry.example.com`, for Docker Hub `https://registry-1.docker.io`.

    `platform` is the one that is deployed of an image built for several. `labels` are more labels of images and the
    facts they are: `{com.example.python: python}`.
    """

    registry: str
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    platform: str = "linux/amd64"
    labels: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 5.0


@dataclass(frozen=True)
class Binding:
    """`file` names the image that is deployed: at `key` of a YAML or environment file, or in its only line.

    `deployments` is a log of who deployed what, as release folders have one.
    """

    repository: str
    file: str
    key: str = ""
    deployments: str = ""

    def __post_init__(self) -> None:
        if not _REPOSITORY.fullmatch(self.repository):
            raise ValueError(f"repository {self.repository!r}: write it without host and tag, as team/scorer")


@dataclass(frozen=True)
class Images:
    registry: registry.Registry
    settings: Settings
    base: Path

    def plane(self, binding: Binding, plane: planes.Plane) -> ImagePlane:
        file = reference.File(self.base / binding.file, binding.key, binding.repository)
        log = self.base / binding.deployments if binding.deployments else None
        return ImagePlane(plane, self.registry, file, self.settings.platform, self.settings.labels, log)


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> Images:
    del clock
    at = endpoint.Endpoint(settings.registry, settings.timeout_s)
    return Images(registry.Registry(at, settings.username, settings.password, settings.token), settings, base)


@dataclass(frozen=True)
class ImagePlane:
    """Implements Observable, Switchable and Reverting. A revision is named by its digest; a known `tag` is a fact."""

    which: planes.Plane
    registry: registry.Registry
    file: reference.File
    platform: str
    labels: Mapping[str, str]
    deployments: Path | None

    def revision(self) -> revisions.Revision:
        """As the port says; that every layer is still there is looked at by `find`, before one goes there."""
        return self._live(self.file.read())

    def find(self, name: str) -> revisions.Revision:
        """By digest or by tag. Damaged when a part of the image is gone."""
        if not reference.DIGEST.fullmatch(name) and not reference.TAG.fullmatch(name):
            raise Missing(f"{self.file.repository} has no {name!r}", hint="name a digest (sha256:…) or a tag")
        return self._revision(name, "" if name.startswith(digest.PREFIX) else name, is_checked=True)

    def pointed(self) -> revisions.Revision:
        said = self.file.read()
        try:
            return self._live(said)
        except (Damaged, Missing):
            return revisions.Revision(self.which, self.file.repository, said.image)

    def write(self, to: revisions.Revision, expect: revisions.Revision) -> str:
        del expect
        said = self.file.read()
        return f"write {said.pinned(to.name)} for {said.text} in {self.file.place}, under its lock"

    def switch(self, to: revisions.Revision, expect: revisions.Revision) -> revisions.Revision:
        said = self.file.read()
        try:
            live = self._live(said)
        except (Damaged, Missing):
            live = revisions.Revision(self.which, self.file.repository, said.image)
        if not revisions.must_move(live=live, to=to, expect=expect):
            return live
        revisions.must_be(self.find(to.name), to)
        self.file.swap(said, to.name)
        return self.revision()

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        """What the log says that deployers write, and where the file is in git, who committed another image. A registry
        remembers nothing."""
        found = list(_committed(self.which, self.file, since))
        if self.deployments is not None:
            told = jsonl.read(self.deployments).objects
            found += changes.of_deployments(told, since, self.which, self.file.repository, str(self.deployments))
        return tuple(sorted(found, key=lambda change: change.at))

    def who_reverts(self) -> Sequence[plans.Reverter]:
        """Whoever deploys from git, when the file is in it."""
        real = self.file.path.resolve()
        if not _history(real):
            return ()
        how = f"{real.name} is in git: the next deployment from there brings back what is committed"
        return (plans.Reverter(self.which, "deployment from git", how, f"commit {real} as it is then"),)

    def health(self) -> health.Health:
        try:
            said = self.file.read()
            live = self._live(said)
            moved = self._moved(said)
        except DdrError as problem:
            return health.Health.of(problem, _CANNOT)
        why = f"{self.file.place} names {said.text}: {digest.short(live.digest)} in {self.registry.endpoint.name}"
        cannot = _CANNOT if said.digest else (*_CANNOT, _BY_TAG.format(tag=said.tag))
        return health.Health(signals.State.OK, "; ".join([why, *moved]), ("go to any digest that it has",), cannot)

    def _moved(self, said: reference.Reference) -> Sequence[str]:
        """Whether the tag beside a digest is another image by now."""
        if not said.tag or not said.digest:
            return ()
        with self.registry.opened(self.file.repository) as repository:
            now = repository.digest_of(said.tag)
        if now in ("", said.digest):
            return () if now else (f"the tag {said.tag} is not there any more",)
        return (f"the tag {said.tag} has moved since: it is {digest.short(now)} now",)

    def _live(self, said: reference.Reference) -> revisions.Revision:
        return self._revision(said.image, said.tag, is_checked=False)

    def _revision(self, name: str, tag: str, *, is_checked: bool) -> revisions.Revision:
        with self.registry.opened(self.file.repository) as repository:
            found = image.read(repository, name, self.platform)
            if is_checked:
                image.check_whole(repository, found)
            facts = {**image.facts(repository, found, self.labels), **({"tag": tag} if tag else {})}
        return revisions.Revision(self.which, self.file.repository, found.manifest.digest, found.manifest.digest, facts)


def _committed(which: planes.Plane, file: reference.File, since: datetime) -> Iterator[changes.Change]:
    real = file.path.resolve()
    before = ""
    history = _history(real)
    for at, one in enumerate(history):
        following = history[at + 1] if at + 1 < len(history) else None
        if following is not None and timetext.parse_time(following.at) < since:
            continue
        try:
            after = file.said_in(commits.Repository(real.parent).read(one.commit, real.name)).image
        except DdrError:  # a past of the file that named no image
            continue
        moment = timetext.parse_time(one.at)
        if after != before and moment >= since:
            yield changes.Change(which, file.repository, moment, before, after, one.author, one.summary, f"git {real}")
        before = after


def _history(real: Path) -> Sequence[commits.Written]:
    """Nothing where there is no git, or the file is not in it."""
    try:
        return commits.Repository(real.parent).log((f":(literal){real.name}",), most=_COMMITS)
    except Unavailable:
        return ()

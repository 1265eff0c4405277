"""What an image says of itself: the platform that is deployed of an index, its parts, its labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddr.connectors.oci_image import registry
from ddr.domain import revisions
from ddr.errors import Damaged, Missing
from ddr.lib import digest

_NEXT = "push the image again, or go back to another one"
LABELS: Mapping[str, str] = {
    "org.opencontainers.image.revision": revisions.COMMIT,
    "org.opencontainers.image.version": "version",
    "org.opencontainers.image.created": "built_at",
    "org.opencontainers.image.source": "source",
    "org.opencontainers.image.base.digest": "base",
    **{
        f"ddr.{fact}": fact
        for fact in (revisions.PYTHON, revisions.REQUIREMENTS, revisions.INPUTS_SCHEMA, revisions.EMBEDDER)
    },
}
_PYTHON_OF_THE_BASE = "PYTHON_VERSION="  # what the official Python images set; no other variable is looked at


@dataclass(frozen=True)
class Image:
    """`manifest` is what the reference names, `deployed` the manifest of the platform: the same without an index."""

    manifest: registry.Manifest
    deployed: registry.Manifest
    platform: str

    @property
    def config(self) -> str:
        return str(_mapping(_document(self.deployed).get("config")).get("digest", ""))

    @property
    def layers(self) -> Sequence[str]:
        """Those that the registry keeps itself."""
        listed = _document(self.deployed).get("layers")
        kept = [layer for layer in listed if isinstance(layer, dict)] if isinstance(listed, list) else []
        return [str(layer.get("digest", "")) for layer in kept if "urls" not in layer]


def read(repository: registry.Repository, reference: str, platform: str) -> Image:
    """Missing when it is not there, or not built for the platform; Damaged."""
    manifest = repository.manifest(reference)
    if manifest.kind not in registry.INDEXES:
        return Image(manifest, manifest, platform)
    built: dict[str, str] = {}
    listed = _document(manifest).get("manifests")
    for entry in listed if isinstance(listed, list) else ():
        on = _mapping(_mapping(entry).get("platform"))
        name = "/".join(str(on[part]) for part in ("os", "architecture", "variant") if on.get(part))
        built.setdefault(name, str(_mapping(entry).get("digest", "")))
    found = built.get(platform) or next(
        (of for name, of in built.items() if name.startswith(f"{platform}/")), built.get(platform.rpartition("/")[0])
    )
    if not found:
        known = ", ".join(sorted(name for name in built if name and "unknown" not in name)) or "nothing"
        raise Missing(
            f"{repository.name}@{manifest.digest} is not built for {platform}", hint=f"it is built for: {known}"
        )
    try:
        return Image(manifest, repository.manifest(found), platform)
    except Missing as problem:
        raise Damaged(
            f"{repository.name}@{manifest.digest} names {found} for {platform}, which is not there", hint=_NEXT
        ) from problem


def check_whole(repository: registry.Repository, image: Image) -> None:
    """Damaged when a part is gone: then nobody could pull it. The bytes of layers are not read."""
    parts = [image.config, *image.layers]
    gone = [part for part in parts if not part.startswith(digest.PREFIX) or not repository.has_blob(part)]
    if gone:
        raise Damaged(
            f"{repository.name}@{image.deployed.digest}: {len(gone)} of its {len(parts)} parts are not there, "
            f"the first {gone[0] or 'without a digest'}",
            hint=_NEXT,
        )


def facts(repository: registry.Repository, image: Image, more_labels: Mapping[str, str]) -> Mapping[str, str]:
    """`more_labels`: a label to a fact, before those of LABELS."""
    try:
        config = json.loads(repository.blob(image.config))
    except ValueError as problem:
        raise Damaged(f"{repository.name}@{image.config} is no configuration of an image", hint=_NEXT) from problem
    except Missing as problem:
        raise Damaged(f"{problem.message}: the image has lost its configuration", hint=_NEXT) from problem
    inside = _mapping(_mapping(config).get("config"))
    labels = _mapping(inside.get("Labels"))
    found = {fact: str(labels[label]) for label, fact in {**LABELS, **more_labels}.items() if labels.get(label)}
    if revisions.PYTHON not in found and isinstance(inside.get("Env"), list):
        for entry in inside["Env"]:
            if str(entry).startswith(_PYTHON_OF_THE_BASE):
                found[revisions.PYTHON] = str(entry).removeprefix(_PYTHON_OF_THE_BASE)
    kinds = {"media_type": image.manifest.kind, "platform": image.platform, "platform_digest": image.deployed.digest}
    return {**found, **kinds}


def _document(manifest: registry.Manifest) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(manifest.content))
    except ValueError as problem:
        raise Damaged(f"the manifest {manifest.digest} is no JSON", hint=_NEXT) from problem


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}

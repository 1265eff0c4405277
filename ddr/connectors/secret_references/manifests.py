"""Kubernetes manifests: Secret, SealedSecret, ExternalSecret, SecretStore and lists of them. Names, types, keys."""

from __future__ import annotations

from typing import Any

from ddr.connectors.secret_references import found

_STORES = ("SecretStore", "ClusterSecretStore")


def read(text: str, origin: str, into: found.Found) -> None:
    """All documents of one file. What is no YAML (a Helm template) is a complaint without its text."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        while loader.check_data():
            _object(loader.get_data(), origin, into)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        into.complaints.append(f"{origin}{where}: no plain YAML, secrets in it are not told")
    except (ValueError, TypeError, RecursionError):
        into.complaints.append(f"{origin}: cannot be read, secrets in it are not told")
    finally:
        loader.dispose()


def _object(value: object, origin: str, into: found.Found) -> None:
    document = _dict(value)
    kind = str(document.get("kind", ""))
    meta, spec = _dict(document.get("metadata")), _dict(document.get("spec"))
    named = "/".join(
        str(part) for part in (meta.get("namespace"), meta.get("name") or meta.get("generateName")) if part
    )
    if kind.endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            _object(item, origin, into)
    elif kind == "Secret":
        keys = [*_dict(document.get("data")), *_dict(document.get("stringData"))]
        into.add(named, f"kubernetes secret ({_type(document)})", _texts(keys), origin)
    elif kind == "SealedSecret":
        template = _dict(spec.get("template"))
        keys = [*_dict(spec.get("encryptedData")), *_dict(template.get("data"))]
        into.add(named, f"sealed secret ({_type(template)})", _texts(keys), origin)
    elif kind in ("ExternalSecret", "ClusterExternalSecret"):
        _external(named, _dict(spec.get("externalSecretSpec")) or spec, kind, origin, into)
    elif kind in _STORES:
        providers = _dict(spec.get("provider"))
        into.add(named, f"secret store ({', '.join(_texts(providers)) or 'no provider'})", (), origin)


def _external(named: str, spec: dict[str, Any], kind: str, origin: str, into: found.Found) -> None:
    store = _dict(spec.get("secretStoreRef"))
    where = [f"{store.get('kind', 'SecretStore')} {store['name']}"] if store.get("name") else []
    keys = []
    for entry in _list(spec.get("data")):
        far = _dict(_dict(entry).get("remoteRef"))
        keys.append(str(_dict(entry).get("secretKey", "")))
        where += (
            [f"{far.get('key')}#{far['property']}" if far.get("property") else str(far["key"])]
            if far.get("key")
            else []
        )
    for entry in _list(spec.get("dataFrom")):
        said = _dict(entry)
        far = _dict(said.get("extract")) or said
        where += [f"all of {far['key']}"] if far.get("key") else []
    shown = [text for text in dict.fromkeys(where) if found.is_name(text)]
    into.add(named, "external secret" if kind == "ExternalSecret" else "cluster external secret", keys,
             "; ".join([origin, *shown]))  # fmt: skip


def _type(document: dict[str, Any]) -> str:
    said = str(document.get("type") or "Opaque")
    return said if found.is_name(said) else "Opaque"


def _texts(keys: Any) -> list[str]:
    return [str(key) for key in keys]


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []

"""A spec as YAML text: one document that needs no other."""

from __future__ import annotations

from typing import Any

import yaml

from archspec.spec import Spec
from archspec.steps import names_in

_ORDER = (
    "name", "about", "source", "published", "input", "classes", "vars", "blocks", "stem", "stages",
    "head", "weights",
)  # fmt: skip


def to_yaml(spec: Spec) -> str:
    """The spec with everything that it extends and imports, and without variables nobody reads."""
    document = spec.to_dict()
    for name in ("extends", "import"):
        document.pop(name, None)
    used = _used(spec)
    document["vars"] = _only(document.get("vars") or {}, used)
    for stage in (document.get("stages") or {}).values():
        if isinstance(stage, dict) and stage.get("vars"):
            stage["vars"] = _only(stage["vars"], used)
    document["name"] = spec.name
    kept = {key: document[key] for key in _ORDER if document.get(key)}
    return yaml.dump(
        kept,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=None,
    )


def _used(spec: Spec) -> set[str]:
    """Names that something reads; a variable that only an unused one reads is not among them."""
    sections = ("blocks", "stem", "stages", "head")
    nodes = [node for name in sections if (node := spec.tree.find((name,))) is not None]
    used: set[str] = set()
    while nodes:
        for name in set(names_in(nodes.pop())) - used:
            used.add(name)
            if (node := spec.tree.find(("vars", name))) is not None:
                nodes.append(node)
    return used


def _only(variables: dict[str, Any], used: set[str]) -> dict[str, Any]:
    return {name: value for name, value in variables.items() if name in used}


class _Dumper(yaml.SafeDumper):
    """Without anchors: they would stand for values that are only by chance the same."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

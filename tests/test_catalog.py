"""Every shipped network belongs to a family of which a small version stands in the other tests."""

from __future__ import annotations

import json

import pytest

import archspec
from archspec import catalog
from archspec.expansion import expand
from archspec.inherit import ancestors
from archspec.spec import loads
from tests.built import SMALL

NETWORKS = [
    name
    for name in catalog.shipped()
    if (spec := archspec.load(name)).is_network and not spec.holes
]


@pytest.mark.parametrize("name", NETWORKS)
def test_its_family_has_a_small_version(name: str) -> None:
    """Gradients, export, compilation and rewrites are tested on these."""
    path = catalog.shipped()[name]
    family = {name, *(other.stem for other in ancestors(path))}
    relatives = {
        other
        for other in SMALL
        if family & {other, *(parent.stem for parent in ancestors(catalog.shipped()[other]))}
    }
    assert relatives, (
        f"add a small version of {name}, or of the spec that it extends, to SMALL in tests/built.py"
    )


def test_small_versions_are_of_shipped_networks() -> None:
    assert set(SMALL) <= set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_as_json(name: str) -> None:
    """JSON is YAML: the document that a spec gives is the same spec."""
    spec = archspec.load(name)
    again = loads(json.dumps(spec.to_dict()))
    assert again.digest == spec.digest
    ours, theirs = ([(leaf.path, leaf.node.op, leaf.node.outputs, times)
                     for leaf, times in expand(each).walk()] for each in (again, spec))  # fmt: skip
    assert ours == theirs

"""Specs written as one document and read again are the same networks."""

from __future__ import annotations

import re

import pytest

import archspec
from archspec import catalog
from archspec.document import Header
from archspec.spec import load, loads
from archspec.written import _HEAD, _SECTIONS, to_yaml

NAMES = sorted(catalog.shipped())


def test_every_key_has_its_place() -> None:
    known = {field.alias or name for name, field in Header.model_fields.items()}
    assert set(_HEAD) | set(_SECTIONS) == known - {"extends", "import"}


@pytest.mark.parametrize("name", NAMES)
def test_round_trip(name: str) -> None:
    """Same costs, source and holes; nothing in it is unused; written again, the same text."""
    spec = load(name)
    text = to_yaml(spec)
    again = loads(text)
    assert to_yaml(again) == text
    assert [(hole.name, str(hole)) for hole in again.holes] == [
        (hole.name, str(hole)) for hole in spec.holes
    ]
    if spec.is_network:
        again.check_variables()
    if spec.is_network and not spec.holes:
        ours, theirs = archspec.cost(again), archspec.cost(spec)
        assert (ours.flops, ours.params) == (theirs.flops, theirs.params)
        assert archspec.emit(again) == archspec.emit(spec)


@pytest.mark.parametrize("name", ["smlpnet_t", "swin_t", "regnety_4gf", "gmlp_s"])
def test_it_reads_as_written_by_hand(name: str) -> None:
    lines = to_yaml(load(name)).splitlines()
    bodies = [line for line in lines if not line.startswith(("about:", "    url:", "      "))]
    assert max(map(len, bodies)) <= 100
    assert any(re.fullmatch(r" +- linear: \{.*\}", line) for line in lines)
    assert "" in lines


def test_the_paper_s_network() -> None:
    """As in the shipped file, without its comments."""
    text = to_yaml(load("smlpnet_t"), leave_out=("weights",))
    for part in (
        "vars: {dim: 80, alpha: 3, depths: [2, 8, 14, 2], mixer: cross, drop_path: 0}\n\nblocks:\n",
        "    - linear: {id: column, axis: height, from: x}\n",
        "    - residual: [local, {use: mixer}, {stochastic_depth: drop_path}]\n",
        "  stage1: {enter: {patches: {size: 4, out: dim}}, repeat: 'depths[0]', body: layer}\n",
        "head:\n  - batch_norm\n  - global_pool\n  - linear: {id: classifier, out: classes}\n",
    ):
        assert part in text
    assert "skip" not in text  # a mixer that this network does not use
    assert "weights" not in text

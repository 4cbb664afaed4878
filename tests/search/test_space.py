"""Spaces: which values a hole has, and networks as rows and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from archspec.errors import ArchspecError
from archspec.search.space import Space
from archspec.spec import load, loads
from tests.search.spaces import space

TEXT = """
name: mine
stem: [{linear: {out: 4}}]
vars: {size: %s}
stages: {a: {body: [{linear: {out: 3}}, if: {condition: size == 1, then: linear}]}}
"""


def one(hole: str) -> Space:
    return Space(loads(TEXT % hole, "mine.yaml"))


@pytest.mark.parametrize(
    ("hole", "values"),
    [
        ("{int: [2, 9], step: 3}", [2, 5, 8]),
        ("{int: [3, 3]}", [3]),
        ("{int: [1, 4], log: true}", [1, 2, 3, 4]),
        ("{float: [0, 1], step: 0.25}", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("{float: [0.1, 0.7], step: 0.2}", [0.1, 0.3, 0.5, 0.7]),
        ("{float: [0.5, 0.5]}", [0.5]),
        ("{choice: [2, 4, 2]}", [2, 4]),
        ("{choice: [1, true, 1.0, '1']}", [1, True, 1.0, "1"]),
        ("{choice: [a, null, {int: [1, 2]}]}", ["a", None, 1, 2]),
        (
            "{choice: [[1, {choice: [2, 3]}], {a: {int: [5, 6]}}]}",
            [[1, 2], [1, 3], {"a": 5}, {"a": 6}],
        ),
    ],
)  # fmt: skip
def test_what_may_stand_in_a_hole(hole: str, values: list[Any]) -> None:
    (dim,) = one(hole).dims
    assert list(dim.values) == values
    assert [type(value) for value in dim.values] == [type(value) for value in values]
    assert len(set(dim.labels)) == len(values)  # no two are equal: storages tell them apart
    made = one(hole)
    for i in range(len(values)):
        assert made.row(made.choices((i,))) == (i,)


def test_reals_without_a_step_are_levels_with_both_ends() -> None:
    (even,), (log,) = one("{float: [0, 0.3]}").dims, one("{float: [0.001, 1], log: true}").dims
    assert len(even) == len(log) == 65
    assert (even.values[0], even.values[32], even.values[-1]) == (0, 0.15, 0.3)
    assert np.allclose(np.diff(np.log(log.values)), np.log(1000) / 64)
    assert (log.values[0], log.values[-1]) == (0.001, 1)


@pytest.mark.parametrize(
    ("hole", "message"),
    [
        (
            "{int: [1, 20000]}",
            "size may take 20,000 values; at most 10,000 are searched\n  give it a larger 'step'",
        ),
        (
            "{float: [0, 1], step: 0.00001}",
            "size may take 100,001 values; at most 10,000 are searched\n  give it a larger 'step'",
        ),
        (
            "{choice: [[{int: [1, 999]}, [{int: [1, 999]}, {int: [1, 999]}]]]}",
            "size may take 997,002,999 values; at most 10,000 are searched\n"
            "  give it a larger 'step'",
        ),
        ("{float: [0, 1], log: true}", "size: 'log' needs values above 0"),
        ("{choice: [{int: [5, 1]}]}", "'int' takes [lowest, highest], found [5, 1]"),
        ("{choice: [{int: x}]}", "'int' takes [lowest, highest], found 'x'"),
    ],
)
def test_holes_that_cannot_be_searched(hole: str, message: str) -> None:
    with pytest.raises(ArchspecError) as caught:
        one(hole)
    place, text = str(caught.value).split(": ", 1)
    assert place.startswith("mine.yaml:4:")
    assert text == message


def test_a_network_is_no_space() -> None:
    with pytest.raises(ArchspecError) as caught:
        Space(loads(TEXT % "1", "mine.yaml"))
    assert str(caught.value) == (
        "mine.yaml:2:1: mine leaves nothing open: there is one network only\n"
        "  let {choice: […]} or {int: […, …]} stand for a value, or take --space smlpnet_space"
    )


def test_rows_and_choices() -> None:
    made = Space("smlpnet_space")
    assert made.size == 1_274_019_840
    row = (4, 1, 7, 13, 1, 1, 1, 1, 1)
    choices = made.choices(row)
    assert choices["dim"] == 80
    assert choices["stages.stage1.vars.alpha"] == 3
    assert made.row(choices) == row
    assert made.spec_of(row, "tiny").name == "tiny"
    assert made.spec_of(row).with_values({"name": "smlpnet_t"}).vars["dim"].value == 80
    rng = np.random.default_rng(0)
    drawn = made.draw(1000, rng)
    assert (drawn.min(axis=0) == 0).all()
    assert (drawn.max(axis=0) == np.array(made.lengths) - 1).all()
    assert load("smlpnet_space").digest == made.spec.digest


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, "dim is not given; smlpnet_space has dim left open"),
        ({"dim": 81}, "dim cannot be 81 in smlpnet_space"),
        ({"dim": "wide"}, "dim cannot be 'wide' in smlpnet_space"),
    ],
)
def test_choices_that_are_none_of_the_space(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(ArchspecError) as caught:
        Space("smlpnet_space").row(choices)
    assert str(caught.value) == message


def test_all_rows_are_each_network_once() -> None:
    made = space(
        "vars: {dim: {int: [1, 3]}}\nstages: {a: {repeat: {choice: [1, 2]}, body: linear}}"
    )
    assert made.all_rows().tolist() == [[d, r] for d in range(3) for r in range(2)]

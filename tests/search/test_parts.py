"""On which holes a part's cost hangs, and why some spaces have no such parts."""

from __future__ import annotations

import inspect
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archspec.columns import Column, Table
from archspec.ops import registry
from archspec.search import parts
from archspec.search.budgets import budget
from archspec.search.feasibility import feasible
from archspec.search.parts import NotSeparableError, separate
from archspec.search.reach import is_real, reaches
from archspec.search.replay import Replay
from archspec.search.space import Space
from archspec.spec import loads
from tests.search.spaces import DRAWN, SEPARABLE, space


def hangs(name: str) -> dict[str, list[str]]:
    """Part → the holes that it hangs on."""
    made = space(SEPARABLE[name])
    return {p.name: [made.dims[d].name for d in p.dims] for p in separate(made)}


@pytest.mark.parametrize(
    ("name", "a", "b"),
    [
        ("one mixer for all", ["dim", "mixer", "stages.a.repeat"], ["dim", "mixer"]),
        ("a kernel in a shared block", ["dim", "blocks.local[0].residual[0].conv.kernel",
                                        "stages.a.repeat"],
         ["dim", "blocks.local[0].residual[0].conv.kernel"]),
        ("holes in a list", [], ["depths[1]"]),
        ("a float that costs nothing", ["dim", "stages.a.repeat"], ["dim"]),
        ("a float that costs", ["dim", "ratio"], ["dim", "ratio"]),
        ("heads that do not divide the width", ["dim", "heads", "stages.a.repeat"],
         ["dim", "heads"]),
        ("a stride", ["dim", "stride"], ["dim", "stride", "stages.b.repeat"]),
        ("two parts on one unusual hole", ["pool"], ["pool", "stages.b.repeat"]),
        ("a variable that a stage hides", ["dim", "stages.a.vars.ratio", "stages.a.repeat"],
         ["dim", "ratio"]),
        ("variables behind variables", ["dim", "one"], ["dim", "size"]),
        ("axes that come and go", [], ["dim", "stages.b.repeat"]),
        ("more rates than can be tried out", ["dim"], ["dim"]),
        ("a rate that is refused", ["dim", "drop"], ["dim", "stages.b.repeat"]),
    ],
)  # fmt: skip
def test_a_part_hangs_on_these_and_no_others(name: str, a: list[str], b: list[str]) -> None:
    found = hangs(name)
    assert sorted(found["a"]) == sorted(a)
    assert sorted(found["b"]) == sorted(b)


@pytest.mark.parametrize(
    ("text", "a"),
    [
        ("body: [{linear: {out: size}}]", {"size"}),
        ("body: [{linear: {out: twice}}]", {"size"}),
        ("body: [{linear: {out: 'pair[0]'}}]", {"pair[0]", "pair[1]"}),
        ("body: [use: mixer]", {"mixer", "size"}),
        ("body: [use: \"'one' if C > 2 else 'two'\"]", {"size"}),
        ("vars: {size: 3}, body: [{linear: {out: twice}}]", set()),
        ("vars: {other: {choice: [one, two]}}, body: [use: other]",
         {"size", "stages.a.vars.other"}),
        ("body: [outer: {block: one}]", {"size"}),
        ("body: [outer: {block: two}]", set()),
        ("repeat: size, body: linear", {"size"}),
        ("body: [if: {condition: size > 2, then: linear}]", {"size"}),
        ("body: [{choice: [gelu, one]}]", {"size", "stages.a.body[0]"}),
        ("body: [dropout: rate]", set()),
        ("body: [dropout: rate * 2]", {"rate"}),
        ("body: [dropout: {rate: {choice: [0, 0.1]}}]", set()),
        ("body: [dropout: {rate: {choice: [0, 1]}}]", {"stages.a.body[0].dropout.rate"}),
        ("body: [layer_norm: {eps: rate}]", {"rate"}),  # which may not be 0
        ("body: [param: {axes: [channels], init: rate}]", set()),
    ],
)  # fmt: skip
def test_what_a_part_reads(text: str, a: set[str]) -> None:
    spec = loads(
        "vars: {size: {int: [1, 4]}, twice: 2 * size, pair: [{int: [1, 2]}, {int: [1, 3]}],"
        " mixer: {choice: [one, two]}, rate: {float: [0, 0.4]}}\n"
        "blocks:\n"
        "  one: {linear: {out: size}}\n"
        "  two: [gelu, linear]\n"
        "  outer: {args: {block: null}, body: [use: block]}\n"
        f"stages: {{a: {{{text}}}}}\n"
    )
    found = reaches(spec, "a", range(len(spec.holes)))
    assert {spec.holes[d].name for d in found} == a


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("too much at once", "a hangs on too many choices at once"),
        ("variables of some networks only", "which variables are used hangs on what is chosen"),
        ("more layers than are allowed", "some of its networks are refused for their size"),
    ],
)
def test_why_a_space_has_no_parts(name: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_COMBINATIONS", 8)
    with pytest.raises(NotSeparableError) as caught:
        separate(space(DRAWN[name]))
    assert str(caught.value) == reason


def test_a_sum_that_is_wrong_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a hole missed that a part hangs on, nothing wrong would be said."""
    monkeypatch.setattr(parts, "reaches", lambda spec, name, among: set())
    with pytest.raises(NotSeparableError, match="its parts do not add up"):
        separate(space(SEPARABLE["one mixer for all"]))


def test_shipped_spaces_are_counted_exactly_and_soon() -> None:
    for name in ("smlpnet_space", "hybrid_space", "smlpnet_cifar_space"):
        start = time.process_time()
        found = feasible(Space(name), budget("5G" if name != "smlpnet_cifar_space" else "5M"))
        assert found.is_exact
        assert found.count > 10_000
        assert time.process_time() - start < 6  # 0.1 to 0.6 s were measured


def test_real_numbers_enter_no_rule() -> None:
    """What `reaches` leaves out: no shape and no cost rule of any op names a real argument."""
    found = 0
    for op in registry().values():
        rules = [getattr(op, rule) for rule in ("infer", "params", "flops")]
        source = "".join(inspect.getsource(rule) for rule in rules)
        for field in op.model_fields:
            if is_real(op, field):
                found += 1
                assert f"self.{field}" not in source, op.name
    assert found > 5
    assert not is_real(registry()["linear"], "out")


NUMBERS = st.lists(st.tuples(*[st.integers(1, 9)] * 3), min_size=2, max_size=6)


@given(old=NUMBERS, new=NUMBERS)
def test_a_replay_is_what_would_have_been_computed(
    old: list[tuple[int, int, int]], new: list[tuple[int, int, int]]
) -> None:
    def rule(a: Any, b: Any, c: Any) -> list[Any]:
        return [a * b + 3 * c, (a * a + 7) // b, np.maximum(a // c, b) * (a % b), c - 2]

    def columns(table: Table, numbers: list[tuple[int, int, int]]) -> list[Any]:
        return [table.add(np.array(column)) for column in zip(*numbers, strict=True)]

    table = Table(len(old), is_sample=True)
    given_columns = columns(table, [*old[:-1], (10, 11, 12)])  # no column is one number
    assert all(isinstance(column, Column) for column in given_columns)
    figures = rule(*given_columns)
    larger = given_columns[0] > given_columns[1] + 1
    arrays = {i: np.array(column) for i, column in enumerate(zip(*new, strict=True))}
    replay = Replay(table, len(new), arrays)
    found = replay.table.values(*map(replay, figures))
    expected = [[int(value) for value in rule(*map(np.int64, numbers))] for numbers in new]
    assert [list(row) for row in zip(*found, strict=True)] == [tuple(e) and e for e in expected]
    if table.undecided and not isinstance(larger, bool):
        condition = table.undecided[-1]
        same = {a > b + 1 for a, b, _ in new} == {bool(condition.holds[0])}
        assert replay.agrees(condition) == same

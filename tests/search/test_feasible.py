"""Sets of networks inside a budget, against looking at every network of the space."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, note, settings

from archspec.search import parts
from archspec.search.budgets import Budget, Figure, Window
from archspec.search.counted import CountedSet
from archspec.search.feasibility import FeasibleSet, feasible
from archspec.search.rejection import DrawnSet
from archspec.search.space import Space
from tests.search.random_spaces import spaces
from tests.search.spaces import DRAWN, SEPARABLE, Truth, space

ALL = SEPARABLE | DRAWN


@cache
def known(name: str) -> tuple[Space, Truth]:
    made = space(ALL[name])
    return made, Truth.of(made)


def budgets(truth: Truth) -> list[Budget]:
    """None, each figure alone, both, one network exactly, and one that nothing meets."""
    flops = np.sort(truth.flops[truth.exists])
    params = np.sort(truth.params[truth.exists])
    n = len(flops)
    some = Window(int(flops[n // 4]), int(flops[3 * n // 4]))
    few = Window(0, int(params[n // 2]))
    return [
        Budget({}),
        Budget({"flops": some}),
        Budget({"params": few}),
        Budget({"flops": some, "params": few}),
        Budget({"params": few, "flops": some}),
        Budget({"flops": Window(int(flops[n // 2]), int(flops[n // 2]))}),
        Budget({"flops": Window(int(flops[-1]) + 1, 1 << 80)}),
    ]


def check(found: FeasibleSet, truth: Truth, budget: Budget) -> None:
    """Everything that a set says is what looking at each network says."""
    inside = truth.exists.copy()
    for figure, window in budget.windows.items():
        values = getattr(truth, figure)
        inside &= (values >= window.low) & (values <= window.high)
    expected = {tuple(row) for row in truth.rows[inside].tolist()}
    assert found.count == len(expected)
    assert found.is_exact
    assert found.interval == (found.count, found.count)
    assert {tuple(row) for row in found.rows(np.arange(found.count)).tolist()} == expected
    figures = found.figures(truth.rows)
    assert figures.exists.tolist() == truth.exists.tolist()
    assert np.array_equal(figures.flops[truth.exists], truth.flops[truth.exists])
    assert np.array_equal(figures.params[truth.exists], truth.params[truth.exists])
    assert found.contains(truth.rows).tolist() == inside.tolist()
    if expected:
        for stratified in (True, False):
            drawn = found.sample(50, np.random.default_rng(0), stratified=stratified)
            assert {tuple(row) for row in drawn.tolist()} <= expected
    figure: Figure
    for figure in ("flops", "params"):
        values = getattr(truth, figure)[truth.exists]
        cheap, dear = (found.figures(np.array([row])) for row in found.extremes(figure))
        assert cheap.exists[0] and getattr(cheap, figure)[0] == values.min()
        assert dear.exists[0] and getattr(dear, figure)[0] == values.max()


@pytest.mark.parametrize("name", ALL)
def test_a_set_is_what_looking_at_each_network_says(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in DRAWN:
        monkeypatch.setattr(parts, "MAX_COMBINATIONS", 8)
    made, truth = known(name)
    for budget in budgets(truth):
        found = feasible(made, budget)
        assert isinstance(found, CountedSet if name in SEPARABLE else DrawnSet), found.reason  # type: ignore[attr-defined]
        check(found, truth, budget)


@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
@given(made=spaces())
def test_a_set_of_a_random_space_is_what_looking_at_each_network_says(made: Space) -> None:
    note(yaml.safe_dump(made.spec.to_dict(), sort_keys=False))
    truth = Truth.of(made)
    assume(truth.exists.any())
    for budget in budgets(truth)[1:4]:
        check(feasible(made, budget), truth, budget)

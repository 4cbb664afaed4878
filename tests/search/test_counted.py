"""The sMLPNets inside 5 GFLOPs: counted exactly, and drawn evenly."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.stats import chisquare

import archspec
from archspec.errors import ArchspecError
from archspec.many import costs
from archspec.search.budgets import budget
from archspec.search.counted import CountedSet
from archspec.search.feasibility import feasible
from archspec.search.space import Rows, Space
from tests.search.spaces import space


@cache
def found(*texts: str) -> CountedSet:
    made = feasible(Space("smlpnet_space"), budget(*texts))
    assert isinstance(made, CountedSet)
    return made


def exact(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """FLOPs and parameters by `archspec.costs`."""
    made = found("5G").space
    values = {d.name: np.array(d.values)[rows[:, i]] for i, d in enumerate(made.dims)}
    figures = costs(made.spec, values)
    return figures.flops, figures.params


def keys(made: CountedSet, rows: Rows) -> np.ndarray:
    """A number for each network of the space, different ones for different networks."""
    return np.ravel_multi_index(tuple(rows.T), made.space.lengths)


def test_the_count() -> None:
    made = found("5G")
    assert made.count == 11_524_429
    assert sum(made.strata.values()) == made.count
    assert made.strata[(0,)] == 5_786_919  # half of them are 48 wide
    assert made.strata[(14,)] == 277


def test_each_part_hangs_on_what_it_should() -> None:
    names = [dim.name for dim in found("5G").space.dims]
    hang = {part.name: [names[d] for d in part.dims] for part in found("5G").parts}
    alpha = "stages.stage{}.vars.alpha"
    assert hang == {
        **{f"stage{i}": ["dim", f"depths[{i - 1}]", alpha.format(i)] for i in range(1, 5)},
        "head": ["dim"],
    }


@pytest.mark.parametrize("texts", [("5G",), ("5G", "30Mparams"), ("30Mparams", "5G")])
def test_what_is_drawn_is_inside(texts: tuple[str, ...]) -> None:
    made = found(*texts)
    for stratified in (True, False):
        rows = made.sample(20_000, np.random.default_rng(1), stratified=stratified)
        flops, params = exact(rows)
        inside = [made.budget.allows(int(f), int(p)) for f, p in zip(flops, params, strict=True)]
        assert all(inside)
        figures = made.figures(rows)
        assert np.array_equal(figures.flops, flops)
        assert np.array_equal(figures.params, params)
    for row in rows[:3]:
        table = archspec.cost(made.space.spec_of(row))
        assert made.budget.allows(int(table.flops), int(table.params))


def test_every_number_is_another_network() -> None:
    made = found("4.998G..5G")
    rows = made.rows(np.arange(made.count))
    assert 50_000 < made.count < 150_000
    assert len(np.unique(keys(made, rows))) == made.count
    assert made.contains(rows).all()
    assert [*made][:3] == [tuple(row) for row in rows[:3].tolist()]
    for wrong in (-1, made.count):
        with pytest.raises(IndexError):
            made.rows(np.array([wrong]))


def test_two_windows_together() -> None:
    """As many as one window has that are inside the other, too."""
    flops_only, both = found("4.998G..5G"), found("4.998G..5G", "20M..30Mparams")
    rows = flops_only.rows(np.arange(flops_only.count))
    params = flops_only.figures(rows).params
    inside = rows[(params >= 20_000_000) & (params <= 30_000_000)]
    assert 0 < both.count == len(inside) < flops_only.count
    expected = np.sort(keys(both, inside))
    assert np.array_equal(np.sort(keys(both, both.rows(np.arange(both.count)))), expected)


def test_widths_are_drawn_evenly_and_so_are_networks_of_one_width() -> None:
    made = found("4.9995G..5G")
    n = 60_000
    rows = made.sample(n, np.random.default_rng(2))
    widths, counts = np.unique(rows[:, 0], return_counts=True)
    assert [(int(w),) for w in widths] == [*made.strata]
    assert chisquare(counts).pvalue > 0.001
    for width, count in made.strata.items():
        if 20 <= count <= 300:
            of_width = keys(made, rows[rows[:, 0] == width[0]])
            drawn = np.unique(of_width, return_counts=True)[1]
            drawn = np.concatenate([drawn, np.zeros(count - len(drawn))])
            assert chisquare(drawn).pvalue > 0.0005
    plain = made.sample(n, np.random.default_rng(3), stratified=False)
    observed = np.bincount(plain[:, 0], minlength=15)[[w for (w,) in made.strata]]
    expected = np.array([*made.strata.values()]) / made.count * n
    assert chisquare(observed, expected).pvalue > 0.001


def test_more_networks_than_64_bits_number() -> None:
    rates = ", ".join(f"r{i}: {{float: [0, 0.5]}}" for i in range(11))
    steps = ", ".join(f"dropout: r{i}" for i in range(11))
    text = f"vars: {{dim: {{int: [1, 9]}}, {rates}}}\nstages: {{a: {{body: [linear, {steps}]}}}}"
    made = feasible(space(text), budget("0..1G"))
    assert made.count == 9 * 65**11 > 1 << 64
    rows = made.sample(500, np.random.default_rng(0))
    assert made.contains(rows).all()
    assert (np.ptp(rows[:, 1:], axis=0) > 50).all()


def test_a_budget_that_nothing_meets() -> None:
    with pytest.raises(ArchspecError) as caught:
        found("900G").check()
    alphas = [f"stages.stage{i}.vars.alpha" for i in range(1, 5)]
    low = ["dim=48", *(f"depths[{i}]=1" for i in range(4)), *(f"{a}=2" for a in alphas)]
    high = ["dim=160", *(f"depths[{i}]=32" for i in range(4)), *(f"{a}=4" for a in alphas)]
    assert str(caught.value) == (
        "no network of smlpnet_space is inside 855G..900G FLOPs\n"
        f"  the cheapest: 280.78M FLOPs ({', '.join(low)})\n"
        f"  the dearest: 116.474G FLOPs ({', '.join(high)})\n"
        "  choose a budget between them"
    )
    with pytest.raises(ArchspecError, match="no network of smlpnet_space is inside"):
        found("900G").sample(1, np.random.default_rng(0))


def test_what_is_nearest_to_a_window_between_networks() -> None:
    text = "vars: {dim: {choice: [4, 40]}}\nstages: {a: {body: linear}}"
    made = feasible(space(text), budget("10K"))
    with pytest.raises(ArchspecError) as caught:
        made.check()
    assert str(caught.value) == (
        "no network of network is inside 9.5K..10K FLOPs\n"
        "  the cheapest: 3.348K FLOPs (dim=4)\n"
        "  the dearest: 56.52K FLOPs (dim=40)\n"
        "  the nearest have 3.348K and 56.52K FLOPs"
    )


def test_a_space_without_networks() -> None:
    made = space("vars: {dim: {choice: [4, 5]}}\nstages: {a: {body: [{linear: {out: C / 7}}]}}")
    with pytest.raises(ArchspecError) as caught:
        feasible(made, budget("1G"))
    assert str(caught.value) == (
        "<text>:4:36: no network of network can exist; the first one: 'linear' out: "
        "expected a whole number from 1 to 1,048,576, found 0.5714"
    )


def test_a_set_of_one() -> None:
    made = feasible(space("vars: {dim: {choice: [4]}}\nstages: {a: {body: linear}}"), budget("1M"))
    assert made.count == 0
    only = feasible(made.space, budget("0..1M"))
    assert only.sample(3, np.random.default_rng(0)).tolist() == [[0], [0], [0]]
    assert only.extremes("params") == ((0,), (0,))

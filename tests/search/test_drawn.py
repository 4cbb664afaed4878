"""Sets that are known by drawing only: honest about how much they know."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from archspec.errors import ArchspecError
from archspec.search import evaluate as evaluating
from archspec.search import rejection
from archspec.search.budgets import Budget, Window, budget
from archspec.search.evaluate import evaluate
from archspec.search.rejection import DrawnSet, confidence
from archspec.search.space import Space
from tests.search.spaces import Truth, space

HEADS = """
vars: {dim: {int: [4, 40], step: 2}, heads: {choice: [1, 2, 3, 4, 6]}, depth: {int: [0, 9]}}
stages:
  a: {repeat: depth, body: [residual: [conv: {kernel: 3, groups: heads}]]}
  b: {body: [{linear: {out: C / heads}}]}
"""


@pytest.mark.parametrize("share", [0.0, 0.0004, 0.02, 0.3, 0.9])
@pytest.mark.parametrize("n", [300, 5000])
def test_the_interval_holds_the_share_as_often_as_it_says(share: float, n: int) -> None:
    hits = np.random.default_rng(5).binomial(n, share, 2000)
    bounds = {h: confidence(int(h), n) for h in set(hits.tolist())}
    held = np.mean([bounds[h][0] <= share <= bounds[h][1] for h in hits.tolist()])
    assert held > 0.94  # it is 95 % or more; 2,000 draws may differ by one in a hundred


def test_intervals_against_those_of_tables() -> None:
    assert confidence(0, 100) == (0, pytest.approx(0.0362, abs=5e-5))
    assert confidence(10, 10) == (pytest.approx(0.6915, abs=5e-5), 1)
    assert confidence(5, 20) == (pytest.approx(0.0866, abs=5e-5), pytest.approx(0.4910, abs=5e-5))


def test_an_estimate_of_a_known_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejection, "DRAWS", 1 << 14)
    found = DrawnSet(Space("smlpnet_space"), budget("5GFLOPs"))
    assert not found.is_exact
    assert found.drawn == 1 << 14
    assert found.interval[0] < 11_524_429 < found.interval[1]
    assert found.interval[0] < found.count < found.interval[1]
    for stratified in (True, False):
        rows = found.sample(400, np.random.default_rng(1), stratified=stratified)
        assert len(rows) == 400
        assert found.contains(rows).all()
    widths = np.unique(found.sample(4000, np.random.default_rng(1))[:, 0], return_counts=True)[1]
    assert widths.min() > widths.max() / 2
    again = found.sample(50, np.random.default_rng(3))
    assert np.array_equal(again, found.sample(50, np.random.default_rng(3)))
    with pytest.raises(IndexError):
        found.rows(np.arange(3))
    cheap, dear = found.extremes("flops")
    assert set(cheap) == {0}
    assert list(dear) == [length - 1 for length in found.space.lengths]


def test_nothing_found_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejection, "DRAWS", 1 << 10)
    found = DrawnSet(Space("smlpnet_space"), budget("115G..120G"))
    assert found.count == 0
    assert found.interval[0] == 0
    assert found.interval[1] > 1_000_000  # it may well be that there are some
    with pytest.raises(ArchspecError) as caught:
        found.check()
    first = "none of 1,024 networks drawn from smlpnet_space is inside 115G..120G FLOPs"
    assert str(caught.value).splitlines()[0] == first
    with pytest.raises(ArchspecError, match=f"^{first}$"):
        found.sample(3, np.random.default_rng(0))


def test_a_small_space_that_takes_too_long_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejection, "SECONDS", 0.0)
    made = space(HEADS)
    found = DrawnSet(made, budget("0..1M"))
    assert not found.is_exact
    assert 0 < found.drawn < made.size
    monkeypatch.undo()
    assert DrawnSet(made, budget("0..1M")).is_exact


def test_networks_that_do_not_exist_are_told_apart_in_few_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = space(HEADS)
    truth = Truth.of(made)
    assert 0.2 < truth.exists.mean() < 0.9
    expansions = itertools.count()
    expand = evaluating.expand
    monkeypatch.setattr(evaluating, "expand", lambda spec: (next(expansions), expand(spec))[1])
    found = evaluate(made, truth.rows)
    assert next(expansions) < made.size / 6
    assert found.exists.tolist() == truth.exists.tolist()
    assert np.array_equal(found.flops[truth.exists], truth.flops[truth.exists])
    assert np.array_equal(found.params[truth.exists], truth.params[truth.exists])


def test_repeats_decide_what_exists() -> None:
    """A layer that changes the shape may stand there once; one that cannot be built, never."""
    made = space(
        "vars: {dim: 4, times: {int: [0, 3]}, size: {int: [3, 4]}, part: {int: [2, 3]}}\n"
        "stages:\n"
        "  a: {repeat: times, body: [linear: {out: size}]}\n"
        "  b: {repeat: times, body: [linear: {axis: width}]}\n"
        "  c: {repeat: times, body: [linear: {out: 12 / part}, linear: {out: C / 4}]}\n"
    )
    truth = Truth.of(made)
    assert 0 < truth.exists.sum() < made.size
    found = evaluate(made, truth.rows)
    assert found.exists.tolist() == truth.exists.tolist()
    assert np.array_equal(found.flops[truth.exists], truth.flops[truth.exists])


def test_asking_for_an_end_ends_it() -> None:
    made = Space("smlpnet_space")
    found = evaluate(made, made.draw(10, np.random.default_rng(0)), give_up=lambda: True)
    assert not found.exists.any()


def test_figures_beyond_64_bits_are_in_no_budget() -> None:
    made = space(
        "vars: {dim: {choice: [4, 1000000]}}\n"
        "stages: {a: {repeat: {choice: [1, 9000]}, body: [linear, conv: {kernel: 1001}]}}\n"
    )
    rows = made.all_rows()
    found = evaluate(made, rows)
    assert found.exists.all()
    huge = Budget({"flops": Window(0, 1 << 80)})
    assert found.within(huge).tolist() == [True, True, False, False]

"""Budgets are read exactly, and refused in words that say what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

import archspec
from archspec.search.budgets import Budget, Window, budget, short
from archspec.search.errors import BudgetError

T = (5_011_528_960, 24_123_584)
"""FLOPs and parameters of sMLPNet-T."""


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("5GFLOPs", {"flops": (4_750_000_000, 5_000_000_000)}),
        ("5G", {"flops": (4_750_000_000, 5_000_000_000)}),
        ("5 gflops", {"flops": (4_750_000_000, 5_000_000_000)}),
        ("5B", {"flops": (4_750_000_000, 5_000_000_000)}),
        ("0.6T", {"flops": (570_000_000_000, 600_000_000_000)}),
        ("600M", {"flops": (570_000_000, 600_000_000)}),
        ("101", {"flops": (96, 101)}),  # 95.95 rounds up: at least 95 %
        ("1.0000009M", {"flops": (950_001, 1_000_000)}),  # 1,000,000.9 rounds down: at most
        ("30Mparams", {"params": (28_500_000, 30_000_000)}),
        ("30M parameters", {"params": (28_500_000, 30_000_000)}),
        ("4.5G..5G", {"flops": (4_500_000_000, 5_000_000_000)}),
        ("4.5..5GFLOPs", {"flops": (4_500_000_000, 5_000_000_000)}),
        ("2MFLOPs..3MFLOPs", {"flops": (2_000_000, 3_000_000)}),
        ("2Mparams..3Mparams", {"params": (2_000_000, 3_000_000)}),
        ("20M..30Mparams", {"params": (20_000_000, 30_000_000)}),
        ("5G..5G", {"flops": (5_000_000_000, 5_000_000_000)}),
        (
            "5GFLOPs,30Mparams",
            {"flops": (4_750_000_000, 5_000_000_000), "params": (0, 30_000_000)},
        ),
        ("30Mparams, 5G", {"params": (28_500_000, 30_000_000), "flops": (0, 5_000_000_000)}),
        ("smlpnet_t", {"flops": (4_760_952_512, T[0]), "params": (0, T[1])}),
    ],
)
def test_a_budget_is_exact(text: str, windows: dict[str, tuple[int, int]]) -> None:
    found = {figure: (w.low, w.high) for figure, w in budget(text).windows.items()}
    assert found == windows
    assert list(found) == list(windows)


def test_several_texts_are_one_budget() -> None:
    assert budget("5G", "30Mparams") == budget("5G,30Mparams")
    assert budget(budget("5G"), "30Mparams") == budget("5G,30Mparams")


def test_a_spec_is_a_budget(tmp_path: Path) -> None:
    file = tmp_path / "mine, too.yaml"
    file.write_text("extends: smlpnet_t\nvars: {alpha: 2}\n")
    found = budget(file)
    table = archspec.cost(file)
    assert found.windows["flops"].high == table.flops
    assert found.windows["params"] == Window(0, table.params)
    assert budget(archspec.load("smlpnet_t")) == budget("smlpnet_t")


def test_both_ends_are_inside() -> None:
    limits = Budget({"flops": Window(10, 20), "params": Window(0, 5)})
    assert limits.allows(10, 5)
    assert limits.allows(20, 0)
    assert not limits.allows(9, 5)
    assert not limits.allows(21, 5)
    assert not limits.allows(15, 6)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("5G", "4.75G..5G FLOPs"),
        ("5G,30Mparams", "4.75G..5G FLOPs, at most 30M params"),
        ("101", "96..101 FLOPs"),
    ],
)
def test_a_budget_in_words(text: str, shown: str) -> None:
    assert str(budget(text)) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(999, "999"), (5e9, "5G"), (5_011_528_960, "5.01153G"), (1500, "1.5K")]
)
def test_short(value: float, shown: str) -> None:
    assert short(value) == shown


EXAMPLES = "such as 5GFLOPs, 600M, 30Mparams, 4.5G..5G, or a spec that is not to be exceeded"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("5GB", "expected a budget, found '5GB'"),
        ("5 seconds", "expected a budget, found '5 seconds'"),
        ("", "expected a budget, found ''"),
        ("-5G", "expected a budget, found '-5G'"),
        ("5G..", "expected a budget, found '5G..'"),
        ("1G..2G..3G", "expected a budget, found '1G..2G..3G'"),
        ("5G..4G", "the window '5G..4G' ends below its start"),
        ("5GFLOPs..6Mparams", "expected a budget, found '5GFLOPs..6Mparams'"),
        ("5G,6G", "FLOPs are limited twice"),
        ("nan", "expected a budget, found 'nan'"),
    ],
)
def test_what_is_no_budget(text: str, problem: str) -> None:
    with pytest.raises(BudgetError) as caught:
        budget(text)
    assert str(caught.value) == f"--budget: {problem}\n  {EXAMPLES}"


def test_a_space_is_no_budget() -> None:
    with pytest.raises(BudgetError) as caught:
        budget("smlpnet_space")
    assert caught.value.message == "smlpnet_space has holes itself, and so no cost"

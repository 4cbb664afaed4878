"""Whether a wrong artefact is found out, and a right one is let through."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import archspec
from archspec.compile import parity
from archspec.compile.backends.base import Runner
from archspec.compile.manifest import Parity
from archspec.compile.settings import Batch, Precision, Settings
from tests.compile import small


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return small.enliven(archspec.build(small.spec())).eval()


def judged(network: torch.nn.Module, runner: Runner, precision: Precision = "fp32") -> Parity:
    torch.manual_seed(3)
    inputs = {"random": torch.randn(parity.LOOKED_AT, 3, 32, 32)}
    expected = parity.expect(network, inputs, precision, "cpu")
    return parity.compare(runner, expected, (1, 3), precision, "cpu")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_eager_itself_passes(network: torch.nn.Module, precision: Precision) -> None:
    found = judged(network, parity.eager(network, precision, "cpu"), precision)
    assert found.passed
    assert [case.batch for case in found.cases] == [1, 3]
    assert all(case.top1 == 1 for case in found.cases if precision == "fp32")


def test_half_a_precision_is_not_the_whole(network: torch.nn.Module) -> None:
    assert not judged(network, parity.eager(network, "bf16", "cpu"), "fp32").passed


def test_one_changed_weight_is_found(network: torch.nn.Module) -> None:
    import copy

    wrong = copy.deepcopy(network)
    with torch.no_grad():
        next(p for name, p in wrong.named_parameters() if "row" in name).view(-1)[0] += 0.1
    found = judged(network, wrong)
    assert not found.passed
    worst = found.cases[0]
    assert worst.relative_error is not None
    assert worst.relative_error > worst.bound


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_fails(network: torch.nn.Module, value: float) -> None:
    def runner(images_BCHW: Tensor) -> Tensor:
        logits_BK: Tensor = network(images_BCHW)
        return logits_BK.index_fill(1, torch.tensor([2]), value)

    found = judged(network, runner)
    assert not found.passed
    assert all(case.relative_error is None for case in found.cases)


def test_too_few_classes_fail(network: torch.nn.Module) -> None:
    assert not judged(network, lambda images_BCHW: network(images_BCHW)[:, :-1]).passed


def test_a_batch_in_another_order_fails(network: torch.nn.Module) -> None:
    found = judged(network, lambda images_BCHW: network(images_BCHW).flip(0))
    assert [case.passed for case in found.cases] == [True, False]


def test_the_rule_is_said(network: torch.nn.Module) -> None:
    assert judged(network, network).rule == (
        "relative error against float64 ≤ 2 × that of eager fp32 (or 8 ε), and cosine ≥ 0.9999"
    )


def test_accuracy_counts_each_image_once(network: torch.nn.Module) -> None:
    images_NCHW = torch.randn(10, 3, 32, 32)
    with torch.no_grad():
        labels_N = network(images_NCHW).argmax(1).clone()
    labels_N[:3] = (labels_N[:3] + 1) % 7  # three are wrong now
    settings = Settings((3, 32, 32), Batch(4, 4, 4))
    found = parity.accuracy(network, network, images_NCHW, labels_N, settings)
    assert found == {"eager fp32": 0.7, "artefact": 0.7, "images": 10}


def test_every_image_is_looked_at_whatever_the_batch(network: torch.nn.Module) -> None:
    seen: list[Tensor] = []

    def runner(images_BCHW: Tensor) -> Tensor:
        seen.append(images_BCHW)
        return network(images_BCHW)

    torch.manual_seed(3)
    images_NCHW = torch.randn(parity.LOOKED_AT, 3, 32, 32)
    expected = parity.expect(network, {"random": images_NCHW}, "fp32", "cpu")
    assert parity.compare(runner, expected, (3,), "fp32", "cpu").passed
    assert [len(images_BCHW) for images_BCHW in seen] == [3, 3, 3]
    assert torch.equal(torch.cat(seen)[: parity.LOOKED_AT], images_NCHW)

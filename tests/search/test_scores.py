"""Training-free scores and latency, each against a computation by hand."""

from __future__ import annotations

import copy
import itertools
import math
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archspec
from archspec.search.train.device import seeded
from archspec.search.train.latency import latency
from archspec.search.train.outcomes import OutOfMemory
from archspec.search.train.scores import grad_norm, naswot, scores, synflow
from tests.search.tiny import tiny_network

GATED = """
input: {channels: 3, height: 2, width: 2}
classes: 4
stages:
  only:
    body:
      - linear: {id: up, out: 5}
      - gelu
head: [global_pool, {linear: {id: classifier, out: classes}}]
"""


def by_hand(signs: list[list[bool]]) -> float:
    """log |det K| for the patterns of each image, one sum over places at a time."""
    kernel = [[sum(a == b for a, b in zip(x, y, strict=True)) for y in signs] for x in signs]

    def determinant(rows: list[list[int]]) -> int:
        """Leibniz's sum over permutations."""
        total = 0
        for order in itertools.permutations(range(len(rows))):
            swaps = sum(a > b for a, b in itertools.combinations(order, 2))
            total += (-1) ** swaps * math.prod(rows[i][j] for i, j in enumerate(order))
        return total

    return math.log(abs(determinant(kernel)))


def test_naswot_by_hand() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 5), nn.SiLU())
    with seeded(0):
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        images_NCHW = torch.randn(4, 3, 1, 1)
    with torch.no_grad():
        first = model[:2](images_NCHW)
        second = model[:4](images_NCHW)
    signs = [[bool(v > 0) for v in (*a, *b)] for a, b in zip(first, second, strict=True)]
    assert naswot(model, images_NCHW) == pytest.approx(by_hand(signs))


def test_naswot_sees_the_activations_of_a_spec(tmp_path: Path) -> None:
    """They are calls of functions in a traced graph, and no modules."""
    file = tmp_path / "gated.yaml"
    file.write_text(GATED)
    with seeded(1):
        model = archspec.build(file)
        images_NCHW = torch.randn(3, 3, 2, 2)
    weight, bias = (model.get_parameter(f"only.layers.0.up.{name}") for name in ("weight", "bias"))
    before_NHWC = (
        torch.einsum("nchw,oc->nhwo", images_NCHW, weight.detach().flatten(1)) + bias.detach()
    )
    signs = [[bool(v > 0) for v in image.flatten()] for image in before_NHWC]
    assert naswot(model, images_NCHW) == pytest.approx(by_hand(signs))


def test_naswot_normalises_by_the_batch() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.ReLU())
    images_NCHW = torch.tensor([9.0, 10.0, 12.0, 13.0]).view(2, 1, 1, 2)  # mean 11
    assert naswot(model, images_NCHW) == pytest.approx(by_hand([[False] * 2, [True] * 2]))


def test_synflow_by_hand() -> None:
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(2, 2), nn.BatchNorm1d(2), nn.GELU(), nn.LayerNorm(2),
        nn.Linear(2, 1),
    )  # fmt: skip
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
        model[1].bias.copy_(torch.tensor([-1.0, 0.0]))
        model[5].weight.copy_(torch.tensor([[-2.0, 5.0]]))
    # ones → |W|·1 + |b| = (1+2+1, 3+4) = (4, 7) → R = 2·4 + 5·7 + |b|
    # first layer: Σ|w|·∂R/∂w = 2·(1+2) + 5·(3+4) = 41; second: 2·4 + 5·7 = 43
    assert synflow(model, (1, 1, 2)) == pytest.approx(math.log(41 + 43))


def test_synflow_of_a_deep_network_does_not_overflow() -> None:
    layers = [nn.Linear(50, 50, bias=False) for _ in range(40)]
    for layer in layers:
        nn.init.constant_(layer.weight, 10.0)
    # every layer passes on R = 50 · (50 · 10)⁴⁰ > 1e100, beyond float32
    expected = math.log(40) + math.log(50) + 40 * math.log(500)
    assert synflow(nn.Sequential(nn.Flatten(), *layers), (2, 5, 5)) == pytest.approx(expected)


def test_grad_norm_by_hand() -> None:
    """Of softmax regression: ∂L/∂W = (p − y) xᵀ / N."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    images_NCHW, labels_N = torch.randn(4, 3, 1, 1), torch.tensor([0, 1, 1, 0])
    with torch.no_grad():
        error_NK = model(images_NCHW).softmax(1) - torch.eye(2)[labels_N]
    expected = (error_NK.T @ images_NCHW.flatten(1) / 4).square().sum().sqrt().item()
    assert grad_norm(model, images_NCHW, labels_N) == pytest.approx(expected, rel=1e-5)


def test_everything_is_left_as_it_was() -> None:
    model = tiny_network(dropout=0.5).train()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    model[0].bias.requires_grad_(False)
    before, state = copy.deepcopy(model), torch.get_rng_state()
    images_NCHW, labels_N = torch.rand(4, 3, 6, 6, generator=torch.Generator()), torch.arange(4) % 2
    first = scores(model, images_NCHW, labels_N)
    assert scores(model, images_NCHW, labels_N) == first
    assert list(first) == ["naswot", "synflow", "grad_norm"]
    assert all(map(math.isfinite, first.values()))
    assert torch.equal(torch.get_rng_state(), state)
    for (name, now), (_, then) in zip(
        model.state_dict().items(), before.state_dict().items(), strict=True
    ):
        assert torch.equal(now, then), name
    assert model[0].weight.grad.eq(1).all()
    assert model[5].weight.grad is None
    assert not model[0].bias.requires_grad
    assert all(module.training for module in model.modules())


def test_scores_that_are_not_finite_are_nan() -> None:
    images_NCHW, labels_N = torch.ones(2, 3, 6, 6), torch.tensor([0, 1])  # one pattern twice
    found = scores(tiny_network(), images_NCHW, labels_N)
    assert math.isnan(found["naswot"])
    assert math.isfinite(found["grad_norm"])
    broken = tiny_network()
    nn.init.constant_(broken[5].weight, math.inf)
    found = scores(broken, torch.rand(2, 3, 6, 6), labels_N)
    assert math.isnan(found["synflow"])
    assert math.isnan(found["grad_norm"])
    assert math.isnan(scores(nn.Flatten(), torch.rand(2, 3, 1, 1), labels_N)["synflow"])


class Full(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")


def test_scores_out_of_memory() -> None:
    with pytest.raises(OutOfMemory, match="out of memory while scoring an untrained network"):
        scores(Full(), torch.rand(2, 3, 1, 1), torch.tensor([0, 1]))


class Sleeper(nn.Module):
    """Takes 2 ms, but for every fifth pass, which takes 20."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        self.passes.append(tuple(x.shape))
        time.sleep(0.02 if len(self.passes) % 5 == 0 else 0.002)
        return F.relu(x)


def test_latency_is_the_median() -> None:
    model = Sleeper()
    found = latency(model, (3, 4, 5), device="cpu", batch=2, seconds=0.2)
    assert 0.002 <= found < 0.01  # the mean is 5.6 ms at the least, the slowest 20
    assert set(model.passes) == {(2, 3, 4, 5)}
    assert len(model.passes) > 10


def test_latency_measures_a_few_runs_however_long_they_take() -> None:
    model = Sleeper()
    latency(model, (1, 1, 1), device="cpu", seconds=0)
    assert len(model.passes) == 6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    model = tiny_network().cuda()
    found = scores(model, torch.rand(4, 3, 6, 6).cuda(), torch.tensor([0, 1, 0, 1]).cuda())
    assert all(map(math.isfinite, found.values()))
    assert 0 < latency(model, (3, 6, 6), device="cuda", seconds=0.1) < 0.1

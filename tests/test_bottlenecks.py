"""ResNet and RegNetY against networks written by hand here, under the public checkpoints' names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

import archspec
from tests.test_figures import ADAPTIVE_POOL


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )


class Bottleneck(nn.Module):
    """ResNet's layer: 1×1, 3×3, 1×1, and a shortcut that is mapped where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1, self.bn1 = conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, outputs, 1), nn.BatchNorm2d(outputs)
        if inputs != outputs:
            self.downsample = nn.Sequential(
                conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(y))
        return (y + (self.downsample(x) if hasattr(self, "downsample") else x)).relu()


class ResNet(nn.Module):
    def __init__(self, depths: list[int]) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        inputs = 64
        for stage, depth in enumerate(depths):
            layers = []
            for layer in range(depth):
                stride = 2 if stage and not layer else 1
                layers.append(Bottleneck(inputs, 64 << stage, stride))
                inputs = 4 * 64 << stage
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(self.pool(x).flatten(1))


class ConvNorm(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__()
        self.conv = conv(inputs, outputs, kernel, stride, groups)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class RegNetLayer(nn.Module):
    """1×1, 3×3 in groups, squeeze-and-excitation to a quarter of the *input's* channels, 1×1."""

    def __init__(self, inputs: int, width: int, stride: int, group: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, width, 1)
        self.conv2 = ConvNorm(width, width, 3, stride, groups=width // group)
        self.se = SqueezeExcite(width, inputs // 4)
        self.conv3 = ConvNorm(width, width, 1)
        if inputs != width or stride > 1:
            self.downsample = ConvNorm(inputs, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.se(self.conv2(self.conv1(x).relu()).relu())
        shortcut = self.downsample(x) if hasattr(self, "downsample") else x
        return (self.conv3(y) + shortcut).relu()


class RegNetY(nn.Module):
    def __init__(self, widths: list[int], depths: list[int], group: int) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, 2)
        inputs = 32
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
            layers = nn.Module()
            for layer in range(1, depth + 1):
                stride = 2 if layer == 1 else 1
                setattr(layers, f"b{layer}", RegNetLayer(inputs, width, stride, group))
                inputs = width
            setattr(self, f"s{stage}", layers)
        self.head = nn.Module()
        self.head.global_pool = nn.AdaptiveAvgPool2d(1)
        self.head.fc = nn.Linear(inputs, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        for stage in range(1, 5):
            for layer in getattr(self, f"s{stage}").children():
                x = layer(x)
        return self.head.fc(self.head.global_pool(x).flatten(1))


HAND_WRITTEN: dict[str, Callable[[], nn.Module]] = {
    "resnet50": lambda: ResNet([3, 4, 6, 3]),
    "regnety_4gf": lambda: RegNetY([128, 192, 512, 1088], [2, 6, 12, 2], 64),
}


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_figures(name: str) -> None:
    model = HAND_WRITTEN[name]().eval()
    analysis = FlopCountAnalysis(model, torch.randn(1, 3, 224, 224))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    cost = archspec.cost(name)
    assert sum(p.numel() for p in model.parameters()) == cost.params
    with torch.no_grad():
        kinds = analysis.by_operator()
    assert kinds["adaptive_avg_pool2d"] == ADAPTIVE_POOL[name]
    assert kinds.total() == cost.flops + ADAPTIVE_POOL[name]


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_logits_from_a_checkpoint_with_public_names(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = HAND_WRITTEN[name]().double().eval()
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if "running" in key or tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5)
    torch.save(model.state_dict(), tmp_path / "public.pth")
    ours = archspec.build(name, weights=tmp_path / "public.pth", dtype=torch.float64).eval()
    image = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected, found = model(image), ours(image)
    assert (found - expected).norm() / expected.norm() < 1e-9

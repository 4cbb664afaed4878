"""sMLPNet as one would write it by hand from the paper: NCHW throughout, permutes, 1×1 convs.

What the built network is measured against (arXiv 2109.05422; the block as the authors' code has
it). Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LocalMixing(nn.Module):
    """BN, GELU, depthwise 3×3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.GELU()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.conv(self.act(self.norm(x_BCHW)))
        return out


class SparseMLP(nn.Module):
    """BN, GELU, then the identity beside a mix along the width and one along the height, fused."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.GELU()
        self.mix_width = nn.Conv2d(width, width, 1)
        self.mix_height = nn.Conv2d(height, height, 1)
        self.fuse = nn.Conv2d(3 * channels, channels, 1, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x = self.act(self.norm(x_BCHW))
        # each axis is moved to where a 1×1 convolution mixes, and back: four permutes
        along_width = self.mix_width(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        along_height = self.mix_height(x.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)
        out: Tensor = self.fuse(torch.cat([x, along_width, along_height], dim=1))
        return out


class ChannelMLP(nn.Module):
    """LN, linear, GELU, linear, at every position."""

    def __init__(self, channels: int, alpha: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.up = nn.Linear(channels, alpha * channels)
        self.act = nn.GELU()
        self.down = nn.Linear(alpha * channels, channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BHWC = self.norm(x_BCHW.permute(0, 2, 3, 1))
        out: Tensor = self.down(self.act(self.up(x_BHWC))).permute(0, 3, 1, 2)
        return out


class Layer(nn.Module):
    """Token mixing, then channel mixing, each with a residual around it."""

    def __init__(self, channels: int, height: int, width: int, alpha: int) -> None:
        super().__init__()
        self.local = LocalMixing(channels)
        self.cross = SparseMLP(channels, height, width)
        self.ffn = ChannelMLP(channels, alpha)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = x_BCHW + self.cross(self.local(x_BCHW))
        out: Tensor = x_BCHW + self.ffn(x_BCHW)
        return out


class PlainSMLPNet(nn.Module):
    """The whole network. Stages halve the grid and double the channels.

    Args:
        dim: channels of the first stage.
        depths: layers of each stage.
        alpha: expansion ratio of the channel MLPs.
        size: height and width of the input.
    """

    def __init__(
        self,
        dim: int = 80,
        depths: tuple[int, ...] = (2, 8, 14, 2),
        alpha: int = 3,
        size: tuple[int, int] = (224, 224),
        classes: int = 1000,
    ) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        channels_in, channels, patch = 3, dim, 4
        height, width = size
        for depth in depths:
            height, width = height // patch, width // patch
            stages.append(nn.Conv2d(channels_in, channels, patch, stride=patch, bias=False))
            stages += [Layer(channels, height, width, alpha) for _ in range(depth)]
            channels_in, channels, patch = channels, 2 * channels, 2
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(channels_in)
        self.classifier = nn.Linear(channels_in, classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.norm(self.stages(x_BCHW)).mean((2, 3)))
        return out


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Give `target` the weights of `source`: the same tensors in the same order, up to 1×1 axes."""
    ours, theirs = source.state_dict(), target.state_dict()
    pairs = zip(theirs.items(), ours.values(), strict=True)
    target.load_state_dict({name: value.reshape(own.shape) for (name, own), value in pairs})

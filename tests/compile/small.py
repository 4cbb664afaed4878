"""A small sMLPNet in which nothing can hide: every parameter and statistic is its own."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file
from torch import nn

import archspec
from archspec.spec import Spec, loads
from archspec.written import to_yaml


def spec(**values: object) -> Spec:
    """Two stages' worth of everything that sMLPNet has, on 32×32 images."""
    small = {"dim": 8, "depths": [1, 1, 1, 1], "input.height": 32, "input.width": 32, "classes": 7}
    return archspec.load("smlpnet_t").with_values(small | values).with_values({"name": "small"})


def tiny() -> Spec:
    """One layer on 16×16 images: what compilers that take their time are tried on."""
    document = yaml.safe_load(to_yaml(spec(**{"input.height": 32}), leave_out=("weights",)))
    document["stages"] = {"stage1": document["stages"]["stage1"]}
    document["input"] |= {"height": 16, "width": 16}
    document["vars"]["depths"] = [1]
    return loads(yaml.safe_dump(document))


def enliven(module: nn.Module) -> nn.Module:
    """Give statistics and affine parameters values that a test would miss if they were lost."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith("running_mean"):
            tensor.normal_(0, 0.3, generator=generator)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.normal_(0.5, 0.3, generator=generator)
    return module


def checkpoint(folder: Path, network: Spec) -> Path:
    """A checkpoint of a network."""
    torch.manual_seed(0)
    module = enliven(archspec.build(network))
    path = folder / f"{network.digest[:8]}.safetensors"
    save_file(module.state_dict(), path)
    return path

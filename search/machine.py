"""The device that a search runs on, in words."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    kind: str
    """`cpu` or `cuda`: results of one are not mixed with those of another."""
    name: str
    """As it calls itself."""


def machine(device: str) -> Machine:
    """What `auto`, `cpu`, `cuda` or `cuda:1` is here.

    Raises:
        ArchspecError: there is no such device.
    """
    import torch

    from archspec.search.train.device import open_fabric

    place = open_fabric(device, "fp32").device
    if place.type == "cuda":
        return Machine("cuda", torch.cuda.get_device_name(place))
    return Machine(place.type, f"{cpu_model()}, {torch.get_num_threads()} threads")


def cpu_model() -> str:
    """As the processor calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()

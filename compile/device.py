"""The device that is compiled for, as an artefact remembers it."""

from __future__ import annotations

import torch

from archspec.compile.manifest import Device
from archspec.search.machine import cpu_model
from archspec.search.train.device import open_fabric


def resolve(device: str) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:1` as PyTorch calls it.

    Raises:
        ArchspecError: there is no such device.
    """
    place = open_fabric(device, "fp32").device
    return "cpu" if place.type == "cpu" else str(place)


def describe(device: str) -> Device:
    """What a device is."""
    if device.startswith("cuda"):
        major, minor = torch.cuda.get_device_capability(device)
        name = torch.cuda.get_device_name(device)
        return Device(kind="cuda", name=name, capability=f"{major}.{minor}")
    return Device(kind="cpu", name=cpu_model(), capability=torch.backends.cpu.get_cpu_capability())

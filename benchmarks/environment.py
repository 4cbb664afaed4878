"""On what a figure was measured: enough to judge it, and to measure it again."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import shlex
import sys
from typing import Any

from archspec.search.machine import cpu_model

PACKAGES = ("torch", "numpy", "fvcore", "pydantic", "typer")
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ONEDNN_DEFAULT_FPMATH_MODE")
"""Set in the environment, they change timings; those that are set are part of the command."""


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpu_model() -> str | None:
    """The current CUDA device, None where there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def command(arguments: list[str]) -> str:
    """The line that measures it again, from the top of the repository."""
    settings = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    return shlex.join([*settings, "python", "-m", "benchmarks", *arguments])


def capture(device: str, arguments: list[str]) -> dict[str, Any]:
    """The environment of a run that starts now."""
    import torch

    found: dict[str, Any] = {
        "device": gpu_model() if device == "cuda" else cpu_model(),
        "command": command(arguments),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }
    if device == "cuda":
        found["cuda"] = torch.version.cuda
    return found

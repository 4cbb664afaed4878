"""Starts the process in which torch-tensorrt runs beside the stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.compile.trt import standin

WHY_NOT = standin.why_not()
needs_standin = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


def run(folder: Path, task: str, *arguments: str) -> Any:
    """What a task of `tests.compile.trt.child` gives.

    Args:
        folder: for the copy of torch-tensorrt and for caches.
    """
    copy = folder / "torch_tensorrt"
    if not copy.exists():
        standin.strip(copy)
    done = subprocess.run(
        [sys.executable, "-m", "tests.compile.trt.child", str(copy), task, *arguments],
        capture_output=True, text=True, check=False, cwd=standin.ROOT,
        env=os.environ | {"ARCHSPEC_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])

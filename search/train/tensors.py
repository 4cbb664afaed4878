"""Weights as safetensors: written whole or not at all, with what is known of them in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archspec.files import replacing

KEY = "archspec"
"""Of our entry in the header: JSON, since the format holds text alone."""


def write_tensors(
    path: Path, tensors: Mapping[str, Any], facts: Mapping[str, Any] | None = None
) -> None:
    """Write a state dict.

    Args:
        facts: plain data to stand in the file's header.

    Raises:
        ArchspecError: it cannot be written.
    """
    from safetensors.torch import save

    header = None if facts is None else {KEY: json.dumps(facts)}
    content = save(
        {name: value.cpu().contiguous() for name, value in tensors.items()}, metadata=header
    )
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)


def read_facts(path: Path) -> dict[str, Any] | None:
    """The plain data in the header of such a file; None without a whole file that has them."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})[KEY])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None

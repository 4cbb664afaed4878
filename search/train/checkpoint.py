"""The state of a training after an epoch: written whole, read without running anything in it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archspec.errors import ArchspecError, Mark, WeightsError, brief
from archspec.files import replacing
from archspec.search.train.history import Epoch
from archspec.search.train.recipe import Recipe
from archspec.weights import read_checkpoint

FORMAT = 1
"""Of the file; another number is another layout."""


class ForeignCheckpoint(ArchspecError):  # noqa: N818
    """The file is of another training: it is neither used nor overwritten."""


class BrokenCheckpoint(ArchspecError):  # noqa: N818
    """Nothing can be read from the file."""


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds. Every random choice depends on seed, epoch and step alone, so
    there is no state of a generator to keep."""

    model: dict[str, Any]
    optimizer: dict[str, Any]
    history: tuple[Epoch, ...]
    micro_batch: int


def fingerprint(
    model: nn.Module, data: str, recipe: Recipe, seed: int, identity: Mapping[str, str]
) -> dict[str, Any]:
    """What a training is determined by, name by name.

    Args:
        data: the digest of the data.
        identity: more that a caller tells trainings apart by.
    """
    layout = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    digest = hashlib.sha256(json.dumps(layout).encode()).hexdigest()
    return {"network": digest, "data": data, "seed": seed, **identity, **recipe.model_dump()}


def save(path: Path, mark: Mapping[str, Any], state: Saved) -> None:
    """Write the checkpoint of a training, whole or not at all.

    Raises:
        ArchspecError: it cannot be written.
    """
    content = {
        "format": FORMAT,
        "fingerprint": dict(mark),
        "model": state.model,
        "optimizer": state.optimizer,
        "history": [asdict(epoch) for epoch in state.history],
        "micro_batch": state.micro_batch,
    }
    # by way of memory: torch's own writer hides what the system says of a full disk
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with replacing(path) as unfinished:
        unfinished.write_bytes(buffer.getbuffer())


def read(path: Path, mark: Mapping[str, Any]) -> Saved | None:
    """The state in a checkpoint of the training with this fingerprint.

    Returns:
        None where there is no file.

    Raises:
        ForeignCheckpoint: of another training, with what differs.
        BrokenCheckpoint: nothing can be read from it.
        ArchspecError: no access.
    """
    try:
        with path.open("rb"):
            pass
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArchspecError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        content = read_checkpoint(path)
        if content["format"] != FORMAT:
            raise ArchspecError(
                f"was written by another version (format {brief(content['format'])})",
                mark=Mark(str(path)), hint="delete it to start over",
            )  # fmt: skip
        found = dict(content["fingerprint"])
        saved = Saved(
            content["model"],
            content["optimizer"],
            tuple(Epoch(**epoch) for epoch in content["history"]),
            int(content["micro_batch"]),
        )
    except WeightsError as error:
        raise BrokenCheckpoint(error.message, mark=error.mark) from None
    except (KeyError, TypeError, ValueError):
        raise BrokenCheckpoint("is not a training checkpoint", mark=Mark(str(path))) from None
    differences = [
        f"  {name}: {_text(found.get(name))} there, {_text(mark.get(name))} here"
        for name in dict.fromkeys((*mark, *found))
        if found.get(name) != mark.get(name)
    ]
    if differences:
        raise ForeignCheckpoint(
            "is of another training:\n" + "\n".join(differences),
            mark=Mark(str(path)),
            hint="train with the same settings, in another folder (--output), or delete it to "
            "start over",
        )
    return saved


def set_aside(path: Path) -> Path:
    """Rename a file to `NAME.broken`.

    Raises:
        ArchspecError: it cannot be renamed.
    """
    aside = path.with_name(path.name + ".broken")
    try:
        return path.replace(aside)
    except OSError as error:
        raise ArchspecError(f"cannot rename {path}: {error.strerror or error}") from None


def _text(value: object) -> str:
    """A setting in a message; of a digest, enough to tell it from another."""
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return "none" if value is None else str(value)

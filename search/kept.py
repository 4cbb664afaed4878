"""What a search leaves behind in its folder, by name, and what `winner.json` says.

winner.yaml           the winner at the space's own input size and classes
winner-trained.yaml   the same as it was trained, where that is another size or number of classes
winner.safetensors    its weights, from the training with a fresh seed
winner.json           what they belong to; written after them. None of the three: no such training
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

WINNER: Literal["winner.yaml"] = "winner.yaml"
TRAINED: Literal["winner-trained.yaml"] = "winner-trained.yaml"
WEIGHTS: Literal["winner.safetensors"] = "winner.safetensors"
FACTS = "winner.json"
LOCK = "lock"
"""Held by the process that searches."""

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""Of a file's bytes (SHA-256), or `Spec.digest`."""
Names = Annotated[tuple[str, ...], Field(min_length=1)]


class Facts(BaseModel):
    """What the weights of a winner are and come from."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    format: Literal[1] = 1
    """Of this file; another number is another layout."""
    study: str
    trial: int
    spec: Literal["winner.yaml", "winner-trained.yaml"]
    """The file with the network that the weights belong to."""
    spec_digest: Digest
    winner_digest: Digest
    """Of the network in winner.yaml."""
    weights: Literal["winner.safetensors"] = WEIGHTS
    weights_sha256: Digest
    resolution: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    """Height and width of the images."""
    classes: Names
    data: str
    """In a phrase, with the numbers of images."""
    images: str
    """What `--data` was given: `digits`, a path."""
    data_digest: str
    mean: Annotated[tuple[float, ...], Field(min_length=1)]
    """Per channel of images scaled to 0 … 1: taken away."""
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
    """Likewise: then divided by."""
    seed: int
    epochs: Annotated[int, Field(ge=1)]
    accuracy: Annotated[float, Field(ge=0, le=1)]
    """Of these weights on held-out images."""
    loss: float
    """Mean cross entropy on held-out images, in nats."""

    @model_validator(mode="after")
    def _has_as_many(self) -> Facts:
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} channels, and std {len(self.std)}")
        return self


def is_running(folder: Path) -> bool:
    """Whether a process searches in a folder now. Nothing is written, and PyTorch not loaded."""
    return is_held(folder / LOCK)


def is_held(lock: Path) -> bool:
    """Whether a process has a locked file. It may take it meanwhile: nothing is kept from it."""
    try:
        import fcntl
    except ImportError:
        return False  # not on this system
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # there is no such file, or the file system has no locks
    return False

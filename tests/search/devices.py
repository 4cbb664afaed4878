"""Trainings in several processes, as they are started: what each of them does."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archspec.search.train.launch import launch
from archspec.search.train.ranks import Place, joined, outside_place
from archspec.search.train.recipe import Recipe
from archspec.search.train.trainer import train
from tests.search.tiny import tiny_data, tiny_network

RECIPE = {"epochs": 4, "batch_size": 9, "lr": 0.01, "crop_padding": 1, "mixup": 0.2}
"""Nine images: five for one process, four for the other."""


class Trouble(nn.Module):
    """A network that fails in one of the processes: at a forward pass in training, or at large
    micro-batches."""

    def __init__(self, kind: str = "", rank: int = 1, at: int = 0, fits: int = 1000) -> None:
        super().__init__()
        self.inner = tiny_network(norm=kind == "norm", dropout=0.5 if kind == "dropout" else 0.0)
        self.spare = nn.Linear(2, 2) if kind == "unused" else None
        self._kind, self._fits, self._at = kind, fits, at
        self._rank, self._here = rank, False

    def here(self, rank: int) -> None:
        self._here = rank == self._rank

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        self._at -= self.training
        if self._here and (len(x) > self._fits or (self._kind == "late" and self._at == 0)):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if self._here and self._kind == "killed" and self._at == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._here and self._kind == "bug" and self._at == 0:
            raise KeyError("a bug")
        return logits


def trained(folder: Path, options: Mapping[str, Any], place: Place | None) -> None:
    """Train, and leave in a file of the folder what this process has of it.

    Args:
        options: recipe, network (arguments of `Trouble`), data (of `tiny_data`), checkpoint,
            epochs (after which to stop), device.
    """
    torch.set_num_threads(1)
    notes: list[str] = []
    with joined(options.get("device", "cpu"), "fp32", place) as fabric:
        model = Trouble(**options.get("network", {}))
        model.here(fabric.global_rank)
        result = train(
            model, tiny_data(**{"train": 40, "held_out": 13} | options.get("data", {})),
            Recipe(**RECIPE | options.get("recipe", {})), seed=5, fabric=fabric,
            checkpoint=options.get("checkpoint"), on_note=notes.append,
            on_epoch=partial(_stop, options.get("epochs")),
        )  # fmt: skip
        found = {
            "history": [asdict(epoch) for epoch in result.history],
            "weights": {name: value.cpu() for name, value in model.state_dict().items()},
            "micro_batch": result.micro_batch, "notes": notes, "listening": _listening(),
        }  # fmt: skip
        torch.save(found, folder / f"{fabric.global_rank}.pt")


class Enough(Exception):
    pass


def _stop(after: int | None, epoch: Any) -> None:
    if epoch.number == after:
        raise Enough


def _listening() -> list[str]:
    """The addresses at which this process can be reached."""
    import psutil

    return [
        c.laddr.ip
        for c in psutil.Process().net_connections("inet")
        if c.status == psutil.CONN_LISTEN
    ]


def alone(folder: Path, **options: Any) -> dict[str, Any]:
    """What one process has of the training."""
    threads = torch.get_num_threads()
    try:
        trained(folder, options, None)
    finally:
        torch.set_num_threads(threads)
    return read(folder, 0)


def together(folder: Path, count: int = 2, **options: Any) -> list[dict[str, Any]]:
    """What each of several processes has of the training."""
    launch(partial(trained, folder, options), count)
    return [read(folder, rank) for rank in range(count)]


def read(folder: Path, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / f"{rank}.pt", weights_only=True)
    return found


def started_by(environment: Mapping[str, str], folder: Path) -> None:
    """Train where torchrun or Slurm put this process."""
    os.environ.update(environment)
    trained(folder, {}, outside_place())


def forever(folder: Path, options: Mapping[str, Any]) -> None:
    """A parent that is killed before its processes are done."""
    together(folder, **options)

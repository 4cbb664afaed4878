"""Processes that train one network together, each on a device of its own: who they are.

`archspec train --devices 8` starts them itself (launch.py); torchrun and Slurm start them on
several machines. PyTorch's DistributedDataParallel, through Lightning Fabric, exchanges their
gradients.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from archspec.errors import ArchspecError
from archspec.search.train.device import joint_fabric, open_fabric, quiet, resolve
from archspec.search.train.recipe import Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where a process stands among those that train together."""

    starter: str
    """Who started them, as messages say it."""
    rank: int
    """Of all; the first one, 0, alone writes files and tells what happens."""
    local: int
    """Of those on this machine."""
    here: int
    """How many are on each machine."""
    machines: int
    meeting: Path | None = None
    """A file in which they find each other; None: at the address that the starter named."""


class Lost(ArchspecError):  # noqa: N818
    """Other processes of the training have ended, which is never the cause of anything."""


def outside_place() -> Place | None:
    """The place that torchrun or Slurm gave this process; None: it is alone.

    Raises:
        ArchspecError: Slurm started an uneven number of tasks, or did not say how many a machine.
    """
    env = os.environ
    if torch.distributed.is_torchelastic_launched():
        starter, total = "torchrun", int(env["WORLD_SIZE"])
    elif "SLURM_STEP_ID" in env and env.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        starter, total = "Slurm", int(env.get("SLURM_NTASKS", 1))  # by srun, not by a batch script
    else:
        return None
    if total == 1:
        return None
    if starter == "torchrun":
        rank, local, here = (int(env[n]) for n in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    else:
        each = env.get("SLURM_NTASKS_PER_NODE", "")
        if not each.isdigit():
            raise ArchspecError(
                f"Slurm started {total} tasks and does not say how many of them a machine has",
                hint="--ntasks-per-node in the batch script says it",
            )
        rank, local, here = int(env["SLURM_PROCID"]), int(env["SLURM_LOCALID"]), int(each)
    if total % here:
        raise ArchspecError(
            f"{starter} started {total} processes, {here} on this machine: not as many on each",
            hint="each machine takes as many as the others",
        )
    return Place(starter, rank, local, here, total // here)


def devices_here(devices: str | None, device: str, place: Place | None) -> int:
    """How many devices of this machine train together.

    Args:
        devices: what was asked for: a number, `auto` for all GPUs of this machine, or None.
        device: `auto`, `cpu`, `cuda`, or one device such as `cuda:1`.
        place: where torchrun or Slurm put this process.

    Raises:
        ArchspecError: there are not so many, or whoever started this process says otherwise.
    """
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = place.here if place is not None else 1
    if devices == "auto":
        wanted = wanted if place is not None or device == "cpu" or ":" in device else max(there, 1)
    elif devices is not None:
        if not devices.isdecimal() or not int(devices):
            raise ArchspecError(f"--devices takes a number from 1, or auto, found {devices!r}")
        wanted = int(devices)
    if place is not None and wanted != place.here:
        raise ArchspecError(
            f"--devices is {wanted}, and {place.starter} started {place.here} processes on this "
            "machine",
            hint=f"without --devices, {place.starter} says how many",
        )
    resolve(device)
    if wanted == 1 and place is None:
        return 1
    if ":" in device:
        raise ArchspecError(
            f"--device {device} is one device, and {wanted} are asked for",
            hint="--device cuda takes as many as are asked for",
        )
    if device != "cpu" and wanted > there:
        raise ArchspecError(
            f"there are no {wanted} devices: PyTorch finds {there} CUDA devices here",
            hint=f"'--device cpu' trains in {wanted} processes on the CPU",
        )
    return wanted


@contextlib.contextmanager
def joined(device: str, precision: Precision | None, place: Place | None) -> Iterator[Fabric]:
    """The Fabric of this process, together with those of the others; alone, one of its own.

    Processes of one machine talk over the loopback interface alone.

    Raises:
        Lost: one of the others is gone.
        ArchspecError: there is no such device.
    """
    if place is None:
        yield open_fabric(device, precision)
        return
    if place.machines == 1:
        loopback = next(n for _, n in socket.if_nameindex() if n.startswith("lo"))
        for library in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", loopback)
    kind, _ = resolve(device)
    is_ours = place.meeting is not None
    if is_ours:
        os.environ.update(LOCAL_RANK=str(place.local), NODE_RANK="0")
    try:
        fabric = joint_fabric(kind, precision, place.here, place.machines, is_ours=is_ours)
        if is_ours:  # not at a port, which PyTorch would open on all interfaces
            torch.distributed.init_process_group(
                "nccl" if kind == "cuda" else "gloo",
                init_method=f"file://{place.meeting}",
                rank=place.rank, world_size=place.here,
                device_id=fabric.device if kind == "cuda" else None,
            )  # fmt: skip
        with quiet():
            fabric.launch()
        yield fabric
    except RuntimeError as error:
        if not is_lost(error):
            raise
        raise Lost(
            "the other processes of this training are gone",
            hint="the same command goes on from the last epoch",
        ) from None
    torch.distributed.destroy_process_group()


def is_lost(error: RuntimeError) -> bool:
    """Whether an exception says that another process is gone."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)


def on_first(fabric: Fabric, action: Callable[[], T]) -> T:
    """Do something in the first process alone; what comes of it, a refusal too, reaches all."""
    if fabric.world_size == 1:
        return action()
    outcome: tuple[T | None, ArchspecError | None] = (None, None)
    if fabric.is_global_zero:
        try:
            outcome = action(), None
        except ArchspecError as error:
            outcome = None, error
    value, refusal = fabric.broadcast(outcome)
    if refusal is not None:
        raise refusal
    return value  # type: ignore[return-value]  # None where the action gives None

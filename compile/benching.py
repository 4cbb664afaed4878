"""Artefacts timed side by side: each round runs every one of them once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch

from archspec.compile.artefact import Artefact
from archspec.compile.errors import CompileError
from archspec.compile.speed import SECONDS, measure

BUSY = 0.5
"""Processes that want to run, per core, from which timings are not to be trusted."""


def busy_machine() -> str | None:
    """What else wants to run here, where it is enough to disturb timings."""
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load <= BUSY * cores:
        return None
    return (
        f"this machine is busy (load {load:.1f} on {cores} cores): ratios suffer least, since "
        "artefacts are timed in turns"
    )


def sizes_of(artefacts: Mapping[str, Artefact], batch: int | None = None) -> list[int]:
    """The batch sizes to time: `batch`, or those that any was made for and all take.

    Raises:
        CompileError: artefacts that cannot be compared, or no batch size that all take.
    """
    _check_comparable(artefacts)
    takes = {name: artefact.manifest.settings.batch for name, artefact in artefacts.items()}
    wanted = {batch} if batch else {size for one in takes.values() for size in one.sizes}
    found = [s for s in sorted(wanted) if all(one.min <= s <= one.max for one in takes.values())]
    if found:
        return found
    told = "\n  ".join(
        f"{name} takes {one.min if one.is_fixed else f'{one.min} to {one.max}'}"
        for name, one in takes.items()
    )
    what = f"a batch of {batch} images" if batch else "any of the batch sizes they were made for"
    raise CompileError(f"not all of these take {what}", hint=told)


def _check_comparable(artefacts: Mapping[str, Artefact]) -> None:
    (first, base), *others = artefacts.items()
    for name, other in others:
        for what, theirs, ours in (
            ("images of", _image(other), _image(base)),
            ("the device", other.device, base.device),
        ):
            if theirs != ours:
                raise CompileError(
                    f"{name} is for {what} {theirs}, and {first} for {what} {ours}: their times "
                    "cannot be compared"
                )


def _image(artefact: Artefact) -> str:
    return "×".join(map(str, artefact.manifest.image))


def time_side_by_side(
    artefacts: Mapping[str, Artefact],
    batch: int,
    *,
    base: str,
    seconds: float = SECONDS,
    progress: Callable[[float], None] | None = None,
) -> list[dict[str, Any]]:
    """Time artefacts on one batch of random images.

    Args:
        artefacts: name → artefact; all for the same images and device.
        base: the name of the one that ratios compare with: above 1 is faster than it.
        seconds: for each, about.

    Returns:
        A row of plain data for each, in their order.
    """
    first = artefacts[base]
    generator = torch.Generator().manual_seed(0)
    images_BCHW = torch.randn(batch, *first.manifest.image, generator=generator)
    timings = measure(
        artefacts, images_BCHW.to(first.device), seconds=seconds, base=base, progress=progress
    )
    rows = []
    for timing in timings:
        facts = artefacts[timing.runner].manifest
        row: dict[str, Any] = {"artefact": timing.runner, "network": facts.name}
        row |= {"backend": facts.backend, "precision": facts.precision, "against": base}
        row |= timing.model_dump(mode="json", exclude={"runner"})
        rows.append(row | {"size": facts.size, "fit": facts.fit})
    return rows

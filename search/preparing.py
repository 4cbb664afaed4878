"""What a search is asked for, checked before anything is trained: budget, sampler, data, size."""

from __future__ import annotations

import contextlib
import math
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from archspec.errors import ArchspecError, Mark, SpecError, brief, did_you_mean
from archspec.search import defaults
from archspec.search.budgets import Budget
from archspec.search.budgets import budget as read_budget
from archspec.search.data.images import Data
from archspec.search.errors import SpaceError
from archspec.search.feasibility import FeasibleSet
from archspec.search.listener import Listener
from archspec.search.objectives import Function, Objective, objectives
from archspec.search.space import Space
from archspec.spec import Spec

_CLASSES = 10
"""What is taken for the number of classes before the data are known."""


def check_numbers(
    *, trials: int | None, finalists: int, seed: int, time_limit: float | None,
    resolution: int | None, limit: int | None, epochs: int | None, batch_size: int | None,
) -> None:  # fmt: skip
    """Refuse numbers that mean nothing.

    Raises:
        ArchspecError: the first of them, by its name.
    """
    least = (
        ("number of trials", trials, 1), ("number of finalists", finalists, 0), ("seed", seed, 0),
        ("time limit", time_limit, 0), ("resolution", resolution, 1),
        ("limit on training images", limit, 1), ("number of epochs", epochs, 1),
        ("batch size", batch_size, 1),
    )  # fmt: skip
    for name, value, low in least:
        if value is not None and not value >= low:
            raise ArchspecError(f"the {name} must be {low} or more, found {brief(value)}")
    if time_limit is not None and math.isinf(time_limit):
        raise ArchspecError("the time limit must be finite", hint="leave it out for none")


def check_workers(workers: int, objective: str | Function, *, elsewhere: bool = False) -> None:
    """Refuse workers that could not do what they are for.

    Args:
        elsewhere: not even one of them is this process.

    Raises:
        ArchspecError: with what to do instead.
    """
    if workers < 1:
        raise ArchspecError(f"the number of workers must be 1 or more, found {brief(workers)}")
    if workers == 1 and not elsewhere:
        return
    if isinstance(objective, str):
        if "latency" in [name.strip() for name in objective.split(",")]:
            raise ArchspecError(
                "latency cannot be measured beside other workers of the same machine, which slow "
                "each other down",
                hint=f"leave out {'--ray' if elsewhere else '--workers'}; other machines may share "
                "the study with --storage",
            )
        return
    try:
        pickle.dumps(objective)
    except Exception as error:  # noqa: BLE001 - whatever its own __reduce__ raises
        raise ArchspecError(
            f"the objective cannot be sent to other processes: {error}",
            hint="define it at the top of a module, or search "
            + ("without ray" if elsewhere else "with workers=1"),
        ) from None


def budget_of(given: Budget | Spec | str | Path | Sequence[str]) -> Budget:
    """The budget that was asked for.

    Raises:
        BudgetError: it cannot be read.
        ArchspecError: there is none.
    """
    if isinstance(given, Budget | Spec | str | Path):
        found = read_budget(given)
    else:
        found = read_budget(*given)
    if not found.windows:
        raise ArchspecError(
            "a search needs a budget", hint="such as --budget 5GFLOPs, or --budget smlpnet_t"
        )
    return found


def goals_of(objective: str | Function) -> tuple[tuple[Objective, ...], Function | None]:
    """What networks are judged by, and the caller's own function if that is it.

    Raises:
        ArchspecError: there is no such objective.
    """
    if isinstance(objective, str):
        return objectives(objective), None
    if not callable(objective):
        raise ArchspecError(
            f"an objective is a name or a function of a Spec, found {brief(objective)}"
        )
    name = getattr(objective, "__name__", "function").strip("<>")
    return (Objective(name, "maximize", "function", "a function of the caller"),), objective


def sampler_of(name: str | None, goals: Sequence[Objective]) -> str:
    """The sampler's name.

    Raises:
        ArchspecError: there is none of that name.
    """
    from archspec.search.samplers import samplers

    if name is None:
        return "nsga2" if len(goals) > 1 else "tpe"
    if name not in samplers():
        raise ArchspecError(f"there is no sampler {name!r}", hint=did_you_mean(name, samplers()))
    return name


def images_for(
    space: Space,
    found: FeasibleSet,
    source: str | Path | Data | None,
    resolution: int | None,
    limit: int | None,
    hear: Listener,
) -> tuple[tuple[int, int], Data]:
    """The height and width to train at, and the images at that size.

    Raises:
        SpaceError: the space has no networks of that size.
        DataError: the data cannot be read, or cannot be trained on.
    """
    if isinstance(source, Data):
        height, width = source.train.images_NCHW.shape[2:]
        _fits(space, found, (height, width), len(source.classes), "the data")
        return (height, width), source
    from archspec.search.data import load

    size = _size(space, found, resolution)

    def progress(done: int, total: int) -> None:
        hear.busy(f"reading the data: {done:,} of {total:,} images")

    loaded = load(
        source, size=size, channels=space.spec.input["channels"], limit=limit, seed=0,
        progress=progress,
    )  # fmt: skip
    if loaded.skipped:
        image, why = next(iter(loaded.skipped.items()))
        hear.note(f"left out, unreadable: {len(loaded.skipped):,} images, such as {image}: {why}")
    _fits(space, found, size, len(loaded.classes), "the data")
    return size, loaded


def _size(space: Space, found: FeasibleSet, asked: int | None) -> tuple[int, int]:
    own = (space.spec.input["height"], space.spec.input["width"])
    if asked is not None:
        _fits(space, found, (asked, asked), _CLASSES, "--resolution")
        return (asked, asked)
    for side in defaults.RESOLUTIONS:
        if side < min(own):
            with contextlib.suppress(SpaceError):
                _fits(space, found, (side, side), _CLASSES, "--resolution")
                return (side, side)
    return own


def _fits(
    space: Space, found: FeasibleSet, size: tuple[int, int], classes: int, origin: str
) -> None:
    """Refuse a size that networks of the space cannot have."""
    from archspec.expansion import expand
    from archspec.search.train.fitting import sized

    for row in found.sample(8, np.random.default_rng(0)):
        try:
            expand(sized(space.spec_of(row), size, classes, origin=origin))
        except SpecError as error:
            own = space.spec.input
            raise SpaceError(
                f"{space.name} has no networks for images of {size[0]}×{size[1]}: {error.message}",
                mark=Mark(origin),
                hint=f"its own size is {own['height']}×{own['width']}",
            ) from None

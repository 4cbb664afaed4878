"""What a search does when it is not told: small enough for a laptop, and said before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from archspec.search.objectives import Objective

if TYPE_CHECKING:
    from archspec.search.data.images import Data
    from archspec.search.train.recipe import Recipe

SPACE = "smlpnet_space"
FOLDER = "runs"
FINALISTS = 5
REDUCTION = 2
"""Of the trials that reach a rung, one in so many goes on."""
RESOLUTIONS = (32, 48, 64, 96, 112, 128, 160, 192)
"""The smallest one that the space allows is trained at."""
EMBEDDED = "digits"

_TRIALS, _TRIALS_EMBEDDED, _TRIALS_UNTRAINED = 50, 12, 200
_EPOCHS, _EPOCHS_EMBEDDED = 8, 2


def trials(data: Data | None, goals: Sequence[Objective]) -> int:
    """How many networks are tried."""
    if not any(goal.needs == "training" for goal in goals):
        return _TRIALS_UNTRAINED
    return _TRIALS_EMBEDDED if data is not None and data.name == EMBEDDED else _TRIALS


def rungs(epochs: int) -> tuple[int, ...]:
    """The epochs after which weak candidates are dropped: 1, 2, 4, … before the last."""
    found, rung = [], 1
    while rung < epochs:
        found.append(rung)
        rung *= REDUCTION
    return tuple(found)


def recipe(
    data: Data | None, *, epochs: int | None, batch_size: int | None, precision: str | None
) -> Recipe:
    """How one candidate is trained."""
    from archspec.search.train.recipe import make_recipe, suited_batch_size

    embedded = data is not None and data.name == EMBEDDED
    if batch_size is None and data is not None:
        batch_size = suited_batch_size(len(data.train))
    return make_recipe(
        {
            "epochs": epochs or (_EPOCHS_EMBEDDED if embedded else _EPOCHS),
            "batch_size": batch_size,
            "mixup": 0.0 if embedded else 0.2,
            "precision": precision,
        }
    )

"""What a network is judged by. `--objective` names one, or several with commas between.

One that is trained for (accuracy) is reported epoch by epoch and may be cut short; all others are
measured in one go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from archspec.errors import ArchspecError, did_you_mean
from archspec.spec import Spec

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Objective:
    """One thing to be good at."""

    name: str
    direction: Direction
    needs: Literal["training", "scores", "latency", "cost", "function"]
    """Where its value comes from."""
    about: str


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective("accuracy", "maximize", "training", "on held-out images, after short training"),
        Objective("flops", "minimize", "cost", "multiply-adds of one image"),
        Objective("params", "minimize", "cost", "learnable parameters"),
        Objective("latency", "minimize", "latency", "seconds for one image on this device"),
        Objective("naswot", "maximize", "scores", "of the untrained network (arXiv 2006.04647)"),
        Objective("synflow", "maximize", "scores", "of the untrained network (arXiv 2006.05467)"),
        Objective("grad_norm", "maximize", "scores", "of the untrained network (arXiv 2101.08134)"),
    )
}

Function = Callable[[Spec], float]


def objectives(text: str) -> tuple[Objective, ...]:
    """`accuracy,latency` as objectives.

    Raises:
        ArchspecError: one is not known, or named twice.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in OBJECTIVES:
            raise ArchspecError(
                f"there is no objective {name!r}", hint=did_you_mean(name, OBJECTIVES)
            )
    if len(set(names)) != len(names):
        raise ArchspecError(f"an objective is named twice in {text!r}")
    if all(OBJECTIVES[name].needs == "cost" for name in names):
        raise ArchspecError(
            f"nothing needs to be searched for {text!r}: the cheapest network is known",
            hint="name something to be good at too: --objective accuracy," + names[0],
        )
    return tuple(OBJECTIVES[name] for name in names)

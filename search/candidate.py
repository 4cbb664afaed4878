"""One trial: a network of the space is named, costed, scored, trained or timed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import Trial

from archspec.errors import ArchspecError
from archspec.search.errors import BudgetError
from archspec.search.feasibility import FeasibleSet
from archspec.search.listener import Listener
from archspec.search.objectives import Function, Objective
from archspec.search.samplers.base import distributions
from archspec.search.samplers.history import OUTCOME
from archspec.search.settings import Settings
from archspec.spec import Spec

if TYPE_CHECKING:
    from archspec.search.data.images import Data
    from archspec.search.train.history import Epoch, Result
    from archspec.search.train.recipe import Recipe

SCORED = 32
"""Images of the batch that training-free scores look at."""


@dataclass(frozen=True)
class Workshop:
    """What all trials of a study share."""

    feasible: FeasibleSet
    objectives: tuple[Objective, ...]
    settings: Settings
    recipe: Recipe
    data: Data | None
    folder: Path
    device: str
    """As it was asked for: `auto`, `cuda:1`."""
    device_name: str
    listener: Listener
    function: Function | None = None
    should_stop: Callable[[], bool] = field(default=lambda: False)

    def trained_spec(self, spec: Spec) -> Spec:
        """A network at the size and with the classes that it is trained with."""
        assert self.data is not None
        height, width = self.settings.resolution
        return spec.with_values(
            {"input.height": height, "input.width": width, "classes": len(self.data.classes)},
            origin="--resolution",
        )

    def train(
        self, spec: Spec, seed: int, on_epoch: Callable[[Epoch], None] | None = None
    ) -> Result:
        """Train a network of the space from scratch, going on where it was left off."""
        from archspec.api import build
        from archspec.search.train.device import seeded
        from archspec.search.train.trainer import train

        assert self.data is not None
        network = self.trained_spec(spec)
        checkpoint = self.folder / "trials" / f"{spec.digest[:16]}-{seed}.pt"
        _folder(checkpoint.parent)
        with seeded(seed, 1):
            model = build(network)
        result = train(
            model, self.data, self.recipe, seed=seed, device=self.device,
            checkpoint=checkpoint, identity={"spec": network.digest}, on_epoch=on_epoch,
            on_step=self.listener.step, on_note=self.listener.note, should_stop=self.should_stop,
        )  # fmt: skip
        return result

    def forget(self, spec: Spec, seed: int) -> None:
        """Take away the checkpoint of a training whose result is kept."""
        (self.folder / "trials" / f"{spec.digest[:16]}-{seed}.pt").unlink(missing_ok=True)


def _folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArchspecError(f"cannot write {path}: {error.strerror or error}") from None


def suggest(trial: Trial, feasible: FeasibleSet) -> tuple[int, ...]:
    """The network that a trial is about, as a row of the space."""
    choices: dict[str, Any] = {}
    for name, kind in distributions(feasible.space).items():
        if isinstance(kind, IntDistribution):
            choices[name] = trial.suggest_int(
                name, kind.low, kind.high, step=kind.step, log=kind.log
            )
        elif isinstance(kind, FloatDistribution):
            choices[name] = trial.suggest_float(name, kind.low, kind.high, log=kind.log)
        else:
            assert isinstance(kind, optuna.distributions.CategoricalDistribution)
            choices[name] = trial.suggest_categorical(name, kind.choices)
    return feasible.space.row(choices)


class Candidate:
    """The objective that Optuna calls: one network, from its choices to its values."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop

    def __call__(self, trial: Trial) -> float | tuple[float, ...]:
        shop = self.workshop
        row = suggest(trial, shop.feasible)
        figures = shop.feasible.figures(np.array([row]))
        spec = shop.feasible.space.spec_of(row)
        cost = {"flops": int(figures.flops[0]), "params": int(figures.params[0])}
        for name, value in cost.items():
            trial.set_user_attr(name, value)
        shop.listener.began(trial.number, shop.feasible.space.choices(row), cost)
        if not bool(figures.within(shop.feasible.budget)[0]):  # enqueued by somebody's hand
            return self._failed(trial, BudgetError("outside the budget"), "outside the budget")
        try:
            values = self._values(trial, spec, cost)
        except _failures() as error:
            self._done(trial, spec)
            return self._failed(trial, error, _outcome(error))
        except optuna.TrialPruned:
            self._done(trial, spec)
            raise
        self._done(trial, spec)
        return values if len(values) > 1 else values[0]

    def _failed(self, trial: Trial, error: ArchspecError, outcome: str) -> float:
        trial.set_user_attr(OUTCOME, outcome)
        trial.set_user_attr("message", str(error))
        raise error

    def _done(self, trial: Trial, spec: Spec) -> None:
        self.workshop.forget(spec, self.workshop.settings.seed)

    def _values(self, trial: Trial, spec: Spec, cost: Mapping[str, int]) -> tuple[float, ...]:
        shop = self.workshop
        if shop.function is not None:
            value = float(shop.function(spec))
            if not math.isfinite(value):
                raise _NotFiniteError(f"the objective gave {value}")
            return (value,)
        found: dict[str, float] = {name: float(value) for name, value in cost.items()}
        if shop.data is not None:
            for name, score in self._scores(spec).items():
                trial.set_user_attr(f"score:{name}", score)
                found[name] = score
        needs = {objective.needs for objective in shop.objectives}
        if "latency" in needs:
            found["latency"] = self._latency(spec)
        if "training" in needs:
            found["accuracy"] = self._accuracy(trial, spec)
        values = tuple(found[objective.name] for objective in shop.objectives)
        if not all(map(math.isfinite, values)):
            raise _NotFiniteError("a score is not finite")
        return values

    def _scores(self, spec: Spec) -> dict[str, float]:
        from archspec.api import build
        from archspec.search.train.batches import Batches, Normalise, shuffled
        from archspec.search.train.device import open_fabric, seeded
        from archspec.search.train.scores import scores

        shop = self.workshop
        assert shop.data is not None
        with seeded(shop.settings.seed, 1):
            model = build(shop.trained_spec(spec))
        place = open_fabric(shop.device, "fp32").device
        images_NCHW, labels_N = Batches(shop.data.train, place).take(
            shuffled(len(shop.data.train), SCORED, shop.settings.seed, 0)[0]
        )
        return scores(model.to(place), Normalise(shop.data, place)(images_NCHW), labels_N)

    def _latency(self, spec: Spec) -> float:
        from archspec.api import build
        from archspec.search.train.latency import latency

        shape = spec.input
        size = (shape["channels"], shape["height"], shape["width"])
        return latency(build(spec), size, device=self.workshop.device)

    def _accuracy(self, trial: Trial, spec: Spec) -> float:
        shop = self.workshop
        last = shop.recipe.epochs
        several = len(shop.objectives) > 1

        def on_epoch(epoch: Epoch) -> None:
            shop.listener.epoch(trial.number, epoch.number, epoch.accuracy)
            if several:
                return  # Optuna prunes by one value only
            trial.report(epoch.accuracy, epoch.number)
            if epoch.number < last and trial.should_prune():
                raise optuna.TrialPruned

        result = shop.train(spec, shop.settings.seed, on_epoch)
        trial.set_user_attr("loss", result.history[-1].loss)
        return result.accuracy


class _NotFiniteError(ArchspecError):
    """The objective has no value for this network."""


def _failures() -> tuple[type[ArchspecError], ...]:
    from archspec.errors import ShapeError, SpecError
    from archspec.search.train.outcomes import TrainingFailed

    return (TrainingFailed, ShapeError, SpecError, _NotFiniteError)


def _outcome(error: ArchspecError) -> str:
    from archspec.search.train.outcomes import Diverged, OutOfMemory

    if isinstance(error, Diverged | _NotFiniteError):
        return "diverged" if isinstance(error, Diverged) else "not finite"
    return "out of memory" if isinstance(error, OutOfMemory) else "cannot be built"


def caught() -> tuple[type[Exception], ...]:
    """What ends a trial and not the study."""
    return (*_failures(), BudgetError)

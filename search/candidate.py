"""One trial: a network of the space is named, costed, scored, trained or timed."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import Trial

from archspec.errors import ArchspecError, brief
from archspec.files import make_folder
from archspec.search.errors import BudgetError, SpaceError
from archspec.search.feasibility import FeasibleSet
from archspec.search.listener import Listener
from archspec.search.objectives import Function, Objective
from archspec.search.retries import DEVICE, EPOCHS, STOPPED, WORKER
from archspec.search.samplers.base import distributions
from archspec.search.samplers.history import OUTCOME
from archspec.search.settings import Settings
from archspec.spec import Spec

if TYPE_CHECKING:
    from torch import nn

    from archspec.search.data.images import Data
    from archspec.search.train.history import Epoch, Result
    from archspec.search.train.recipe import Recipe

MESSAGE = "message"
"""The attribute of a failed trial with what went wrong, in full."""
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
    worker: str = ""
    """What this process calls itself (`archspec.search.workers`)."""

    def trained_spec(self, spec: Spec) -> Spec:
        """A network at the size and with the classes that it is trained with."""
        from archspec.search.train.fitting import sized

        assert self.data is not None
        return sized(spec, self.settings.resolution, len(self.data.classes))

    def train(
        self,
        spec: Spec,
        seed: int,
        on_epoch: Callable[[Epoch], None] | None = None,
        on_end: Callable[[nn.Module, Result], None] | None = None,
    ) -> Result:
        """Train a network of the space from scratch, going on where it was left off.

        Args:
            on_end: called with the trained network.
        """
        from archspec.api import build
        from archspec.search.train.device import seeded
        from archspec.search.train.trainer import train

        assert self.data is not None
        network = self.trained_spec(spec)
        checkpoint = self._checkpoint(spec, seed)
        make_folder(checkpoint.parent)
        with seeded(seed, 1):
            model = build(network)
        result = train(
            model, self.data, self.recipe, seed=seed, device=self.device,
            checkpoint=checkpoint, identity={"spec": network.digest}, on_epoch=on_epoch,
            on_step=self.listener.step, on_note=self.listener.note, should_stop=self.should_stop,
        )  # fmt: skip
        if on_end is not None:
            on_end(model, result)
        return result

    def forget(self, spec: Spec, seed: int) -> None:
        """Take away the checkpoint of a training whose result is kept."""
        with contextlib.suppress(OSError):  # it is in nobody's way
            self._checkpoint(spec, seed).unlink(missing_ok=True)

    def forget_trial(self, choices: Mapping[str, Any]) -> None:
        """Take away the checkpoint of a trial whose result is kept."""
        with contextlib.suppress(SpaceError):  # it was not about a network of the space
            row = self.feasible.space.row(choices)
            self.forget(self.feasible.space.spec_of(row), self.settings.seed)

    def forget_all(self) -> None:
        """Take away all checkpoints, once every result is kept."""
        folder = self.folder / "trials"
        with contextlib.suppress(OSError):
            for path in folder.glob("*.pt"):
                path.unlink()
            folder.rmdir()

    def _checkpoint(self, spec: Spec, seed: int) -> Path:
        return self.folder / "trials" / f"{spec.digest[:16]}-{seed}.pt"


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
    """The objective that Optuna calls: one network, from its choices to its values.

    Args:
        asked: called when there is a trial, before it is said where it runs and what it is about.
        chosen: called once the study knows which network a trial is about.
    """

    def __init__(
        self,
        workshop: Workshop,
        asked: Callable[[], None] = lambda: None,
        chosen: Callable[[Trial], None] = lambda trial: None,
    ) -> None:
        self.workshop = workshop
        self._asked, self._chosen = asked, chosen
        self.number: int | None = None
        """Of the trial that it was called for last."""

    def __call__(self, trial: Trial) -> float | tuple[float, ...]:
        self.number = trial.number
        try:
            self._asked()
            trial.set_user_attr(WORKER, self.workshop.worker)
            trial.set_user_attr(DEVICE, self.workshop.device_name)
            return self._try(trial)
        except BaseException as error:
            if not isinstance(error, (*caught(), optuna.TrialPruned)):
                # Ctrl-C, a full disk: no fault of the network, and no sudden death
                with contextlib.suppress(Exception):  # the first fault is the one to be told
                    trial.set_user_attr(STOPPED, trial.number)
            raise

    def _try(self, trial: Trial) -> float | tuple[float, ...]:
        shop = self.workshop
        row = suggest(trial, shop.feasible)
        self._chosen(trial)
        figures = shop.feasible.figures(np.array([row]))
        spec = shop.feasible.space.spec_of(row)
        cost = {"flops": int(figures.flops[0]), "params": int(figures.params[0])}
        for name, value in cost.items():
            trial.set_user_attr(name, value)
        shop.listener.began(trial.number, shop.feasible.space.choices(row), cost)
        try:
            if not bool(figures.within(shop.feasible.budget)[0]):  # enqueued by somebody's hand
                raise OutsideError("outside the budget")
            values = self._values(trial, spec, cost)
        except caught() as error:
            trial.set_user_attr(MESSAGE, str(error))
            trial.set_user_attr(OUTCOME, _outcome(error))
            raise
        return values if len(values) > 1 else values[0]

    def _values(self, trial: Trial, spec: Spec, cost: Mapping[str, int]) -> tuple[float, ...]:
        shop = self.workshop
        if shop.function is not None:
            return (_answer(shop.function, spec, trial.params),)
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
            raise NotFiniteError("a score is not finite")
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

        return latency(build(spec), spec.image, device=self.workshop.device)

    def _accuracy(self, trial: Trial, spec: Spec) -> float:
        shop = self.workshop
        last = shop.recipe.epochs
        several = len(shop.objectives) > 1

        def on_epoch(epoch: Epoch) -> None:
            trial.set_user_attr(EPOCHS, epoch.number)
            shop.listener.epoch(trial.number, epoch.number, epoch.accuracy)
            if several:
                return  # Optuna prunes by one value only
            trial.report(epoch.accuracy, epoch.number)
            if epoch.number < last and trial.should_prune():
                raise optuna.TrialPruned

        result = shop.train(spec, shop.settings.seed, on_epoch)
        trial.set_user_attr("loss", result.history[-1].loss)
        return result.accuracy


def _answer(function: Function, spec: Spec, choices: Mapping[str, Any]) -> float:
    """What a caller's function says of a network.

    Raises:
        ArchspecError: it raised something, or gave no number: the search cannot go on.
    """
    name = getattr(function, "__name__", "function")
    try:
        given = function(spec)
    except ArchspecError:
        raise  # such as a network that cannot be built
    except Exception as error:
        text = ", ".join(f"{hole}={value}" for hole, value in choices.items())
        raise ArchspecError(
            f"the objective {name} raised {type(error).__name__}: {error} (for {text})",
            hint="the same call goes on with this network, once that is mended",
        ) from error
    try:
        value = float("no number" if isinstance(cast("object", given), str | bytes) else given)
    except (TypeError, ValueError):
        raise ArchspecError(
            f"the objective {name} must give a number, found {brief(given)}",
            hint="the same call goes on with this network, once that is mended",
        ) from None
    if not math.isfinite(value):
        raise NotFiniteError(f"the objective {name} gave {value}")
    return value


class OutsideError(BudgetError):
    """The network of a trial is not inside the budget."""


class NotFiniteError(ArchspecError):
    """The objective has no value for this network."""


def _outcome(error: Exception) -> str:
    from archspec.search.train.outcomes import Diverged, OutOfMemory

    named: tuple[tuple[type[Exception], str], ...] = (
        (Diverged, "diverged"), (OutOfMemory, "out of memory"), (NotFiniteError, "not finite"),
        (OutsideError, "outside the budget"),
    )  # fmt: skip
    return next((name for kind, name in named if isinstance(error, kind)), "cannot be built")


def caught() -> tuple[type[ArchspecError], ...]:
    """What ends a trial and not the study."""
    from archspec.errors import SpecError
    from archspec.search.train.outcomes import TrainingFailed

    return (TrainingFailed, SpecError, NotFiniteError, OutsideError)

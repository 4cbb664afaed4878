"""What is known of a search, as plain data: what reports draw and `--json` prints.

A `Record` is made from the storage of a study and its run folder (`archspec.search.study`), and is
all that the report needs: it knows nothing of Optuna.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["complete", "pruned", "failed", "running", "waiting"]


@dataclass(frozen=True)
class TrialRecord:
    """One network that was tried."""

    number: int
    state: State
    values: tuple[float, ...]
    """One per objective, in the order of `Record.objectives`; empty unless complete."""
    choices: Mapping[str, Any]
    """What was put into each hole of the space, by the hole's name."""
    flops: int | None
    params: int | None
    scores: Mapping[str, float] = field(default_factory=dict)
    """Training-free scores (naswot, synflow, grad_norm), where they were computed."""
    rungs: Mapping[int, float] = field(default_factory=dict)
    """Epoch → accuracy on held-out images (0 to 1), at every rung that was reached."""
    seconds: float | None = None
    outcome: str | None = None
    """Why it failed (`diverged`, `out of memory`, `interrupted`, …); None if it did not."""
    started: str | None = None
    """ISO 8601."""
    retry_of: int | None = None
    """The trial that was cut and that this one runs again."""


@dataclass(frozen=True)
class Finalist:
    """One of the best networks, trained again with fresh seeds before a winner is named."""

    number: int
    """Of its trial."""
    accuracy: Mapping[int, float]
    """Seed → accuracy on held-out images (0 to 1) after the whole training."""

    @property
    def mean(self) -> float:
        return sum(self.accuracy.values()) / len(self.accuracy)


@dataclass(frozen=True)
class Network:
    """A network that is shown beside the search's own, such as the paper's."""

    name: str
    flops: int
    params: int
    top1: float | None
    """Published ImageNet top-1 in percent."""


@dataclass(frozen=True)
class Record:
    """One study."""

    name: str
    space: str
    """The space's name."""
    budget: str
    """As the user would write it: `4.75G..5GFLOPs`."""
    windows: Mapping[str, tuple[int, int]]
    """Figure (`flops`, `params`) → lowest and highest that are allowed."""
    space_size: int | None
    """Networks in the whole space; None where a value is continuous."""
    feasible: int
    """Networks inside the budget."""
    is_exact: bool
    """Whether `feasible` was counted; otherwise it is an estimate."""
    objectives: tuple[str, ...]
    """`accuracy`, or several: `("accuracy", "latency")`."""
    directions: tuple[Literal["maximize", "minimize"], ...]
    sampler: str
    seed: int
    data: str
    """In a phrase: `digits (scikit-learn): 1,437 images to train, 360 held out, 10 classes`."""
    device: str
    plan: Mapping[str, Any]
    """How candidates are trained: epochs, resolution, batch size, precision, rungs, …"""
    trials: tuple[TrialRecord, ...]
    finalists: tuple[Finalist, ...] = ()
    winner: int | None = None
    """The number of the winning trial, once there is one."""
    rule: str = ""
    """In a sentence: how the winner was chosen."""
    front: tuple[int, ...] = ()
    """With several objectives: the trials that no other trial beats in all of them."""
    networks: tuple[Network, ...] = ()
    """Shipped networks of the space's own source, to be marked at their place."""
    reference: str | None = None
    """The name of the spec that the winner is compared with."""
    versions: Mapping[str, str] = field(default_factory=dict)

    def trial(self, number: int) -> TrialRecord:
        return next(trial for trial in self.trials if trial.number == number)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

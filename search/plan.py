"""What a search is going to do, before it does it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from archspec.search.settings import Settings


@dataclass(frozen=True)
class Plan:
    """What `archspec search` says first."""

    study: str
    folder: str
    storage: str
    about: str
    """The space's own sentence."""
    space_size: int
    feasible: int
    interval: tuple[int, int]
    is_exact: bool
    budget: str
    settings: Settings
    data: str
    trials: int
    finished: int
    """Trials that are done already, when a study goes on."""
    epochs: int
    rungs: tuple[int, ...]
    finalists: int
    seconds: float | None
    """An estimate of the time that is left; None where nothing is trained."""
    time_limit: float | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"settings": self.settings.model_dump(mode="json")}

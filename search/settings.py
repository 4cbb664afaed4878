"""What makes a study the one that it is: with the same settings, it goes on where it was."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from pydantic import BaseModel, ConfigDict

from archspec.search.budgets import UNITS, Budget, Window, short
from archspec.search.errors import StudyError
from archspec.search.space import Space


class Settings(BaseModel):
    """Everything that a trial's result hangs on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: str
    space_digest: str
    windows: dict[str, tuple[int, int]]
    objectives: tuple[str, ...]
    sampler: str
    seed: int
    data: str
    data_digest: str
    resolution: tuple[int, int]
    device: str
    recipe: dict[str, Any]
    """The whole recipe of one candidate's training."""
    version: str
    """Of archspec."""

    @property
    def digest(self) -> str:
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


_WORDS = {
    "space": "the space", "space_digest": "the space's content", "windows": "the budget",
    "objectives": "the objective", "sampler": "the sampler", "seed": "the seed",
    "data": "the data", "data_digest": "the data's images", "resolution": "the resolution",
    "device": "the device", "recipe": "how candidates are trained",
    "version": "archspec's version",
}  # fmt: skip


def check_same(name: str, ours: Settings, theirs: dict[str, Any]) -> None:
    """Refuse to go on with another study's trials.

    Raises:
        StudyError: with what differs.
    """
    mine = ours.model_dump(mode="json")
    differing = [
        f"  {word}: {_brief(theirs.get(key), key)} there, {_brief(mine[key], key)} now"
        for key, word in _WORDS.items()
        if key != "recipe" and theirs.get(key) != mine[key]
    ]
    before, now = theirs.get("recipe") or {}, mine["recipe"]
    differing += [
        f"  {key}: {_brief(before.get(key))} there, {_brief(now.get(key))} now"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    ]
    if differing:
        raise StudyError(
            f"the study {name!r} is another one\n" + "\n".join(differing),
            hint="choose another name with --study, or the same settings to go on",
        )


def _brief(value: Any, key: str = "") -> str:
    if key == "windows" and isinstance(value, dict):
        return str(Budget({figure: Window(*ends) for figure, ends in value.items()}))
    if key == "resolution" and value:
        return "×".join(map(str, value))
    if key in ("space_digest", "data_digest"):
        return f"{str(value)[:12]}…"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def default_name(space: Space, budget: Budget, settings: Settings) -> str:
    """`smlpnet_space-5GFLOPs-3f9a12`: the same for the same settings, another one for others."""
    limits = [f"{short(w.high)}{UNITS[figure]}" for figure, w in budget.windows.items()]
    return "-".join([space.name, *limits, settings.digest[:6]])


def check_name(name: str) -> str:
    """A study's name, which is a folder's too.

    Raises:
        StudyError: it would lead out of the folder, or is no file name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", name):
        raise StudyError(
            f"a study's name has letters, digits and . _ + - (at most 100, the first no sign), "
            f"found {name[:120]!r}"
        )
    return name

"""What is known of trained weights: `winner.json` of a search, `result.json` of a training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from archspec.compile.errors import CompileError
from archspec.document import expected
from archspec.errors import Mark, brief
from archspec.files import sha256
from archspec.search.kept import FACTS, WEIGHTS, Facts, Names

RESULT = "result.json"
OF_TRAINING = ("model.safetensors", "checkpoint.pt")
"""Files of `archspec train` whose facts are in result.json."""

M = TypeVar("M", bound=BaseModel)


class TrainFacts(BaseModel):
    """What of a training's result.json is of use here; mean, std and images came later."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    classes: Names
    resolution: Annotated[int, Field(ge=1)]
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    images: str | None = None

    @model_validator(mode="after")
    def _has_as_many(self) -> TrainFacts:
        if len(self.mean or ()) != len(self.std or ()):
            raise ValueError("mean and std are not of as many channels")
        return self


@dataclass(frozen=True)
class Known:
    """What is known of a file of weights."""

    classes: tuple[str, ...]
    size: tuple[int, int]
    """Height and width that they were trained at."""
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    images: str | None


def beside(weights: Path) -> Known | None:
    """What stands beside a checkpoint that a search or a training wrote; None beside any other.

    Raises:
        CompileError: it is broken, or the winner's weights are not those that it was written for.
    """
    if weights.name == WEIGHTS and (file := weights.with_name(FACTS)).is_file():
        facts = parsed(Facts, file, f"copy {WEIGHTS} elsewhere to compile it without")
        check_weights(weights, facts, "copy it elsewhere to compile it all the same")
        return of_winner(facts)
    if weights.name in OF_TRAINING and (file := weights.with_name(RESULT)).is_file():
        return of_training(file, "copy the weights elsewhere to compile them without")
    return None


def of_winner(facts: Facts) -> Known:
    return Known(facts.classes, facts.resolution, facts.mean, facts.std, facts.images)


def of_training(file: Path, hint: str) -> Known:
    """What a training's result.json says.

    Raises:
        CompileError: it cannot be read.
    """
    facts = parsed(TrainFacts, file, hint)
    side = facts.resolution
    return Known(facts.classes, (side, side), facts.mean or None, facts.std or None, facts.images)


def check_weights(weights: Path, facts: Facts, hint: str) -> None:
    """Refuse weights of a winner that are not those that winner.json was written for.

    Raises:
        CompileError: they are not, or cannot be read.
    """
    mark = Mark(str(weights))
    try:
        digest = sha256(weights)
    except OSError as error:
        raise CompileError(
            f"cannot be read: {error.strerror or error}", mark=mark, hint=hint
        ) from None
    if digest != facts.weights_sha256:
        raise CompileError(
            f"was changed since {FACTS} was written for it (SHA-256 {digest[:12]}…, expected "
            f"{facts.weights_sha256[:12]}…)",
            mark=mark, hint=hint,
        )  # fmt: skip


def parsed(model: type[M], path: Path, hint: str) -> M:
    """A JSON file as a `model`.

    Raises:
        CompileError: it cannot be read, or the first entry that does not fit.
    """
    mark = Mark(str(path))
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CompileError(
            f"cannot be read: {error.strerror or error}", mark=mark, hint=hint
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    what = f"{where}: {expected(first)}, found {brief(first['input'])}"
    if first["type"] == "json_invalid":
        what = "is not JSON, or is cut short"
    elif first["type"] == "missing":
        what = f"lacks {where!r}"
    elif first["type"] == "extra_forbidden":
        what = f"has an entry {where!r}, which is not known"
    elif first["type"] == "model_type":
        what = f"expected an object, found {brief(first['input'])}"
    elif not where:
        what = expected(first)
    raise CompileError(what, mark=mark, hint=hint)

"""The keys of a spec's document, as pydantic models (the JSON Schema comes from here too)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from archspec.errors import SpecError, did_you_mean
from archspec.sizes import MAX_SIZE
from archspec.source import Key, Node

_SUFFIX = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


ROUNDS, NEAR, DIFFERS = "rounds to it", "within one in the last place", "differs"


@dataclass(frozen=True)
class Quantity:
    """A printed figure such as `24.1M`: its value, and how finely it was printed."""

    text: str
    value: float
    step: float

    @classmethod
    def parse(cls, value: Any) -> Quantity:
        match = re.fullmatch(r"\s*([0-9]+(?:\.([0-9]*))?)\s*([KMGT]?)\s*", str(value))
        if isinstance(value, bool) or not match:
            raise ValueError(f"expected a figure such as 24.1M or 5.0G, found {value!r}")
        digits, decimals, suffix = match[1], match[2] or "", match[3]
        scale = _SUFFIX[suffix]
        return cls(f"{digits}{suffix}", float(digits) * scale, scale / 10 ** len(decimals))

    def verdict(self, exact: float) -> str:
        """How an exact figure relates to the printed one.

        Papers cut, round, and count in several conventions, so that one unit in the last printed
        place is told apart from a real difference.
        """
        distance = abs(exact - self.value) / self.step
        if distance <= 0.5 + 1e-9:
            return ROUNDS
        return NEAR if distance <= 1 + 1e-9 else DIFFERS

    def agrees(self, exact: float) -> bool:
        """Whether the printed figure is at most one unit in its last place away."""
        return self.verdict(exact) != DIFFERS


def _quantity(value: Any) -> Any:
    return value if isinstance(value, Quantity) else Quantity.parse(value)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Published(_Strict):
    """The figures that a paper prints for the network."""

    params: Annotated[Quantity, BeforeValidator(_quantity)] | None = None
    flops: Annotated[Quantity, BeforeValidator(_quantity)] | None = None
    top1: float | None = Field(default=None, gt=0, le=100)
    """ImageNet-1k top-1 accuracy in percent."""


_Pixels = Annotated[int, Field(ge=1, le=MAX_SIZE, strict=True)]


class ImageShape(_Strict):
    """The input image."""

    channels: _Pixels = 3
    height: _Pixels = 224
    width: _Pixels = 224


class KeyMapping(_Strict):
    """How a foreign checkpoint's entries are called here."""

    source: str | None = None
    license: str | None = None
    inside: tuple[str, ...] = ()
    """Keys of the dictionary around the state dict, the first that is there is opened."""
    prefix: str = ""
    """What every foreign key starts with, such as `module.`; taken off when it is there."""
    ignore: tuple[str, ...] = ()
    """Foreign entries (templates) that this network has no use for."""
    names: dict[str, str]
    """Templates, foreign name → name here. `{i}` stands for a number; first match wins."""


class Stage(_Strict):
    """The keys of a stage, for validation and the JSON Schema."""

    vars: dict[str, Any] = Field(default_factory=dict)
    """Variables with another value in this stage."""
    enter: Any = None
    """Steps that run once, before the layers."""
    repeat: Any = 1
    """How many layers."""
    body: Any = None
    """The steps of one layer."""


class Header(_Strict):
    """The top-level keys of a spec."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", max_length=100)
    about: str | None = None
    source: str | None = None
    published: Published = Published()
    extends: str | None = None
    imports: tuple[str, ...] = Field(default=(), alias="import")
    input: ImageShape = ImageShape()
    classes: Annotated[int, Field(ge=1, le=MAX_SIZE, strict=True)] = 1000
    vars: dict[str, Any] = Field(default_factory=dict)
    blocks: dict[str, Any] = Field(default_factory=dict)
    stem: Any = None
    stages: dict[str, Any] = Field(default_factory=dict)
    head: Any = None
    weights: dict[str, KeyMapping] = Field(default_factory=dict)


M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], node: Node) -> M:
    """`node` as a `model`.

    Raises:
        SpecError: at the place of the first entry that does not fit.
    """
    try:
        return model.model_validate(node.plain())
    except ValidationError as error:
        first = error.errors()[0]
        raise _message(model, node, first["loc"], first["type"], first["msg"]) from None


def _message(
    model: type[BaseModel], node: Node, loc: tuple[int | str, ...], kind: str, text: str
) -> SpecError:
    inner, entry, mark = model, node, node.mark
    for step in loc:
        key = _key(entry, step)
        child = entry.find((step,))
        if child is None:
            break
        entry, mark = child, child.mark
        if kind == "extra_forbidden" and step == loc[-1] and key is not None:
            known = [field.alias or name for name, field in inner.model_fields.items()]
            return SpecError(
                f"unknown key {str(step)!r}", mark=key.mark, hint=did_you_mean(str(step), known)
            )
        field = inner.model_fields.get(str(step))
        annotation = field.annotation if field is not None else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            inner = annotation
    if kind == "missing":
        return SpecError(f"{str(loc[-1])!r} is missing", mark=mark)
    text = text.removeprefix("Value error, ")
    text = text[0].lower() + text[1:]
    found = "" if "found" in text else f", found {entry.kind}"
    where = f"{'.'.join(str(step) for step in loc)}: " if loc else ""
    return SpecError(f"{where}{text}{found}", mark=mark)


def _key(node: Node, step: int | str) -> Key | None:
    if not isinstance(node.value, dict):
        return None
    return next((key for key in node.value if key == step), None)


HOLE_FIELDS = {
    "choice": frozenset({"choice"}),
    "int": frozenset({"int", "step", "log"}),
    "float": frozenset({"float", "step", "log"}),
}


def check_hole(node: Node) -> None:
    """Refuse a hole that describes no values.

    Raises:
        SpecError: unknown keys, an empty choice, bounds the wrong way round, a step of zero.
    """
    kind = next(key for key in HOLE_FIELDS if key in node.value)
    for key, _ in node.items("a hole"):
        if key not in HOLE_FIELDS[kind]:
            raise SpecError(
                f"a hole of kind {kind!r} has no key {str(key)!r}", mark=key.mark,
                hint=did_you_mean(key, HOLE_FIELDS[kind]),
            )  # fmt: skip
    values = node.value[kind]
    if kind == "choice":
        if not isinstance(values.value, tuple) or not values.value:
            raise SpecError(
                f"'choice' takes a list of at least one value, found {values.kind}",
                mark=values.mark,
            )
        return
    wanted = int if kind == "int" else (int, float)
    bounds = values.plain()
    if (
        not isinstance(bounds, list)
        or len(bounds) != 2
        or not all(_is(bound, wanted) for bound in bounds)
        or not bounds[0] <= bounds[1]
    ):
        raise SpecError(f"{kind!r} takes [lowest, highest], found {bounds!r}", mark=values.mark)
    step = node.value.get("step")
    if step is not None and not (_is(step.value, wanted) and step.value > 0):
        raise SpecError(f"'step' must be a positive number, found {step.kind}", mark=step.mark)
    log = node.value.get("log")
    if log is not None and not isinstance(log.value, bool):
        raise SpecError(f"'log' must be true or false, found {log.kind}", mark=log.mark)


def _is(value: Any, kinds: Any) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)

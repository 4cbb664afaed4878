"""The keys of a spec's document, as pydantic models (the JSON Schema comes from here too)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails

from archspec.errors import SHOWN, SpecError, brief, did_you_mean
from archspec.sizes import MAX_SIZE, describe
from archspec.source import Key, Node, is_hole

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
        text = str(value).strip()
        match = re.fullmatch(r"([0-9]+(?:\.([0-9]*))?)\s*([KMGT]?)", text)
        if isinstance(value, bool) or not match or len(text) > 30:
            raise ValueError(f"expected a figure such as 24.1M or 5.0G, found {describe(value)}")
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


_Figure = Annotated[
    Quantity,
    BeforeValidator(_quantity),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]*)?\s*[KMGT]?\s*$"},
            ]
        }
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Published(_Strict):
    """The figures that a paper prints for the network."""

    params: _Figure | None = None
    """Learnable parameters, as printed: `24.1M`."""
    flops: _Figure | None = None
    """Multiply-adds of one image, as printed: `5.0G`."""
    top1: float | None = Field(default=None, gt=0, le=100)
    """ImageNet-1k top-1 accuracy in percent."""


_Pixels = Annotated[int, Field(ge=1, le=MAX_SIZE, strict=True)]


class ImageShape(_Strict):
    """The input image."""

    channels: _Pixels = 3
    """Colours."""
    height: _Pixels = 224
    """Pixels from top to bottom."""
    width: _Pixels = 224
    """Pixels from left to right."""


def _address(url: str) -> str:
    """An address to download from: anybody may see it, so that it holds no password."""
    if not re.fullmatch(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/\S*)?", url) or len(url) > 500:
        raise ValueError(
            f"expected an address such as https://example.org/file, without a user or password, "
            f"found {describe(url)}"
        )
    return url


def _digits(sha256: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{8,64}", sha256):
        raise ValueError(
            f"expected the first 8 or more of SHA-256's 64 hexadecimal digits, found "
            f"{describe(sha256)}"
        )
    return sha256


class KeyMapping(_Strict):
    """How a foreign checkpoint's entries are called here."""

    source: str | None = None
    """Where the checkpoint, or the code that made it, is published."""
    license: str | None = None
    """The licence that the weights are under."""
    url: Annotated[str, AfterValidator(_address)] | None = None
    """Where this network's own checkpoint can be downloaded."""
    sha256: Annotated[str, AfterValidator(_digits)] | None = None
    """That file's SHA-256, or how it begins."""
    top1: float | None = Field(default=None, gt=0, le=100)
    """ImageNet-1k top-1 accuracy in percent of this checkpoint, where it is not the paper's."""
    inside: tuple[str, ...] = ()
    """Keys of the dictionary around the state dict, the first that is there is opened."""
    prefix: str = ""
    """What every foreign key starts with, such as `module.`; taken off when it is there."""
    ignore: tuple[str, ...] = ()
    """Foreign entries (templates) that this network has no use for."""
    names: dict[str, str] = Field(default_factory=dict)
    """Templates, foreign name → name here. `{i}` stands for a number; first match wins.

    Without any, the names are our own.
    """


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
    """What the network is called; the file's name unless given."""
    about: str | None = None
    """A sentence or two for people."""
    source: str | None = None
    """Where the network is published."""
    published: Published = Published()
    extends: str | None = None
    """A spec (path, or name of a shipped one) that this one overrides, key by key."""
    imports: tuple[str, ...] = Field(default=(), alias="import")
    """Specs whose blocks may be used here."""
    input: ImageShape = ImageShape()
    classes: Annotated[int, Field(ge=1, le=MAX_SIZE, strict=True)] = 1000
    """How many classes the head tells apart."""
    vars: dict[str, Any] = Field(default_factory=dict)
    """Values by name, for expressions; a hole such as `{choice: [2, 3]}` leaves one to search."""
    blocks: dict[str, Any] = Field(default_factory=dict)
    """Bodies by name, to be used as steps."""
    stem: Any = None
    """Steps before the first stage."""
    stages: dict[str, Any] = Field(default_factory=dict)
    """The stages by name, in order."""
    head: Any = None
    """Steps after the last stage, ending in one value per class."""
    weights: dict[str, KeyMapping] = Field(default_factory=dict)
    """Foreign checkpoints by name."""


M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], node: Node, *within: str) -> M:
    """`node`, which stands under the keys `within`, as a `model`.

    Raises:
        SpecError: at the place of the first entry that does not fit.
    """
    try:
        return model.model_validate(node.plain())
    except ValidationError as error:
        first = error.errors()[0]
        raise _message(model, node, first, within) from None


_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:,}",
    "literal_error": "{expected}",
    "model_type": "a mapping (keys: {keys})",
    "string_pattern_mismatch": "a name (a letter, then letters, digits, _ . -)",
    "string_too_long": "at most {max_length} characters",
    "string_type": "text",
    "too_long": "at most {max_length} entries",
    "too_short": "at least {min_length} entries",
    "tuple_type": "a list",
}
"""What pydantic asked for, by the type of its error, in the words of a message to the user."""


def expected(error: ErrorDetails, keys: str = "") -> str:
    """`expected a whole number`: what a value should have been, without what it was."""
    context = {**error.get("ctx", {}), "keys": keys}
    if error["type"] in _EXPECTED:
        return "expected " + _EXPECTED[error["type"]].format(**context)
    text = error["msg"].removeprefix("Value error, ")
    return text[0].lower() + text[1:]


def _known_keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _message(
    model: type[BaseModel], node: Node, error: ErrorDetails, within: tuple[str, ...]
) -> SpecError:
    loc, kind = error["loc"], error["type"]
    inner, entry, mark = model, node, node.mark
    members: Any = None
    for step in loc:
        key = _key(entry, step)
        child = entry.find((step,))
        if child is None:
            break
        entry, mark = child, child.mark
        if kind == "extra_forbidden" and step == loc[-1] and key is not None:
            return SpecError(
                f"unknown key {brief(str(step))}", mark=key.mark,
                hint=did_you_mean(str(step), _known_keys(inner)),
            )  # fmt: skip
        field = inner.model_fields.get(str(step))
        annotation: Any = field.annotation if field is not None else None
        if get_origin(annotation) is dict:
            members, annotation = get_args(annotation)[1], None
        elif members is not None:  # the name of an entry in a mapping of models
            annotation, members = members, None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            inner = annotation
    if kind == "missing":
        return SpecError(f"{'.'.join(map(str, loc))} is missing", mark=mark)
    where = ".".join(str(step)[:SHOWN] for step in (*within, *loc))
    where += ": " if where else ""
    if is_hole(entry):
        return SpecError(
            f"{where}this cannot be left open for search", mark=mark,
            hint="variables, stages and what stands in blocks can",
        )  # fmt: skip
    text = expected(error, keys=", ".join(_known_keys(inner)))
    found = "" if "found" in text else f", found {entry.kind}"
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
                f"a hole of kind {kind!r} has no key {brief(str(key))}", mark=key.mark,
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
        raise SpecError(
            f"{kind!r} takes [lowest, highest], found {describe(bounds)}", mark=values.mark
        )
    step = node.value.get("step")
    if step is not None and not (_is(step.value, wanted) and step.value > 0):
        raise SpecError(f"'step' must be a positive number, found {step.kind}", mark=step.mark)
    log = node.value.get("log")
    if log is not None and not isinstance(log.value, bool):
        raise SpecError(f"'log' must be true or false, found {log.kind}", mark=log.mark)


def _is(value: Any, kinds: Any) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)

"""The JSON Schema of specs, for editors, made from the models and the ops themselves.

    archspec schema > archspec.schema.json

With this as the first line of a spec (the path is relative to the spec, or a URL), VS Code's YAML
extension completes keys and op names, shows their docstrings, and marks what is wrong:

    # yaml-language-server: $schema=archspec.schema.json

It is draft 7, the draft that the extension knows best. A schema cannot know which blocks a spec
has, so any other name may stand where a block is called; `archspec build` tells.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any, TypeAlias

from pydantic import BaseModel

from archspec.document import HOLE_FIELDS, Header, Stage
from archspec.ops import Op, registry
from archspec.spec import IMPLICIT
from archspec.steps import CONTROL

Json: TypeAlias = "dict[str, Any]"

DRAFT = "http://json-schema.org/draft-07/schema#"

_ANNOTATIONS = ("title", "description", "default")
_NULL = {"type": "null"}
# a word without spaces, dots, dashes or colons that does not start with a digit or _
_NAME = {"type": "string", "pattern": r"^[^\s\d_.:-][^\s.:-]*$"}
_ONE_OR_MORE_NAMES = {"anyOf": [_NAME, {"type": "array", "items": _NAME, "minItems": 1}]}


def json_schema() -> Json:
    """The schema of a spec's document, as plain values ready for `json.dumps`."""
    return {
        "$schema": DRAFT,
        **_model(Header),
        "title": "archspec",
        "description": "A vision network, or a space of them, built from small ops.",
        "definitions": {
            **_values(),
            **_steps(),
            **{f"op_{name}": _op(op) for name, op in registry().items()},
            "block": _block(),
            "stage": _model(Stage),
            **_nested_models(Header),
        },
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/definitions/{name}"}


def _or_nothing(schema: Json) -> Json:
    return {"anyOf": [schema, _NULL]}


def _object(properties: Json, required: tuple[str, ...] = (), **more: Any) -> Json:
    """A mapping with these keys and no others."""
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    return schema | more


def _by_name(values: Json, forbidden: list[str]) -> Json:
    names = {"allOf": [_NAME, {"not": {"enum": forbidden}}]}
    return {"type": "object", "propertyNames": names, "additionalProperties": values}


# -- values ------------------------------------------------------------------------------------


def _values() -> Json:
    numbers = {"int": {"type": "integer"}, "float": {"type": "number"}}
    bounds = {
        kind: {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
        for kind, number in numbers.items()
    }
    holes = [
        _object({"choice": {"type": "array", "minItems": 1}}, ("choice",)),
        *(
            _object(
                {
                    kind: bounds[kind],
                    "step": {**number, "exclusiveMinimum": 0},
                    "log": {"type": "boolean"},
                },
                (kind,),
            )
            for kind, number in numbers.items()
        ),
    ]
    return {
        "expression": {
            "type": "string",
            "description": "Arithmetic over names: " + ", ".join(IMPLICIT) + ", variables, and "
            "the block's arguments. C / 3 must come out whole; C // 3 is cut.",
        },
        "hole": {
            "description": "Left open for search: {choice: [2, 3]}, {int: [48, 160], step: 8} or "
            "{float: [0.1, 0.5]}.",
            "anyOf": holes,
        },
        "value": {
            "anyOf": [
                {"type": ["string", "number", "boolean", "null"]},
                {"type": "array", "items": _ref("value")},
                _ref("hole"),
                {
                    "type": "object",
                    "propertyNames": {"not": {"enum": list(HOLE_FIELDS)}},
                    "additionalProperties": _ref("value"),
                },
            ]
        },
    }


def _open(schema: Json) -> Json:
    """A field's schema in draft 7, with an expression or a hole in place of any value."""
    about = {key: schema[key] for key in _ANNOTATIONS[1:] if schema.get(key) is not None}
    alternatives: list[Json] = []
    for option in schema.get("anyOf", [schema]):
        option = {key: value for key, value in option.items() if key not in _ANNOTATIONS}
        if option.get("type") == "array":
            first = option.pop("prefixItems", None)
            items = [_open(item) for item in first] if first else _open(option["items"])
            option["items"] = items
        elif option.get("type") == "object":
            option.pop("propertyNames", None)
            option["additionalProperties"] = _open(option["additionalProperties"])
        alternatives.append(option)
    if {"type": "string"} not in alternatives:
        alternatives.append(_ref("expression"))
    return {**about, "anyOf": [*alternatives, _ref("hole")]}


# -- steps -------------------------------------------------------------------------------------


def _wiring() -> Json:
    return {
        "id": {
            "description": "A name for the output (or names, where there are several).",
            **_ONE_OR_MORE_NAMES,
        },
        "from": {
            "description": "What it reads, by id; the step before unless given.",
            **_ONE_OR_MORE_NAMES,
        },
    }


def _op(op: type[Op]) -> Json:
    """An op's arguments: named, or only its shorthand, or none."""
    own = op.model_json_schema()
    notes = _field_notes(op)
    fields = {
        name: _open(field | ({"description": notes[name]} if name in notes else {}))
        for name, field in own["properties"].items()
    }
    required = tuple(own.get("required", ()))
    alternatives = [_object({**fields, **_wiring()}, required)]
    if op.shorthand is not None:
        alternatives += [
            option for option in fields[op.shorthand]["anyOf"] if option.get("type") != "object"
        ]
    if not required:
        alternatives.append(_NULL)
    return {"description": inspect.cleandoc(op.__doc__ or ""), "anyOf": alternatives}


def _steps() -> Json:
    ops = registry()
    bare = [name for name, op in ops.items() if not op.model_json_schema().get("required")]
    never_bare = sorted({*ops, *CONTROL} - set(bare))
    return {
        "body": {
            "description": "A step, or a list of steps; each reads the one before.",
            "anyOf": [_ref("step"), {"type": "array", "items": _ref("step"), "minItems": 1}],
        },
        "step": {
            "anyOf": [
                {"enum": bare},
                {**_NAME, "not": {"enum": never_bare}},
                {
                    "type": "object",
                    "properties": {
                        **{name: _ref(f"op_{name}") for name in ops},
                        **_control(),
                        "int": False,
                        "float": False,
                    },
                    "additionalProperties": _ref("call"),
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ]
        },
        "call": {
            "description": "A block of this spec, with its arguments.",
            "anyOf": [
                {"type": ["string", "number", "boolean", "null"]},
                {"type": "array", "items": _ref("value")},
                {
                    "type": "object",
                    "properties": _wiring(),
                    "additionalProperties": _ref("value"),
                },
            ],
        },
    }


def _control() -> Json:
    body = _ref("body")
    times = _open({"type": "integer", "minimum": 0})
    condition = _open({"type": "boolean"})
    return {
        "residual": {
            "description": "Steps whose result is added to what they read.",
            "anyOf": [_object({"body": body, **_wiring()}, ("body",)), body],
        },
        "repeat": {
            "description": "Steps, `times` over; `index` is the position.",
            **_object({"times": times, "body": body, **_wiring()}, ("times", "body")),
        },
        "if": {
            "description": "Steps that depend on a condition.",
            **_object(
                {"condition": condition, "then": body, "else": body, **_wiring()},
                ("condition", "then"),
            ),
        },
        "use": {
            "description": "The block that a variable or a hole names.",
            "anyOf": [
                {"type": "string"},
                _ref("hole"),
                {
                    "type": "object",
                    "properties": {
                        "block": {"anyOf": [{"type": "string"}, _ref("hole")]},
                        **_wiring(),
                    },
                    "required": ["block"],
                    "additionalProperties": _ref("value"),
                },
            ],
        },
        "choice": {
            "description": "Steps left open for search: one of these.",
            "type": "array",
            "items": body,
            "minItems": 1,
        },
    }


def _block() -> Json:
    """A body, or a body with arguments; in a spec that extends another, a part of it."""
    head = _object(
        {
            "about": {"type": "string", "description": "A sentence for people."},
            "args": {
                "description": "Arguments with their defaults; null where one must be given.",
                **_by_name(_ref("value"), list(IMPLICIT)),
            },
            "inputs": {
                "description": "Names of the tensors it reads, where there are several.",
                **_ONE_OR_MORE_NAMES,
            },
            "body": _ref("body"),
        }
    )
    return {"anyOf": [head, _ref("body")]}


# -- the document ------------------------------------------------------------------------------


def _language() -> dict[str, Json]:
    """What the models leave to the parser: the fields of type Any."""
    steps = _ref("body")
    return {
        "import": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "vars": _by_name(_ref("value"), list(IMPLICIT)),
        "blocks": _by_name(_or_nothing(_ref("block")), [*registry(), *CONTROL]),
        "stages": _by_name(_or_nothing(_ref("stage")), ["stem", "head"]),
        "stem": steps,
        "head": steps,
        "enter": steps,
        "body": steps,
        "repeat": _open({"type": "integer", "minimum": 0}),
    }


def _model(model: type[BaseModel]) -> Json:
    own = model.model_json_schema(ref_template="#/definitions/{model}")
    language = _language()
    notes = _field_notes(model)
    properties: Json = {}
    for name, field in model.model_fields.items():
        key = field.alias or name
        found = language.get(key, _removable(own["properties"][key]))
        found = {k: v for k, v in found.items() if k not in ("title", "default")}
        note = {"description": notes[name]} if name in notes else {}
        options = [option for option in found.get("anyOf", [found]) if option != _NULL]
        properties[key] = {**note, "anyOf": [*options, _NULL]}  # null removes what is extended
    return _object(properties, description=inspect.cleandoc(model.__doc__ or ""))


def _removable(table: Json) -> Json:
    """A table of entries, each of which null removes."""
    entry = table.get("additionalProperties")
    return {**table, "additionalProperties": _or_nothing(entry)} if entry else table


def _nested_models(model: type[BaseModel]) -> Json:
    """The models inside a model. No key is required: a spec that extends another gives some."""
    module = inspect.getmodule(model)
    return {name: _model(vars(module)[name]) for name in model.model_json_schema()["$defs"]}


def _field_notes(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings under a model's fields (Python keeps them in the source only)."""
    notes: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if not issubclass(cls, BaseModel) or cls is BaseModel:
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(definition, ast.ClassDef)
        for statement, note in pairwise(definition.body):
            match statement, note:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str() as text)),
                ):
                    notes[name] = inspect.cleandoc(text)
    return notes

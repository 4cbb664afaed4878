"""The JSON Schema accepts what the language accepts, and knows every op and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from archspec import catalog, source
from archspec.document import Header, KeyMapping, Published, Stage
from archspec.errors import SpecError
from archspec.ops import registry
from archspec.schema import json_schema
from archspec.spec import IMPLICIT, loads
from archspec.steps import CONTROL

SCHEMA = json_schema()
VALIDATOR = Draft7Validator(SCHEMA)
FIELDS = [(op, field) for op, cls in registry().items() for field in cls.model_fields]


def accepts(text: str) -> bool:
    return bool(VALIDATOR.is_valid(source.parse(text).plain()))


def is_spec(text: str) -> bool:
    try:
        loads(text)
    except SpecError:
        return False
    return True


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    return schema


def test_is_a_schema() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(SCHEMA)
    used = {part.split('"')[0] for part in text.split('"#/definitions/')[1:]}
    assert used == set(SCHEMA["definitions"])


@pytest.mark.parametrize("name", catalog.shipped())
def test_shipped_specs_are_accepted(name: str) -> None:
    document = source.read(catalog.shipped()[name]).plain()
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []


# -- coverage ----------------------------------------------------------------------------------


def test_every_op_is_a_step() -> None:
    words, _, mapping = SCHEMA["definitions"]["step"]["anyOf"]
    assert set(mapping["properties"]) == {*registry(), *CONTROL, "choice", "int", "float"}
    assert set(words["enum"]) <= set(registry())
    for name, op in registry().items():
        assert resolve(mapping["properties"][name])["description"]
        assert op.__doc__


@pytest.mark.parametrize(("op", "field"), FIELDS)
def test_every_field_of_an_op(op: str, field: str) -> None:
    arguments = SCHEMA["definitions"][f"op_{op}"]["anyOf"][0]
    assert {"id", "from"} < set(arguments["properties"])
    assert arguments["additionalProperties"] is False
    *kinds, hole = arguments["properties"][field]["anyOf"]
    assert hole == {"$ref": "#/definitions/hole"}
    assert kinds
    assert all({"type", "enum", "const", "anyOf", "$ref"} & set(kind) for kind in kinds)


@pytest.mark.parametrize("model", [Header, Stage, Published, KeyMapping])
def test_every_key_of_the_document(model: Any) -> None:
    found = {Header: SCHEMA, Stage: SCHEMA["definitions"]["stage"]}.get(
        model, SCHEMA["definitions"].get(model.__name__)
    )
    keys = {field.alias or name for name, field in model.model_fields.items()}
    assert set(found["properties"]) == keys
    assert found["additionalProperties"] is False
    for key, schema in found["properties"].items():
        assert "description" in schema or resolve(schema["anyOf"][0])["description"], key


def test_docstrings_are_descriptions() -> None:
    definitions = SCHEMA["definitions"]
    assert definitions["op_relu"]["description"] == "max(x, 0)."
    keep = definitions["op_global_pool"]["anyOf"][0]["properties"]["keep"]
    assert keep["description"] == "Keep the axes with size 1 instead of removing them."
    assert keep["default"] is False
    assert definitions["stage"]["properties"]["repeat"]["description"] == "How many layers."


# -- documents ---------------------------------------------------------------------------------

RIGHT = [
    "stem: gelu",
    "stem: [gelu, {linear: 8}, {linear: 2 * C}, {linear: {out: C // 2, bias: false, id: y}}]",
    "stem: [{gelu: null}, {gelu: {}}, {conv: {kernel: [3, k], padding: same}}]",
    "stem: [{conv: {kernel: {choice: [3, 5]}, out: {int: [8, 64], step: 8}}}]",
    "stem: [{dropout: {float: [0.1, 0.5]}}, {dropout: 0.5}, {dropout: {rate: r, id: z}}]",
    "stem: [{choice: [gelu, [relu, linear], {conv: {kernel: 3}}]}]",
    "stem: [{split: {into: 2, id: [u, v]}}, {multiply: {from: [u, v]}}]",
    "stem: {unflatten: {into: {height: H, width: 4}}}",
    "stem: {rename: {axes: {tokens: keys}}}",
    "stem: [{residual: gelu}, {residual: [gelu]}, {residual: {body: gelu, id: r}}]",
    "stem: [{repeat: {times: 2, body: gelu}}, {if: {condition: C > 3, then: gelu, else: relu}}]",
    "stem: [{use: mixer}, {use: {block: mixer, alpha: 2, id: m}}, {use: {choice: [a, b]}}]",
    "blocks: {a: gelu, b: [a, {a: {id: x}}], c: {args: {n: null, k: C / 2}, body: {linear: n}}}\n"
    "stem: [a, {c: 3}, {c: {n: 2 * C, k: 3}}]",
    "blocks: {two: {about: Sum., inputs: [l, r], body: {add: {from: [l, r]}}}}",
    "vars: {a: 1, b: {choice: [1, 2]}, c: [1, {int: [1, 2]}], d: word, e: true}\nstem: gelu",
    "stages: {one: {vars: {a: 2}, enter: gelu, repeat: {int: [1, 4]}, body: gelu}}",
    "stages: {one: {repeat: 2 * n, body: [gelu]}}",
    "published: {params: 24.1M, flops: 5, top1: 81.9}\nstem: gelu",
    "input: {height: 32}\nclasses: 10\nname: a.b-c\nabout: x\nsource: y\nstem: gelu",
    "weights: {official: {inside: [model], names: {a: b}}}\nstem: gelu",
]

WRONG = [
    "[gelu]",
    "stem: gelu\nhaed: gelu",
    "stem: gelu\nname: 3d",
    "stem: gelu\nclasses: many",
    "stem: gelu\nclasses: 0",
    "stem: gelu\ninput: {depth: 3}",
    "stem: gelu\ninput: {height: 1.5}",
    "stem: gelu\npublished: {params: lots}",
    "stem: gelu\npublished: {top1: 101}",
    "stem: gelu\npublished: {top5: 90}",
    "stem: gelu\nvars: [1]",
    "stem: gelu\nvars: {C: 3}",
    "stem: gelu\nvars: {a: {choice: []}}",
    "stem: gelu\nvars: {a: {int: [1, 2], stride: 2}}",
    "stem: gelu\nvars: {a: {int: [1, 2, 3]}}",
    "stem: gelu\nvars: {a: {int: [1, 2], step: 0}}",
    "stem: gelu\nvars: {a: {float: [a, b]}}",
    "stem: gelu\nweights: {official: {nmaes: {a: b}}}",
    "stem: []",
    "stem: 3",
    "stem: {gelu: {}, relu: {}}",
    "stem: [[gelu]]",
    "stem: residual",
    "stem: {conv: {kernel: 3, stirde: 2}}",
    "stem: {gelu: 3}",
    "stem: {gelu: {id: 3}}",
    "stem: {gelu: {id: a b}}",
    "stem: {linear: {from: {a: 1}}}",
    "stem: {int: [1, 2]}",
    "stem: {choice: gelu}",
    "stem: {repeat: {body: gelu}}",
    "stem: {repeat: {times: 2, body: gelu, each: 2}}",
    "stem: {if: {condition: true}}",
    "stem: {use: {alpha: 2}}",
    "stages: [gelu]",
    "stages: {head: {body: gelu}}",
    "stages: {one: {body: gelu, depth: 3}}",
    "blocks: {linear: gelu}",
    "blocks: {a-b: gelu}",
    "blocks: {a: {body: gelu, arg: {x: 1}}}",
    "blocks: {a: {args: {H: 1}, body: {linear: H}}}",
    "blocks: {a: []}",
]

# what the language finds when the network is expanded
WRONG_VALUES = [
    "stem: {conv: {kernel: [3, 3, 3]}}",
    "stem: {conv: {out: 3}}",
    "stem: {conv: null}",
    "stem: conv",
    "stem: {linear: {out: 0}}",
    "stem: {linear: {out: -3}}",
    "stem: {linear: {out: 1.5}}",
    "stem: {linear: {out: [3]}}",
    "stem: {linear: {bias: 3}}",
    "stem: {linear: {axis: 3}}",
    "stem: {dropout: {rate: 1.5}}",
    "stem: {flatten: {axes: [height]}}",
    "stem: {batch_norm: {eps: 0}}",
    "stages: {one: {body: gelu, repeat: -1}}",
    "stem: {repeat: {times: -1, body: gelu}}",
]


@pytest.mark.parametrize("text", RIGHT)
def test_right_documents(text: str) -> None:
    assert accepts(text)


@pytest.mark.parametrize("text", WRONG)
def test_wrong_documents(text: str) -> None:
    assert not accepts(text)
    assert not is_spec(text)  # the schema is no stricter than the language


@pytest.mark.parametrize("text", WRONG_VALUES)
def test_wrong_values(text: str) -> None:
    from archspec.expansion import expand

    assert not accepts(text)
    with pytest.raises(SpecError):
        expand(loads(text))


@pytest.mark.parametrize("name", IMPLICIT)
def test_implicit_names_are_no_variables(name: str) -> None:
    assert not accepts(f"vars: {{{name}: 1}}")


def test_any_other_name_may_be_a_block() -> None:
    assert accepts("stem: [my_block, {my_block: {alpha: 2, beta: [1, x]}}, {my_block: 3}]")
    assert not accepts("stem: ['my block']")


def test_in_a_spec_that_extends_another_a_part_is_enough() -> None:
    assert accepts("extends: smlpnet_t\nblocks: {patches: {args: {size: 3}}}")
    assert accepts("extends: smlpnet_t\nstages: {stage4: null}\nweights: null")
    assert accepts("extends: smlpnet_t\nstages: {stage1: {vars: {alpha: 2}}}")


def test_the_schema_at_the_root_is_current() -> None:
    """The header lines of the shipped specs name it; `archspec schema` wrote it."""
    file = Path(__file__).parent.parent / "archspec.schema.json"
    assert json.loads(file.read_text()) == SCHEMA

"""`archspec ops`: the primitive ops and their arguments, from their own docstrings."""

from __future__ import annotations

import inspect
import json
from typing import Annotated, Any

import typer

from archspec.cli.app import JsonOption, app
from archspec.errors import ArchspecError, did_you_mean


@app.command()
def ops(
    name: Annotated[
        str | None, typer.Argument(metavar="[OP]", help="One op, with its whole description.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """List the ops that a spec may use, with their arguments."""
    from archspec.ops import registry

    known = registry()
    if name is not None and name not in known:
        raise ArchspecError(f"there is no op {name!r}", hint=did_you_mean(name, known))
    rows = [describe(op) for op in known.values() if name in (None, op.name)]
    if json_:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False, default=str))
        return
    if name is not None:
        typer.echo(f"{signature(rows[0])}\n\n{rows[0]['about']}")
        return
    from archspec.cli import tables

    tables.show_ops(rows)


def describe(op: Any) -> dict[str, Any]:
    """An op as plain data: name, arguments with defaults, description."""
    arguments = {
        key: "required" if field.is_required() else field.default
        for key, field in op.model_fields.items()
    }
    return {"op": op.name, "arguments": arguments, "about": inspect.cleandoc(op.__doc__ or "")}


def signature(row: dict[str, Any]) -> str:
    """`linear: {out: null, axis: channels, bias: true}`."""
    shown = ", ".join(
        f"{key}: {'…' if value == 'required' else yaml_text(value)}"
        for key, value in row["arguments"].items()
    )
    return f"{row['op']}: {{{shown}}}" if shown else row["op"]


def yaml_text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(yaml_text, value))}]"
    return str(value)

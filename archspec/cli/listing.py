"""`archspec specs`: what is shipped, with figures; `archspec schema`; `archspec formula`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from archspec.cli.app import JsonOption, SetOption, SpecArgument, app, load_spec
from archspec.files import write_text


@app.command()
def specs(json_: JsonOption = False) -> None:
    """List the shipped specs with their parameters, FLOPs and published accuracy."""
    from archspec.figures import shipped_figures

    rows = shipped_figures()
    if json_:
        typer.echo(json.dumps(rows, indent=2))
        return
    from archspec.cli import tables

    tables.show_specs(rows)


@app.command()
def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file.")
    ] = None,
) -> None:
    """Print the JSON Schema of specs, for editors.

    Put this line at the top of a spec, and VS Code's YAML extension completes and validates it:

        # yaml-language-server: $schema=archspec.schema.json
    """
    from archspec.schema import json_schema

    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_text(output, text)
        typer.echo(f"wrote {output}")


@app.command()
def formula(
    spec: SpecArgument,
    block: Annotated[
        str | None, typer.Option("--block", "-b", metavar="NAME", help="One block only.")
    ] = None,
    sets: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Print what each block costs as a formula in H, W, C and the spec's variables."""
    from archspec.formula import formulas

    found = formulas(load_spec(spec, sets), block)
    if json_:
        typer.echo(json.dumps([item.to_dict() for item in found], indent=2, ensure_ascii=False))
        return
    typer.echo("\n\n".join(str(item) for item in found))

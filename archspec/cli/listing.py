"""`archspec specs`: what is shipped, with figures; `archspec schema`; `archspec formula`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archspec.cli.app import JsonOption, SetOption, SpecArgument, app, busy, load_spec
from archspec.cli.filters import (
    FamilyOption,
    Filter,
    MaxFlopsOption,
    MaxParamsOption,
    MinFlopsOption,
    MinParamsOption,
    MinTop1Option,
    WordsArgument,
)
from archspec.files import write_text

if TYPE_CHECKING:
    from archspec.figures import Row


class SortBy(StrEnum):
    """Columns that the table can be sorted by."""

    name = "name"
    params = "params"
    flops = "flops"
    top1 = "top1"


@app.command()
def specs(
    words: WordsArgument = None,
    family: FamilyOption = None,
    max_flops: MaxFlopsOption = None,
    min_flops: MinFlopsOption = None,
    max_params: MaxParamsOption = None,
    min_params: MinParamsOption = None,
    min_top1: MinTop1Option = None,
    sort: Annotated[
        SortBy | None,
        typer.Option(help="One table: by name, the smallest first, or the highest top-1 first."),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="The other way round.")] = False,
    json_: JsonOption = False,
) -> None:
    """List networks with their parameters, FLOPs and published accuracy, or all about one.

    archspec specs                            # the zoo, by folder
    archspec specs swin --sort flops          # what has "swin" in its name or description
    archspec specs --max-flops 5G --min-top1 82 --sort top1
    archspec specs swin_t                     # all about one
    archspec specs ablations                  # a folder of the shipped specs; or: ./my-specs
    """
    chosen = Filter(
        tuple(words or ()), tuple(family or ()), max_flops, min_flops, max_params, min_params,
        min_top1,
    )  # fmt: skip
    with busy("counting the networks"):
        rows = chosen.rows()
    if sort is not None:
        # what has no figure stands last, whichever way
        values: list[tuple[Any, Row]] = [(row[sort.value], row) for row in rows]
        known = [entry for entry in values if entry[0] is not None]
        known.sort(key=lambda entry: entry[0], reverse=(sort == SortBy.top1) != reverse)
        rows = [row for _, row in known] + [row for value, row in values if value is None]
    elif reverse:
        rows = rows[::-1]
    if json_:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from archspec.cli import tables_specs

    if len(rows) == 1 and words == [rows[0]["name"]] and rows[0]["error"] is None:
        tables_specs.show_spec(rows[0])
    else:
        tables_specs.show_specs(rows, is_sorted=sort is not None, is_narrow=chosen.is_narrow)


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

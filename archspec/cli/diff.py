"""`archspec diff`: how two networks differ."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from archspec.cli.app import InputOption, JsonOption, SetOption, SpecArgument, app, load_spec
from archspec.errors import ArchspecError


@app.command()
def diff(
    first: SpecArgument,
    second: Annotated[
        str | None,
        typer.Argument(
            metavar="[SPEC]", help="What it is compared with. Default: itself as --set changes it."
        ),
    ] = None,
    sets: SetOption = None,
    image: InputOption = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 if they differ, as git diff does.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Also print blocks that only one of them has.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Show how two networks differ: figures, cost by stage, variables, and YAML step by step.

    archspec diff swin_t smlpnet_t
    archspec diff resnet50 resnet152 --input 3x256x256     # --input and --set go for both
    archspec diff smlpnet_t --set alpha=2                  # … or are what is to differ
    """
    from archspec.diff import difference

    if second is None and not sets and image is None:
        raise ArchspecError(
            "diff needs two specs, or one and what is to differ",
            hint=f"archspec diff {first} SPEC, or: archspec diff {first} --set NAME=VALUE",
        )
    before: Any = load_spec(first) if second is None else load_spec(first, sets, image)
    after: Any = load_spec(first if second is None else second, sets, image)
    names = (before.name, after.name)
    if second is None:
        changes = [*([f"input={image}"] if image is not None else []), *(sets or [])]
        names = (before.name, ", ".join(changes))
    elif before.name == after.name:
        names = (first, second)  # a spec and a copy of it, by their paths
    found = difference(before, after, names)
    if json_:
        typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        from archspec.cli import tables_diff

        tables_diff.show(found, full=full)
    if exit_code and not found.is_same:
        raise typer.Exit(1)

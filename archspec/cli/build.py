"""`archspec build` and `archspec cost`: what a network is, and whether the figures hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from archspec.cli.app import (
    InputOption,
    InterpolateOption,
    JsonOption,
    SetOption,
    SpecArgument,
    WeightsOption,
    app,
    busy,
    load_spec,
)
from archspec.cli.weights import weights_file
from archspec.errors import ArchspecError
from archspec.files import write_text


@app.command()
def build(
    spec: SpecArgument,
    sets: SetOption = None,
    image: InputOption = None,
    weights: WeightsOption = None,
    interpolate: InterpolateOption = False,
    emit: Annotated[
        Path | None,
        typer.Option(metavar="FILE.py", help="Write the network as one plain PyTorch file."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Build a network and check it: parameters, FLOPs and memory, by rule and as measured.

    Exit code 1 if one parameter or one FLOP differs.
    """
    from archspec.counting import count
    from archspec.expansion import expand
    from archspec.memory import check_memory

    if emit is not None and emit.suffix != ".py":
        raise ArchspecError(f"--emit takes a file that ends in .py, found {str(emit)!r}")
    loaded = load_spec(spec, sets, image)
    graph = expand(loaded)
    table = count(graph)
    check_memory(graph, forward=True)
    file = weights_file(loaded, weights, interpolate=interpolate)
    with busy("importing PyTorch"):
        from archspec import report
        from archspec.lower import lower
        from archspec.module import to_module
    from archspec.check import check

    program = lower(graph)
    with busy("building"):
        module = to_module(program)
        if file is not None:
            from archspec.weights import load_weights

            read = load_weights(module, loaded, graph, file, interpolate=interpolate)
    with busy("measuring with fvcore"):
        from archspec.measure import measure

        shape = loaded.input
        measured = measure(module, (shape["channels"], shape["height"], shape["width"]))
    result = check(graph, table, measured)
    if emit is not None:
        from archspec.codegen import emit as emit_source

        write_text(emit, emit_source(program, about=loaded.header.about or ""))
    facts = report.facts(loaded, graph, table) | report.measured_facts(result, measured)
    facts["overridden"] = bool(sets or image)
    if file is not None:
        facts["weights"] = {"file": str(file), "naming": read.naming, "resized": [*read.resized]}
    if emit is not None:
        facts["emitted"] = str(emit)
    if json_:
        typer.echo(json.dumps(facts, indent=2))
    else:
        from archspec.cli import tables

        tables.show_build(facts)
    if not result.agrees:
        raise typer.Exit(1)


@app.command()
def cost(
    spec: SpecArgument, sets: SetOption = None, image: InputOption = None, json_: JsonOption = False
) -> None:
    """Print a network's exact cost without building it (no PyTorch needed)."""
    from archspec import report
    from archspec.counting import count
    from archspec.expansion import expand

    loaded = load_spec(spec, sets, image)
    graph = expand(loaded)
    facts: dict[str, Any] = report.facts(loaded, graph, count(graph))
    facts["overridden"] = bool(sets or image)
    if json_:
        typer.echo(json.dumps(facts, indent=2))
        return
    from archspec.cli import tables

    tables.show_cost(facts)

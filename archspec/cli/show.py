"""`archspec show`: the network as a picture, or as Mermaid text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from archspec.cli.app import (
    InputOption,
    SetOption,
    SpecArgument,
    app,
    busy,
    load_spec,
)
from archspec.files import write_text


@app.command()
def show(
    spec: SpecArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to draw it; the suffix decides: .svg, .png, .pdf, .mmd. "
            "Default: Mermaid text on stdout.",
        ),
    ] = None,
    block: Annotated[
        str | None, typer.Option("--block", "-b", metavar="NAME", help="One block only.")
    ] = None,
    sets: SetOption = None,
    image: InputOption = None,
) -> None:
    """Draw a network: stages, blocks and their inner graphs, shapes on the edges."""
    from archspec import draw
    from archspec.expansion import expand

    graph = expand(load_spec(spec, sets, image))
    if output is None or output.suffix in (".mmd", ".md"):
        text = draw.mermaid(graph, block=block)
        if output is None:
            typer.echo(text, nl=False)
            return
        fenced = f"```mermaid\n{text}```\n" if output.suffix == ".md" else text
        write_text(output, fenced)
    else:
        with busy("drawing"):
            draw.draw(graph, output, block=block)
    typer.echo(f"wrote {output}")

"""`archspec export`: a network as a file for other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archspec.cli.app import (
    InputOption,
    InterpolateOption,
    JsonOption,
    SetOption,
    WeightsOption,
    app,
    busy,
    overridden,
    tell,
)
from archspec.cli.weights import Bar

if TYPE_CHECKING:
    from archspec.compile.exporting import Exported


@app.command()
def export(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC",
            help="A YAML file, the name of a shipped spec, or the folder of a training or search.",
        ),
    ],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="onnx (.onnx: images in, logits out), torch-export (.pt2: an exported program) "
            "or safetensors (weights alone, under our names).",
        ),
    ],
    weights: WeightsOption = None,
    interpolate: InterpolateOption = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Default: NAME.onnx, NAME.pt2 or NAME.safetensors in the current folder.",
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="N|MIN:OPT:MAX", help="Images in a batch, or a range of it. Default: 1."
        ),
    ] = None,
    image: InputOption = None,
    sets: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Write a network as a file for other tools: as its spec says, in float32.

    The file is read again and compared with the network before it takes its
    place. Exit codes: 1 it does not compute the network, 3 packages are missing.
    """  # fmt: skip
    with busy("importing PyTorch"):
        from dataclasses import replace

        from archspec.compile.exporting import as_format, check
        from archspec.compile.exporting import export as write
        from archspec.compile.settings import Batch
        from archspec.compile.subject import find
    form = as_format(format_)
    sizes = None if batch is None else Batch.parse(batch)
    check(form, sizes, output)
    with Bar() as bar:
        subject = find(spec, weights=weights, interpolate=interpolate, progress=bar.update)
    changed = overridden(subject.spec, sets, image)
    for note in subject.notes:
        tell(note)
    with busy("exporting"):
        done = write(replace(subject, spec=changed), form, output, batch=sizes)
    if done.relative_error is None:
        tell("not compared with the network: onnxruntime is not installed here")
    if json_:
        typer.echo(json.dumps(_facts(done), indent=2))
    else:
        _show(done)


def _facts(done: Exported) -> dict[str, object]:
    return {
        "files": [str(file) for file in done.files],
        "size": done.size,
        "checked_with": done.checked_with,
        "relative_error": done.relative_error,
        "bound": done.bound,
    }


def _show(done: Exported) -> None:
    from archspec.cli.tables import memory

    for file in done.files:
        typer.echo(f"wrote {file}")
    typer.echo(f"size {memory(done.size)}")
    if done.relative_error is not None and done.bound is not None:
        typer.echo(
            f"✓ read again with {done.checked_with}: relative error {done.relative_error:.1e} "
            f"against float64 (at most {done.bound:.1e})"
        )

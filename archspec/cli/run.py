"""`archspec run`: what a compiled network sees in pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archspec.cli.app import JsonOption, app, busy, tell

if TYPE_CHECKING:
    from archspec.compile.running import Classified

LISTED = 20
"""Broken images that are told one by one."""

AllowUnfitOption = Annotated[
    bool,
    typer.Option("--allow-unfit", help="Also one whose logits are not close to the network's."),
]
RunDeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="auto, cpu, cuda or cuda:1; of the kind that it was compiled for, which auto takes.",
    ),
]


@app.command()
def run(
    artefact: Annotated[
        Path, typer.Argument(metavar="ARTEFACT", help="A folder that 'archspec compile' made.")
    ],
    image: Annotated[
        list[Path],
        typer.Option(
            "--image",
            "-i",
            metavar="FILE|FOLDER",
            help="A picture, or a folder of pictures; may be repeated.",
        ),
    ],
    top: Annotated[int, typer.Option(metavar="N", min=1, help="How many classes to print.")] = 5,
    device: RunDeviceOption = "auto",
    allow_unfit: AllowUnfitOption = False,
    json_: JsonOption = False,
) -> None:
    """Classify pictures with a compiled network.

    Every file of the artefact is held against its manifest first. Pictures are
    turned as EXIF says, scaled to cover the network's input, their centre is
    cut out and normalised as the manifest says. Folders are read with those
    below, but for what is hidden. Exit codes: 1 some pictures are broken, 2 all.
    """
    with busy("importing PyTorch"):
        from archspec.compile.artefact import load
        from archspec.compile.running import (
            check_found,
            check_some,
            check_takes_pictures,
            classify_each,
            count_of,
            find_images,
        )
    found = find_images(image)
    check_found(found)
    with busy("loading the artefact"):
        loaded = load(artefact, device=device, allow_unfit=allow_unfit, note=tell)
    check_takes_pictures(loaded)
    if not loaded.manifest.has_trained_weights:
        tell("the weights are random: the classes mean nothing")
    results = []
    for result in classify_each(loaded, found.files, top=top):
        results.append(result)
        if result.fault is None and not json_:
            _show(result)
    if found.skipped:
        tell(f"skipped in folders, since no images: {count_of(found.skipped, 'file')}")
    check_some(results)
    if json_:
        by_file = {result.file: _facts(result) for result in results}
        typer.echo(json.dumps([by_file[file] for file in found.files], indent=2))
    broken = [result for result in results if result.fault is not None]
    for result in broken[:LISTED]:
        typer.echo(f"error: cannot classify {result.file}: {result.fault}", err=True)
    if len(broken) > LISTED:
        typer.echo(f"error: and {len(broken) - LISTED} more (--json lists all)", err=True)
    if broken:
        raise typer.Exit(1)


def _show(result: Classified) -> None:
    typer.echo(str(result.file))
    for guess in result.best:
        typer.echo(f"  {guess.probability:7.2%}  {guess}")


def _facts(result: Classified) -> dict[str, Any]:
    if result.fault is not None:
        return {"image": str(result.file), "classes": [], "error": result.fault}
    return {
        "image": str(result.file),
        "classes": [
            {"index": guess.index, "name": guess.name, "probability": guess.probability}
            for guess in result.best
        ],
    }

"""`archspec plot`: accuracy against cost, of the zoo and of the user's own networks."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from archspec.cli.app import app, busy
from archspec.cli.filters import (
    APART,
    FamilyOption,
    Filter,
    MaxFlopsOption,
    MaxParamsOption,
    MinFlopsOption,
    MinParamsOption,
    MinTop1Option,
    WordsArgument,
)


class Costs(StrEnum):
    """What the horizontal axes show."""

    both = "both"
    flops = "flops"
    params = "params"


@app.command()
def plot(
    words: WordsArgument = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to draw it: .png, .svg or .pdf."
        ),
    ] = Path("zoo.png"),
    x: Annotated[Costs, typer.Option("--x", help="What it costs.")] = Costs.both,
    add: Annotated[
        list[str] | None,
        typer.Option(
            "--add",
            metavar="NETWORK",
            help="'NAME: params=27M, flops=4.5G, top1=82.1', 'NAME: spec=mine.yaml, top1=82.1', "
            "or a YAML or CSV file of such. Repeatable.",
        ),
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option("--run", metavar="FOLDER", help="A training, runs/train/NAME. Repeatable."),
    ] = None,
    study: Annotated[
        list[str] | None,
        typer.Option("--study", metavar="NAME", help="A search, by name or folder. Repeatable."),
    ] = None,
    runs: Annotated[
        Path, typer.Option("--runs", metavar="FOLDER", help="Where searches are kept.")
    ] = Path("runs"),
    family: FamilyOption = None,
    max_flops: MaxFlopsOption = None,
    min_flops: MinFlopsOption = None,
    max_params: MaxParamsOption = None,
    min_params: MinParamsOption = None,
    min_top1: MinTop1Option = None,
) -> None:
    """Draw ImageNet top-1 against FLOPs and parameters, each family as a line of its sizes.

    Accuracies of --run and --study are of the data that they were trained on: each data set has
    panels of its own.

        archspec plot --output zoo.svg
        archspec plot smlpnet swin resmlp gmlp --max-flops 20G
        archspec plot smlpnet --add 'mine: spec=mine.yaml, top1=82.1'
        archspec plot --study digits-search --run runs/train/mine
    """
    from archspec import plot as plots

    chosen = Filter(
        tuple(words or ()), tuple(family or ()), max_flops, min_flops, max_params, min_params,
        min_top1,
    )  # fmt: skip
    costs: dict[Costs, tuple[Literal["flops", "params"], ...]] = {
        Costs.both: ("flops", "params"), Costs.flops: ("flops",), Costs.params: ("params",),
    }  # fmt: skip
    with busy("drawing"):
        rows = chosen.rows()
        # of a network's sizes are asked for: not also its ablations, unless by their names
        meant = {*chosen.words}
        rows = [
            row
            for row in rows
            if row["folder"] not in APART or {row["folder"], row["name"]} & meant
        ]
        series = plots.of_rows(rows)
        series += [entry for text in add or () for entry in plots.added(text)]
        series += [plots.of_run(folder) for folder in run or ()]
        series += [entry for name in study or () for entry in plots.of_study(name, runs)]
        plots.draw(series, output, costs=costs[x])
    typer.echo(f"wrote {output}")

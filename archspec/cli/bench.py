"""`archspec bench`: compiled networks timed side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from archspec.cli.app import JsonOption, app, busy, tell
from archspec.cli.run import AllowUnfitOption, RunDeviceOption


@app.command()
def bench(
    artefacts: Annotated[
        list[Path],
        typer.Argument(metavar="ARTEFACT...", help="Folders that 'archspec compile' made."),
    ],
    against: Annotated[
        Path | None,
        typer.Option(metavar="ARTEFACT", help="What ratios compare with. Default: the first."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Images in a batch. Default: every size named in --batch of 'archspec compile' "
            "that all artefacts take.",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(metavar="S", min=0.05, help="How long each is timed, about.")
    ] = 3.0,
    device: RunDeviceOption = "auto",
    allow_unfit: AllowUnfitOption = False,
    json_: JsonOption = False,
) -> None:
    """Time compiled networks side by side in one process, on random images.

    In each round every artefact runs one batch, in turns, so that whatever
    else the machine does meets all alike; a ratio is taken within a round,
    above 1 is faster. Peak memory is what a call adds.
    """  # fmt: skip
    with busy("importing PyTorch"):
        from archspec.compile.artefact import load
        from archspec.compile.benching import busy_machine, sizes_of, time_side_by_side
    others = [] if against is None else [against]
    names = list(dict.fromkeys(map(str, [*artefacts, *others])))
    base = names[0] if against is None else str(against)
    if note := busy_machine():
        tell(note)
    loaded = {}
    for name in names:
        with busy(f"loading {name}"):
            loaded[name] = load(name, device=device, allow_unfit=allow_unfit, note=tell)
    rows: list[dict[str, Any]] = []
    for size in sizes_of(loaded, batch):
        with busy(f"timing {len(names)} artefacts at batch {size}"):
            rows += time_side_by_side(loaded, size, base=base, seconds=seconds)
    if json_:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _show(rows, base)


def _show(rows: list[dict[str, Any]], base: str) -> None:
    from rich import box
    from rich.table import Table

    from archspec.cli.tables import console, memory

    out = console()
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("artefact", "backend", "precision"):
        table.add_column(name, overflow="fold")
    for name in (
        "batch", "median ms", "p90 ms", "images/s", "ratio", "quartiles", "peak memory", "on disk",
    ):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=name not in ("peak memory", "on disk"))
    batch = None
    for row in rows:
        if batch not in (None, row["batch"]):
            table.add_section()
        batch = row["batch"]
        peak = "–" if row["peak_memory"] is None else memory(row["peak_memory"])
        table.add_row(
            row["artefact"], row["backend"], row["precision"], str(batch),
            f"{row['median_ms']:.2f}", f"{row['p90_ms']:.2f}",
            f"{row['images_per_second']:,.1f}", f"{row['ratio']:.2f}",
            f"{row['ratio_low']:.2f}–{row['ratio_high']:.2f}", peak, memory(row["size"]),
        )  # fmt: skip
    out.print(table)
    out.print(f"ratio: how often as fast as {base}, the median over the rounds", soft_wrap=True)

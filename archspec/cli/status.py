"""`archspec search status`: how a search stands, while it runs or not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archspec.cli.app import JsonOption
from archspec.cli.search import FolderOption, StorageOption, print_json, search_app
from archspec.errors import ArchspecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Group, RenderableType

    from archspec.search.status import Status, Worker

EVERY = 5.0
"""Seconds between two looks."""


@search_app.command()
def status(
    study: Annotated[
        str | None,
        typer.Argument(metavar="[STUDY]", help="A study's name, or its folder (runs/NAME)."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--study", metavar="NAME", help="The same, as 'search' takes it.")
    ] = None,
    storage: StorageOption = None,
    folder: FolderOption = Path("runs"),
    watch: Annotated[
        bool,
        typer.Option("--watch", "-w", help="Look again every 5 seconds, until it ends or Ctrl-C."),
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Say how a search stands: trials, workers, best so far, rate, time left. Nothing is changed.

    A search on several machines is looked at from any of them: with its --storage and --study.
    """
    if study is not None and name is not None and study != name:
        raise ArchspecError(
            f"two studies are named, {study!r} and {name!r}", hint="status is about one"
        )
    if watch and json_:
        raise ArchspecError("--watch is for a terminal, and --json for machines: choose one")
    chosen = study if study is not None else name
    if chosen is None:
        raise ArchspecError("status needs the name of a study", hint="archspec search status STUDY")
    from archspec.search import status as statuses
    from archspec.search import storage as store
    from archspec.search.reading import place_of_study

    place = place_of_study(chosen, folder)
    url = store.url_of(storage, place)
    with store.messages(url), store.quiet():
        opened, kept = store.opened_study(place.name, url)

    def look() -> Status:
        with store.messages(url), store.quiet():
            return statuses.status(opened, kept, place, url)

    if watch:
        _watch(look)
    elif json_:
        print_json(look().to_dict())
    else:
        from archspec.cli.tables import console

        console().print(_drawn(look()))


def _watch(look: Callable[[], Status]) -> None:
    from rich.live import Live
    from rich.text import Text

    from archspec.cli.tables import console

    with Live(console=console(), auto_refresh=False) as live:
        while True:
            try:
                found = look()
                live.update(_drawn(found), refresh=True)
                if found.winner is not None and not found.workers:
                    return
            except ArchspecError as error:  # the database is away for a while
                live.update(Text(f"error: {error}"), refresh=True)
            time.sleep(EVERY)


# -- how it looks ----------------------------------------------------------------------------------


def _drawn(found: Status) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column()
    for name, text in _facts(found):
        facts.add_row(name, Text(text))
    parts: list[RenderableType] = [
        Text.assemble((found.study, "bold"), f"   {found.space}, {found.budget}   {found.storage}"),
        facts,
    ]
    if found.workers:
        parts.append(_workers(found.workers))
    parts += [Text(f"note: {note}") for note in found.notes]
    return Group(*parts)


def _facts(found: Status) -> list[tuple[str, str]]:
    from archspec.cli.progress import duration
    from archspec.cli.tables import giga
    from archspec.cli.tables_search import choices_text, value_text

    counts = found.counts
    kinds = {
        "complete": counts.complete, "dropped": counts.pruned, "failed": counts.failed,
        "running": counts.running, "waiting": counts.waiting,
    }  # fmt: skip
    told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
    cut = f"; {counts.cut:,} cut on the way" if counts.cut else ""
    facts = [
        ("trials", f"{counts.finished:,} of {counts.asked:,}" + (f": {told}{cut}" if told else ""))
    ]
    if found.best is not None:
        pairs = zip(found.objectives, found.best.values, strict=True)
        shown = ", ".join(f"{name} {value_text(name, value)}" for name, value in pairs)
        cost = f"{giga(found.best.flops or 0)} FLOPs, {giga(found.best.params or 0)} params"
        facts.append(("best", f"trial {found.best.number}: {shown}; {cost}"))
        facts.append(("", choices_text(found.best.choices)))
    if found.per_hour is not None:
        rate = f"{found.per_hour:,.{1 if found.per_hour < 100 else 0}f} trials/h"
        left = found.seconds_left
        facts.append(("rate", rate if left is None else f"{rate}, {duration(left)} left"))
    if found.finalists_asked:
        each = ", ".join(f"trial {f.number} {f.mean:.1%}" for f in found.finalists)
        done = f"{len(found.finalists)} of {found.finalists_asked} trained again"
        facts.append(("finalists", f"{done}: {each}" if each else done))
    if found.winner is not None:
        facts.append(("winner", f"trial {found.winner}, {found.rule}"))
        where = found.winner_file or "with the worker that trained the finalists"
        facts.append(("", where))
    return facts


def _workers(workers: tuple[Worker, ...]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("worker", "is", "trial", "last sign of life"):
        table.add_column(column, no_wrap=True)
    table.add_column("device")
    for worker in workers:
        trial = "none now" if worker.trial is None else str(worker.trial)
        if worker.finalist is not None:
            trial = f"{worker.finalist} again, as a finalist"
        if worker.epochs:
            trial += f", {worker.epochs} epoch{'s' if worker.epochs > 1 else ''} done"
        age = "" if worker.silent_for is None else f"{max(0.0, worker.silent_for):.0f} s ago"
        cells = (worker.name, worker.state, trial, age, worker.device or "")
        table.add_row(*map(Text, cells))
    return table

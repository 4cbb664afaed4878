"""`archspec weights`: where a network's public checkpoints are; bringing one here."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archspec.cli.app import JsonOption, SpecArgument, app, busy, load_spec
from archspec.errors import ArchspecError
from archspec.files import replacing

if TYPE_CHECKING:
    from archspec.checkpoints import Checkpoint, Kept


@app.command()
def weights(
    spec: SpecArgument,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Of several checkpoints. Default: the first."),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", "-d", help="Bring it here, check it, keep it.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write a copy of it, too."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Say where the public checkpoints of a network are, or download one.

    A downloaded file is checked against the SHA-256 that the spec or the
    server states, and by the names and shapes of all its entries. It is kept
    for --weights NAME of the other commands, which download it as well.
    """
    from archspec.checkpoints import checkpoint, checkpoints, fetch

    loaded = load_spec(spec)
    if output is not None and not download:
        raise ArchspecError("--output needs --download")
    if not download:
        found = checkpoints(loaded) if name is None else (checkpoint(loaded, name),)
        rows = _listed(loaded, found)
        if json_:
            typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        else:
            _show(loaded.name, rows)
        return
    with Bar() as bar:
        kept = fetch(loaded, name, bar.update)
    facts = _checked(spec, loaded, kept) | {"output": None if output is None else str(output)}
    if output is not None:
        with replacing(output) as unfinished:
            shutil.copyfile(kept.file, unfinished)
    if json_:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _show_download(facts, kept)


def weights_file(spec: Any, given: str | None, *, interpolate: bool) -> Path | None:
    """The file that `--weights` means, downloaded where it names public weights."""
    from archspec.checkpoints import resolve

    if given is None:
        if interpolate:
            raise ArchspecError("--interpolate resizes what --weights loads: give both")
        return None
    with Bar() as bar:
        return resolve(spec, given, bar.update)


class Bar:
    """How much of a file is here, on stderr; nothing is shown before the first byte."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, here: int, total: int | None) -> None:
        if self._bar is None:
            self._start()
        self._bar.update(self._task, completed=here, total=total)

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("downloading"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        if not console.is_terminal:
            typer.echo("downloading the weights", err=True)
        self._task = self._bar.add_task("")
        self._bar.start()


def _listed(spec: Any, found: tuple[Checkpoint, ...]) -> list[dict[str, Any]]:
    expected = _expected_size(spec) if any(each.mapping.url for each in found) else None
    rows = []
    for each in found:
        known = each.known
        placed = each.mapping.url is not None
        rows.append(
            {
                "name": each.name,
                "source": each.mapping.source,
                "license": each.mapping.license,
                "url": each.mapping.url,
                "top1": each.top1,
                "sha256": known.sha256 if known is not None else each.mapping.sha256,
                "size": None if known is None else known.size,
                "expected_size": expected if placed else None,
                "file": None if known is None else str(each.file),
            }
        )
    return rows


def _expected_size(spec: Any) -> int | None:
    """In bytes, if it holds fp32, as public checkpoints nearly always do."""
    from archspec.counting import BYTES, count
    from archspec.expansion import expand

    return None if spec.holes else BYTES * int(count(expand(spec)).params)


def _checked(typed: str, spec: Any, kept: Kept) -> dict[str, Any]:
    """What came, once it is known to be a checkpoint of this network."""
    from archspec.expansion import expand

    with busy("reading the checkpoint"):
        from archspec.weights import check_fit

        loaded = check_fit(spec, expand(spec), kept.file)
    return {
        "name": kept.name,
        "url": kept.url,
        "file": str(kept.file),
        "is_new": kept.is_new,
        "size": kept.download.size,
        "sha256": kept.download.sha256,
        "vouched_by": kept.download.vouched_by,
        "naming": loaded.naming,
        "use": shlex.join(["archspec", "build", typed, "--weights", kept.name]),
    }


# -- words -----------------------------------------------------------------------------------------


def megabytes(size: int) -> str:
    """As the sites that offer checkpoints count: `113.4 MB`."""
    return f"{size / 1e6:,.1f} MB"


def _show(name: str, rows: list[dict[str, Any]]) -> None:
    from archspec.cli.tables import console, titled

    out = console()
    if not rows:
        out.print(f"{name} says of no public weights")
        return
    shown = titled(f"Public weights of {name}")
    shown.add_column("name", no_wrap=True)
    for column in ("top-1 %", "size"):
        shown.add_column(column, justify="right", no_wrap=True)
    for column in ("SHA-256", "licence"):
        shown.add_column(column)
    shown.add_column("downloaded")
    for row in rows:
        if row["size"] is not None:
            size = megabytes(row["size"])
        else:
            size = f"≈ {megabytes(row['expected_size'])} in fp32" if row["expected_size"] else ""
        shown.add_row(
            row["name"], str(row["top1"] or ""), size,
            f"{row['sha256'][:8]}…" if row["sha256"] else "", row["license"] or "not stated",
            "yes" if row["file"] else "no" if row["url"] else "",
        )  # fmt: skip
    out.print(shown)
    for row in rows:
        out.print(f"{row['name']}: names as in {row['source'] or 'no public repository'}")
        out.print(f"  {row['url'] or 'no address to download from'}", soft_wrap=True)
        if row["file"]:
            out.print(f"  {row['file']}", soft_wrap=True)


def _show_download(facts: dict[str, Any], kept: Kept) -> None:
    from archspec.cli.tables import console

    out = console()
    how = "downloaded from" if kept.is_new else "downloaded before from"
    out.print(f"{megabytes(facts['size'])} {how} {facts['url']}", soft_wrap=True)
    said = {
        "spec": "as the spec says",
        "server": "as the server states",
        None: "but nothing vouches for it: neither the spec nor the server states one",
    }[facts["vouched_by"]]
    out.print(f"SHA-256 {facts['sha256']}, {said}", soft_wrap=True)
    out.print("✓ every name and every shape is this network's", style="green")
    for key in ("file", "output"):
        if facts[key]:
            out.print(f"{'File' if key == 'file' else 'Copy'}: {facts[key]}", soft_wrap=True)
    out.print(f"Use: {facts['use']}", soft_wrap=True)

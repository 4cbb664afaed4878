"""`archspec compile`: from a spec or a search's winner to an artefact, compared and timed."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archspec import catalog
from archspec.cli.app import (
    DeviceOption,
    InputOption,
    InterpolateOption,
    JsonOption,
    SetOption,
    WeightsOption,
    app,
    busy,
    load_spec,
    named_values,
    tell,
)
from archspec.cli.weights import Bar
from archspec.errors import ArchspecError

if TYPE_CHECKING:
    from archspec.compile.job import Bench, Request
    from archspec.compile.subject import Subject


@app.command()
def compile(  # noqa: A001 - the command's name
    spec: Annotated[
        str | None,
        typer.Argument(
            metavar="SPEC",
            help="A YAML file, a shipped spec, or a folder of 'archspec train'. "
            "Default: the winner of the last search.",
        ),
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            "--backend", "-b", metavar="NAME[,NAME]", help="One or several; --list has them all."
        ),
    ] = "aoti",
    study: Annotated[
        str | None,
        typer.Option("--study", metavar="STUDY", help="The winner of this search."),
    ] = None,
    weights: WeightsOption = None,
    interpolate: InterpolateOption = False,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            "-p",
            metavar="P",
            help="fp32, tf32, bf16, fp16, int8 or fp8. Default: the backend's usual one.",
        ),
    ] = None,
    batch: Annotated[
        str, typer.Option(metavar="N|MIN:OPT:MAX", help="Images in a batch, or a range of it.")
    ] = "1",
    image: InputOption = None,
    sets: SetOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="The artefact's folder; of several backends, the folder that holds theirs. "
            "Default: runs/compiled/NAME-BACKEND-PRECISION-bBATCH.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    rewrites: Annotated[
        str, typer.Option(metavar="auto|all|none|NAME,…", help="auto: those that pay.")
    ] = "auto",
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="An option of the backend's own."),
    ] = None,
    benchmark: Annotated[
        bool, typer.Option("--benchmark/--no-benchmark", help="Time it beside eager mode.")
    ] = True,
    seconds: Annotated[
        float, typer.Option(metavar="S", min=0.05, help="How long each is timed, about.")
    ] = 3.0,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Copy what was compiled before.")
    ] = True,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what is rewritten, and compile nothing.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="tensorrt: say which operators convert; compile nothing."),
    ] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Say which backends can be used here.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Compile a network, compare it with its float64 self, time it beside eager mode.

    The artefact's folder holds the compiled network and manifest.json, which
    says what was compiled, with what, how exact and how fast it is. Exit
    codes: 1 an artefact is not exact enough (it is marked unfit), 2 wrong
    input, 3 a backend cannot be used here.
    """
    from archspec.cli import tables_compile

    if list_:
        with busy("looking at the backends"):
            rows = _available(device)
        _print(rows, json_, tables_compile.show_backends)
        return
    if explain and dry_run:
        raise ArchspecError("--explain and --dry-run are given: expected one of them")
    with busy("importing PyTorch"):
        from archspec.compile.job import Bench, check, check_settings
        from archspec.compile.output import check as check_output
    with Bar() as bar:
        subject = _subject(
            spec, image, sets, study=study, weights=weights, interpolate=interpolate,
            progress=bar.update,
        )  # fmt: skip
    requests = _requests(
        subject, backend, precision, batch, device, rewrites, named_values(option, "--option"),
        benchmark, seconds, cache,
    )  # fmt: skip
    for request in requests:
        check_settings(request)
    places = _places(subject, requests, output)
    if not explain and not dry_run:
        check(requests)
        for folder in places:
            check_output(folder)
    for note in subject.notes:
        tell(note)
    with busy("building the network"):
        bench = Bench.of(subject)
    if explain:
        _explain(bench, requests, json_)
        return
    if dry_run:
        _dry_run(bench, requests, json_)
        return
    _compile(bench, requests, places, json_)


def _subject(
    spec: str | None, image: str | None, sets: list[str] | None, **options: Any
) -> Subject:
    """What is compiled, with `--input` and `--set` applied."""
    from archspec.compile.subject import find

    if image is None and not sets:
        return find(spec, **options)
    # Path's own raises for a name too long
    is_folder = spec is None or (spec not in catalog.shipped() and os.path.isdir(spec))  # noqa: PTH112
    if spec is None or is_folder:
        raise ArchspecError(
            "--input and --set change a spec, and this network was trained as it is",
            hint="give the spec's file, such as runs/STUDY/winner.yaml",
        )
    # a space whose holes are filled here is a network
    return find(load_spec(spec, sets, image), name=spec, **options)


def _requests(
    subject: Subject, names: str, precision: str | None, batch: str, device: str, rewrites: str,
    options: dict[str, Any], benchmark: bool, seconds: float, cache: bool,
) -> list[Request]:  # fmt: skip
    from archspec.compile import backends
    from archspec.compile.calls import choose_precision, choose_rewrites, place_for
    from archspec.compile.job import Request
    from archspec.compile.settings import Batch, Settings

    size = subject.spec.input
    image = (size["channels"], size["height"], size["width"])
    chosen = choose_rewrites(rewrites)
    found = []
    for name in dict.fromkeys(part.strip() for part in names.split(",")):
        kind = backends.find(name)
        place = place_for(kind, device)
        settings = Settings(
            image, Batch.parse(batch), choose_precision(kind, precision, place), place, options
        )
        found.append(Request(kind, settings, chosen, benchmark, seconds, cache))
    return found


def _available(device: str) -> list[dict[str, Any]]:
    from archspec.compile import backends
    from archspec.compile.calls import place_for
    from archspec.compile.job import lacks
    from archspec.compile.settings import Settings

    rows = []
    for name, kind in sorted(backends.find_all().items()):
        settings = Settings((3, 224, 224), device=place_for(kind, device))
        offered = kind.precisions.get(settings.device_kind, ())
        missing = lacks(kind, settings)
        row = {"name": name, "about": kind.about, "usable": not missing, "missing": missing}
        rows.append(row | {"precisions": list(offered), "install": kind.install()})
    return rows


def _explain(bench: Bench, requests: list[Request], json_: bool) -> None:
    from archspec.cli import tables_compile
    from archspec.compile.explain import explain

    rows = [explain(bench, request) for request in requests]
    _print(rows, json_, tables_compile.show_rewrites)


def _dry_run(bench: Bench, requests: list[Request], json_: bool) -> None:
    from archspec.cli import tables_compile
    from archspec.compile.rewriting import rewrite

    rows, complete = [], True
    for request in requests:
        network = rewrite(bench.network, request.chosen).network
        coverage = request.backend.dry_run(network, request.settings)
        rows.append({"backend": request.backend.name} | coverage.to_dict())
        complete &= coverage.is_complete
    _print(rows, json_, tables_compile.show_coverage)
    if not complete:
        raise typer.Exit(1)


def _places(subject: Subject, requests: list[Request], output: Path | None) -> list[Path]:
    """Where the artefacts go."""
    from archspec.compile.calls import default_output

    if output is None:
        return [default_output(subject.spec.name, request) for request in requests]
    if len(requests) == 1:
        return [output]
    return [output / request.backend.name for request in requests]


def _compile(bench: Bench, requests: list[Request], places: list[Path], json_: bool) -> None:
    from archspec.cli.tables_compile import show_artefact
    from archspec.compile.job import compile_network

    rows, fit, fault = [], True, None
    for request, folder in zip(requests, places, strict=True):
        try:
            with steps(request.backend.name) as step:
                done = compile_network(bench, request, folder, step)
        except ArchspecError as error:
            if len(requests) == 1:
                raise
            typer.echo(f"error: {request.backend.name}: {error}", err=True)
            fault = error
            continue
        fit &= done.manifest.fit
        rows.append(
            {"folder": str(done.folder), "from_cache": done.from_cache, "fit": done.manifest.fit}
            | done.manifest.model_dump(mode="json")
        )
        if not json_:
            show_artefact(done)
    if json_:
        typer.echo(json.dumps(rows, indent=2))
    if fault is not None:
        raise typer.Exit(fault.exit_code)
    if not fit:
        raise typer.Exit(1)


@contextlib.contextmanager
def steps(name: str) -> Iterator[Callable[[str], None]]:
    """Tell on stderr what is being done: in one changing line on a terminal, else line by line."""
    if not sys.stderr.isatty():
        yield lambda text: typer.echo(f"{name}: {text}", err=True)
        return
    from rich.console import Console

    with Console(stderr=True).status(name) as status:
        yield lambda text: status.update(f"{name}: {text} …")


def _print(
    rows: list[dict[str, Any]], json_: bool, show: Callable[[list[dict[str, Any]]], None]
) -> None:
    if json_:
        typer.echo(json.dumps(rows, indent=2))
    else:
        show(rows)

"""`archspec search`: the best network within a budget; `archspec search report`."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from archspec.cli.app import DeviceOption, JsonOption, SetOption, app, load_spec
from archspec.errors import ArchspecError

search_app = typer.Typer(
    name="search",
    invoke_without_command=True,
    no_args_is_help=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.add_typer(search_app)

FolderOption = Annotated[
    Path, typer.Option("--runs", metavar="FOLDER", help="Where studies are kept.")
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="An SQLite file or a database's URL. Default: a file in the study's folder.",
    ),
]


@search_app.callback()
def search(
    context: typer.Context,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            "-b",
            metavar="BUDGET",
            help="5GFLOPs, 600M, 30Mparams, a window 4.5G..5G, or a spec that is not to be "
            "exceeded; several with commas between.",
        ),
    ] = None,
    space: Annotated[
        str, typer.Option(metavar="SPEC", help="A spec with holes.")
    ] = "smlpnet_space",
    sets: SetOption = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="An image folder, a Parquet file (or a folder of them), or a Hugging Face data "
            "set. Default: scikit-learn's digits, which need no download.",
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            metavar="NAME[,NAME]",
            help="accuracy, latency, flops, params, naswot, synflow or grad_norm; several for a "
            "front.",
        ),
    ] = "accuracy",
    trials: Annotated[int | None, typer.Option(metavar="N", min=1, help="Networks to try.")] = None,
    time_limit: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Begin no trial after 90s, 30m, 2h; then the finalists."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Of one candidate's training.")
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(
            metavar="SIDE",
            min=1,
            help="Size to train at; the budget is counted at the spec's own input size.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Images per step. Default: by the number of images."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Training images at most.")
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="tpe (default), gp, uniform, or nsga2 (default for a front)."
        ),
    ] = None,
    finalists: Annotated[
        int, typer.Option(metavar="N", min=0, help="Best ones to train again with fresh seeds.")
    ] = 5,
    workers: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Processes on this machine that try networks, one GPU each where there are "
            "several. More may join from elsewhere: the same command with the same --storage and "
            "--study.",
        ),
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Place the workers on a Ray cluster that runs (HOST:PORT, or auto), one GPU each; "
            "needs a database as --storage.",
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Default: made of the settings, so that the same command goes on."
        ),
    ] = None,
    storage: StorageOption = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0)] = 0,
    device: DeviceOption = "auto",
    precision: Annotated[
        str | None, typer.Option(metavar="P", help="fp32 or bf16. Default: bf16 on CUDA.")
    ] = None,
    folder: FolderOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Search a space for the best network within a budget, and write it as a spec.

    No network outside the budget is trained. Ctrl-C stops at any moment, and the same command goes
    on. The winner is RUNS/STUDY/winner.yaml, with its weights beside it, and a report.

    Exit code 1 if there is no winner, since no trial came to its end; 130 after Ctrl-C.
    """
    if context.invoked_subcommand is not None:
        return
    if not budget:
        raise ArchspecError(
            "a search needs a budget", hint="such as --budget 5GFLOPs, or --budget smlpnet_t"
        )
    from archspec.cli.progress import Display, stoppable
    from archspec.search.searching import run
    from archspec.search.train.outcomes import Interrupted

    seconds = _seconds(time_limit)
    chosen = load_spec(space, sets)
    try:
        with Display(quiet=json_) as display, stoppable(display) as should_stop:
            outcome = run(
                chosen, budget, objective=objective, trials=trials, time_limit=seconds,
                data=data, limit=limit, study=study, storage=storage, seed=seed, device=device,
                resolution=resolution, sampler=sampler, epochs=epochs, batch_size=batch_size,
                precision=precision, finalists=finalists, workers=workers, ray=ray,
                folder=folder, listener=display, should_stop=should_stop,
            )  # fmt: skip
    except (Interrupted, KeyboardInterrupt) as stop:
        typer.echo(str(stop) or "interrupted; the same command goes on", err=True)
        raise typer.Exit(130) from None
    if json_:
        facts = outcome.record.to_dict()
        facts |= {
            "folder": str(outcome.folder),
            "report": None if outcome.report is None else str(outcome.report),
            "weights": None if outcome.weights is None else str(outcome.weights),
            "winner_spec": None if outcome.winner is None else str(outcome.folder / "winner.yaml"),
        }
        print_json(facts)
    else:
        from archspec.cli import tables_search

        tables_search.show_outcome(outcome)
    if outcome.winner is None and not outcome.is_elsewhere:
        raise typer.Exit(1)


@search_app.command()
def report(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A study's name, or its folder (runs/NAME).")
    ],
    storage: StorageOption = None,
    folder: FolderOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Write a study's report anew: one HTML page, and its pictures as PNG."""
    from archspec.cli.app import busy
    from archspec.search.reading import find_record, place_of_study
    from archspec.search.report import write_report

    found, place = find_record(study, folder, storage), place_of_study(study, folder)
    if json_:
        print_json(found.to_dict())
        return
    with busy("drawing"):
        winner = place / "winner.yaml"
        chosen = load_spec(str(winner)) if found.winner is not None and winner.is_file() else None
        page = write_report(found, place, chosen)
    from archspec.cli import tables_search

    tables_search.show_trials(found)
    typer.echo(f"wrote {page} and {page.parent / 'plots'}")


def print_json(facts: dict[str, Any]) -> None:
    """What is not finite is null: JSON knows no other numbers."""
    typer.echo(json.dumps(_finite(facts), indent=2, ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list | tuple) else value


def _seconds(text: str | None) -> float | None:
    """`90s`, `30m`, `2h`, or a plain number of seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*(s|m|min|h)?", text.strip())
    if match is None:
        raise ArchspecError(f"--time-limit takes a time such as 90s, 30m or 2h, found {text!r}")
    return float(match[1]) * {"s": 1, "m": 60, "min": 60, "h": 3600}[match[2] or "s"]

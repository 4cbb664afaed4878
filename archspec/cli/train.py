"""`archspec train`: one network at full length, with the trainer that scores candidates."""

from __future__ import annotations

import contextlib
import json
import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from archspec.cli.app import (
    DeviceOption,
    InterpolateOption,
    JsonOption,
    SetOption,
    SpecArgument,
    WeightsOption,
    app,
    busy,
    load_spec,
    named_values,
)
from archspec.cli.weights import weights_file
from archspec.errors import ArchspecError


@app.command()
def train(
    spec: SpecArgument,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            "-d",
            metavar="DATA",
            help="A folder of images by class, Parquet files, … Default: scikit-learn's digits.",
        ),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", "-e", metavar="N")] = 100,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Default: runs/train/NAME."),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(
            "--resolution",
            "-r",
            metavar="R",
            min=1,
            help="Train on images of R×R pixels. Default: the spec's own input.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Images per step. Default: 128, or fewer for small data."),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            "--lr", metavar="LR", help="Highest learning rate. Default: by the batch size."
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(metavar="P", help="bf16 or fp32. Default: bf16 on CUDA, else fp32."),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Another setting of the recipe: weight_decay=0.1, mixup=0.2, warmup_epochs=5, …",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of weights and training.")] = 0,
    device: DeviceOption = "auto",
    devices: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Train on so many devices of this machine, or on all its GPUs (auto), "
            "each with its share of every batch. Under torchrun and Slurm, they say it.",
        ),
    ] = None,
    sets: SetOption = None,
    weights: WeightsOption = None,
    interpolate: InterpolateOption = False,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Train on so many images at most."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Train a network, at the classes of the data, and keep its weights.

    The folder gets spec.yaml, model.safetensors (after the last epoch),
    metrics.csv, tensorboard/, checkpoint.pt and result.json.
    However it is stopped, the same command goes on.
    """
    named = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "precision": precision}
    named = {name: value for name, value in named.items() if value is not None} | named_values(
        recipe, "--recipe"
    )
    asked = _Asked(
        load_spec(spec, sets), data, named, output, resolution, seed, device, weights, interpolate,
        limit, json_,
    )  # fmt: skip
    with busy("importing PyTorch"):
        from archspec.search.train.fitting import resolution_of
        from archspec.search.train.launch import launch
        from archspec.search.train.ranks import devices_here, outside_place
        from archspec.search.train.recipe import make_recipe

    # what is wrong with these is said before any image is read
    make_recipe(named)
    resolution_of(asked.spec, resolution)
    place = outside_place()
    count = devices_here(devices, device, place)
    if place is None and count > 1:
        try:
            launch(partial(_as_one, asked), count)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None  # the first process has told it
    elif place is None or place.rank == 0:
        _train(asked, place)
    else:
        _follow(asked, place)


@dataclass(frozen=True)
class _Asked:
    """What the command was given."""

    spec: Any
    data: str | None
    recipe: dict[str, Any]
    output: Path | None
    resolution: int | None
    seed: int
    device: str
    weights: str | None
    interpolate: bool
    limit: int | None
    json: bool


def _as_one(asked: _Asked, place: Any) -> None:
    """The work of a process that this command started."""
    try:
        _train(asked, place)
    except typer.Exit as end:
        raise SystemExit(end.exit_code) from None


def _follow(asked: _Asked, place: Any) -> None:
    """Train along, in a process of torchrun or Slurm that is not the first one.

    What is to be said, the first one says; before they are joined, the first one of each machine.
    """
    from archspec.search.train.outcomes import LateOutOfMemory

    try:
        _train(asked, place)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except ArchspecError as error:
        if place.local == 0 or isinstance(error, LateOutOfMemory):
            raise
        raise typer.Exit(error.exit_code) from None


def _train(asked: _Asked, place: Any) -> None:
    """Train; with a place, as one of several processes, the first of which alone tells and writes.

    Args:
        place: an `archspec.search.train.ranks.Place`, or None.
    """
    from archspec.search.data import load
    from archspec.search.train.fitting import fitted, resolution_of
    from archspec.search.train.folder import open_folder
    from archspec.search.train.job import train_in_folder
    from archspec.search.train.ranks import joined
    from archspec.search.train.recipe import make_recipe, suited_batch_size

    size = resolution_of(asked.spec, asked.resolution)
    with contextlib.ExitStack() as stack:
        fabric = stack.enter_context(
            joined(asked.device, make_recipe(asked.recipe).precision, place)
        )
        # the first process of a machine brings weights and images, and keeps them for the others
        said = busy("reading the images") if fabric.is_global_zero else contextlib.nullcontext()
        with fabric.rank_zero_first(local=True):
            start = weights_file(asked.spec, asked.weights, interpolate=asked.interpolate)
            with said:
                images = load(
                    asked.data, size=size, channels=asked.spec.input["channels"], limit=asked.limit
                )
        settings = make_recipe({"batch_size": suited_batch_size(len(images.train))} | asked.recipe)
        whole = fitted(asked.spec, images, size)
        if not fabric.is_global_zero:
            train_in_folder(
                whole, images, settings, None, fabric, seed=asked.seed, weights=start,
                interpolate=asked.interpolate,
            )  # fmt: skip
            return
        folder = stack.enter_context(open_folder(asked.output or Path("runs", "train", whole.name)))
        progress = Progress(settings.epochs, folder.path)
        among = f", {fabric.world_size} devices" if fabric.world_size > 1 else ""
        progress.note(f"{whole.name} at {size}×{size} on {images.describe()}{among}")
        try:
            with progress:
                facts = train_in_folder(
                    whole, images, settings, folder, fabric, seed=asked.seed,
                    weights=start, interpolate=asked.interpolate,
                    on_epoch=progress.epoch, on_step=progress.step,
                    on_note=progress.note,
                )  # fmt: skip
        except KeyboardInterrupt:
            typer.echo(progress.interrupted(folder.checkpoint.exists()), err=True)
            raise typer.Exit(130) from None
        if not progress.live:
            progress.note(f"{folder.path} holds this training, ended: nothing was left to do")
        facts |= {"output": str(folder.path)}
    if asked.json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        _show(facts)


class Progress:
    """How far a training has got: a bar on a terminal, and a line for each epoch, on stderr."""

    def __init__(self, epochs: int, folder: Path) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.done = 0
        """Whole epochs, those before a resume included."""
        self.live = False
        """Whether anything was trained in this process."""
        self._epochs, self._folder = epochs, folder
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            console=self._console, transient=True, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("starting", total=epochs)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def interrupted(self, kept: bool) -> str:
        """What to say after Ctrl-C. `kept`: whether there is a checkpoint."""
        if not kept:
            return "interrupted before the end of an epoch; the same command starts again"
        when = f" after epoch {self.done} of {self._epochs}" if self.done else ""
        return f"interrupted{when}; the same command goes on from {self._folder}"

    def step(self, step: int, steps: int) -> None:
        if not self.live and self.done:
            self.note(f"going on after epoch {self.done} of {self._epochs} ({self._folder})")
        self.live = True
        self._bar.update(
            self._task, completed=self.done + step / steps,
            description=f"epoch {self.done + 1} of {self._epochs}",
        )  # fmt: skip

    def epoch(self, epoch: Any) -> None:
        self.done = epoch.number
        if self.live:
            self.note(
                f"epoch {epoch.number:{len(str(self._epochs))}}/{self._epochs}   "
                f"held out: {epoch.accuracy:6.2%}, loss {epoch.loss:.3f}   "
                f"train loss {epoch.train_loss:.3f}   {epoch.images_per_second:,.0f} images/s"
            )


def _show(facts: dict[str, Any]) -> None:
    from rich import box
    from rich.table import Table

    from archspec.cli.tables import console

    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.add_row("accuracy on held-out images", f"{facts['accuracy']:.2%}")
    if facts["test_accuracy"] is not None:
        table.add_row("accuracy on test images", f"{facts['test_accuracy']:.2%}")
    table.add_row("epochs", str(len(facts["epochs"])))
    table.add_row("training time", f"{facts['seconds']:,.1f} s on {facts['device']}")
    out, folder = console(), Path(facts["output"])
    out.print(table)
    out.print(f"Weights of the last epoch: {folder / 'model.safetensors'}", soft_wrap=True)
    command = ["archspec", "build", folder / "spec.yaml", "--weights", folder / "model.safetensors"]
    out.print(f"Check: {shlex.join(map(str, command))}", soft_wrap=True)

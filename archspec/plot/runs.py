"""The user's trainings and searches as series. Their accuracies are of the data they used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from archspec.errors import ArchspecError
from archspec.plot.points import Point, Series
from archspec.spec import load


class RunFacts(BaseModel):
    """What of a training's result.json is drawn."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    accuracy: Annotated[float, Field(ge=0, le=1)]
    data: str
    epochs: Annotated[tuple[object, ...], Field(min_length=1)]


def of_run(folder: Path) -> Series:
    """A training of `archspec train`: the network at the size that it was trained at.

    Raises:
        ArchspecError: it is no such folder, or the training has not ended.
    """
    from archspec.api import cost
    from archspec.compile.records import RESULT, parsed
    from archspec.compile.subject import SPEC

    for name, lacks in ((SPEC, "is not the folder of a training"), (RESULT, "has not ended yet")):
        if not (folder / name).is_file():
            raise ArchspecError(
                f"--run {folder}: {lacks}: there is no {name}",
                hint="'archspec train' writes runs/train/NAME; --study takes a search",
            )
    facts = parsed(RunFacts, folder / RESULT, "the same 'archspec train' command writes it anew")
    table = cost(load(folder / SPEC))
    point = Point(folder.resolve().name, int(table.params), int(table.flops), 100 * facts.accuracy)
    name = f"{point.label} ({_epochs(len(facts.epochs))})"
    return Series(name, (point,), kind="run", data=_data(facts.data))


def of_study(study: str, runs: Path, storage: str | None = None) -> list[Series]:
    """A search's complete trials, and its winner.

    Raises:
        ArchspecError: there is no such study, it has no accuracies, or no trial has ended.
    """
    from archspec.search.reading import find_record
    from archspec.search.report.results import main, settled

    record = find_record(study, runs, storage)
    if "accuracy" not in record.objectives:
        raise ArchspecError(
            f"--study {study}: its networks have no accuracy; it searched for "
            f"{', '.join(record.objectives)}"
        )
    points = {}
    for trial in record.trials:
        value = settled(record, trial, main(record))
        if value is not None and trial.params is not None and trial.flops is not None:
            label = f"trial {trial.number}"
            points[trial.number] = Point(label, trial.params, trial.flops, 100 * value)
    if not points:
        raise ArchspecError(f"--study {study}: no trial has come to its end yet")
    epochs = record.plan.get("epochs")
    name = f"{record.name} ({_epochs(epochs)})" if epochs else record.name
    data = _data(record.data)
    ordered = tuple(sorted(points.values(), key=lambda point: point.flops))
    found = [Series(name, ordered, kind="trials", data=data)]
    if record.winner in points:
        best = Point(f"winner of {record.name}", *_figures(points[record.winner]))
        found.append(Series(best.label, (best,), kind="winner", data=data))
    return found


def _figures(point: Point) -> tuple[int, int, float]:
    return point.params, point.flops, point.accuracy


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' if count > 1 else ''}"


def _data(phrase: str) -> str:
    """`digits (scikit-learn)` of a phrase with the numbers of images after a colon."""
    return phrase.rpartition(": ")[0] or phrase

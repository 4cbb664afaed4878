"""The winner and the front as specs: files that every other command takes."""

from __future__ import annotations

from pathlib import Path

from archspec.errors import ArchspecError
from archspec.files import write_text
from archspec.search.record import Record, TrialRecord
from archspec.search.space import Space
from archspec.spec import Spec, loads
from archspec.written import to_yaml

WINNER = "winner.yaml"
FRONT = "front"


def write_specs(record: Record, space: Space, folder: Path) -> Spec | None:
    """Write `winner.yaml` and, with several objectives, `front/*.yaml`; the winner as it reads.

    Raises:
        ArchspecError: a file cannot be written.
    """
    if record.winner is None:
        return None
    winner = _write(record, space, record.trial(record.winner), folder / WINNER, "winner")
    if record.front:
        _make(folder / FRONT)
        wanted = {f"trial{number}.yaml": number for number in record.front}
        for path in (folder / FRONT).glob("trial*.yaml"):
            if path.name not in wanted:
                path.unlink()
        for name, number in wanted.items():
            _write(record, space, record.trial(number), folder / FRONT / name, f"trial{number}")
    return winner


def _write(record: Record, space: Space, trial: TrialRecord, path: Path, name: str) -> Spec:
    spec = space.spec_of(space.row(trial.choices), name=name)
    figures = ", ".join(
        f"{objective} {value:.4g}"
        for objective, value in zip(record.objectives, trial.values, strict=True)
    )
    about = f"Trial {trial.number} of the search {record.name} ({record.budget}): {figures}."
    text = to_yaml(spec.with_values({"about": about}, origin="the winner's"))
    written = loads(text, str(path))
    if written.holes:
        raise ArchspecError(f"{path} would have holes")
    write_text(path, text)
    return written


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArchspecError(f"cannot write {path}: {error.strerror or error}") from None

"""The winner and the front as specs: files that every other command takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from archspec.errors import ArchspecError, SpecError
from archspec.files import write_text
from archspec.search.budgets import UNITS, short
from archspec.search.feasibility import FeasibleSet
from archspec.search.record import Record, TrialRecord
from archspec.spec import Spec, loads
from archspec.written import to_yaml

WINNER = "winner.yaml"
FRONT = "front"


class WinnerError(ArchspecError):
    """The winner is not what it was taken for; no file is written."""

    exit_code = 1


def write_specs(
    record: Record, feasible: FeasibleSet, folder: Path, note: Callable[[str], None]
) -> Spec | None:
    """Write `winner.yaml` and, with several objectives, `front/*.yaml`; the winner as it reads.

    The winner is checked as `archspec build` does, and its measured cost against the budget, before
    it is named.

    Args:
        note: told when the winner is too large to be checked on this machine.

    Raises:
        WinnerError: its figures differ from those measured, or are outside the budget.
        ArchspecError: a file cannot be written.
    """
    if record.winner is None:
        return None
    path = folder / WINNER
    text, winner = _written(record, feasible, record.trial(record.winner), path, _name(record))
    if not _is_there(path, text):
        _verify(winner, feasible, note)
        write_text(path, text)
    if record.front:
        _write_front(record, feasible, folder / FRONT)
    return winner


def _name(record: Record) -> str:
    """`winner-STUDY`, so that winners of several studies can be told apart."""
    return f"winner-{record.name.replace('+', '-')}"[:100]


def _write_front(record: Record, feasible: FeasibleSet, folder: Path) -> None:
    wanted = {f"trial{number}.yaml": number for number in record.front}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("trial*.yaml"):
            if path.name not in wanted:
                path.unlink()
    except OSError as error:
        raise ArchspecError(f"cannot write {folder}: {error.strerror or error}") from None
    for name, number in wanted.items():
        path = folder / name
        write_text(path, _written(record, feasible, record.trial(number), path, path.stem)[0])


def _is_there(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def _written(
    record: Record, feasible: FeasibleSet, trial: TrialRecord, path: Path, name: str
) -> tuple[str, Spec]:
    """A trial's network as text, and as it reads."""
    space = feasible.space
    spec = space.spec_of(space.row(trial.choices), name=name)
    told = spec.with_values({"about": about(record, trial)}, origin="the winner's")
    # foreign checkpoints and published figures are of the networks that the space was made from
    text = to_yaml(told, leave_out=("weights", "published"))
    return text, loads(text, str(path))


def about(record: Record, trial: TrialRecord) -> str:
    """Where a network comes from, in a sentence or two."""
    text = f"Trial {trial.number} of the search {record.name} ({record.budget})"
    if trial.state == "complete":
        pairs = zip(record.objectives, trial.values, strict=True)
        text += ": " + ", ".join(f"{name} {value:.4g}" for name, value in pairs)
    elif trial.rungs:
        last = max(trial.rungs)
        text += f": dropped after epoch {last} with {record.objectives[0]} {trial.rungs[last]:.4g}"
    again = {finalist.number: finalist.mean for finalist in record.finalists}
    if trial.number in again:
        text += f"; trained again in full with a fresh seed, accuracy {again[trial.number]:.4g}"
    return f"{text}."


def _verify(winner: Spec, feasible: FeasibleSet, note: Callable[[str], None]) -> None:
    """Build the winner, measure it, and hold both against the rules and the budget."""
    from archspec.check import check
    from archspec.counting import count
    from archspec.expansion import expand
    from archspec.lower import lower
    from archspec.measure import measure
    from archspec.memory import check_memory
    from archspec.module import to_module

    graph = expand(winner)
    table = count(graph)
    _within(feasible, int(table.flops), int(table.params), "by rule")
    try:
        check_memory(graph, forward=True)
    except SpecError as error:
        note(f"the winner was not measured on this machine: {error.message}")
        return
    shape = winner.input
    measured = measure(
        to_module(lower(graph)), (shape["channels"], shape["height"], shape["width"])
    )
    result = check(graph, table, measured)
    if not result.agrees:
        lines = "".join(f"\n  {difference}" for difference in result.differences[:5])
        raise WinnerError(f"the winner's figures differ from those measured{lines}")
    _within(feasible, measured.fvcore_flops, measured.total_params, "as measured")


def _within(feasible: FeasibleSet, flops: int, params: int, how: str) -> None:
    if not feasible.budget.allows(flops, params):
        raise WinnerError(
            f"the winner is outside the budget {how}: {short(flops)} {UNITS['flops']}, "
            f"{short(params)} {UNITS['params']}, where {feasible.budget} is asked for"
        )

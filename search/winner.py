"""The winner and the front as specs: files that every other command takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from archspec.errors import ArchspecError, SpecError
from archspec.files import make_folder, sha256, write_text, writing
from archspec.search.budgets import UNITS, short
from archspec.search.feasibility import FeasibleSet
from archspec.search.kept import FACTS, TRAINED, WEIGHTS, WINNER, Facts
from archspec.search.record import Record, TrialRecord
from archspec.spec import Spec, loads
from archspec.written import to_yaml

if TYPE_CHECKING:
    from archspec.search.candidate import Workshop
    from archspec.search.trained import Fresh

FRONT = "front"


class WinnerError(ArchspecError):
    """The winner is not what it was taken for; no file is written."""

    exit_code = 1


def write_winner(record: Record, shop: Workshop, fresh: Fresh | None) -> Spec | None:
    """Write `winner.yaml` and, with several objectives, `front/*.yaml`; the winner as it reads.

    The winner is checked as `archspec build` does, and its measured cost against the budget, before
    it is named.

    Args:
        fresh: its weights, which become `winner.safetensors`, with `winner.json` beside them.

    Raises:
        WinnerError: its figures differ from those measured, or are outside the budget.
        ArchspecError: a file cannot be written.
    """
    if record.winner is None:
        return None
    feasible, folder = shop.feasible, shop.folder
    path = folder / WINNER
    text, winner = _written(record, feasible, record.trial(record.winner), path, _name(record))
    if not _is_there(path, text):
        _verify(winner, feasible, shop.listener.note)
    # winner.yaml comes last, and anew each time: the newest is that of the search that ended last
    if fresh is not None:
        _write_trained(record, shop, fresh, winner)
    write_text(path, text)
    if fresh is None:
        _remove(folder, FACTS, WEIGHTS, TRAINED)  # of an earlier winner
    if record.front:
        _write_front(record, feasible, folder / FRONT)
    return winner


def _name(record: Record) -> str:
    """`winner-STUDY`, so that winners of several studies can be told apart."""
    return f"winner-{record.name.replace('+', '-')}"[:100]


def _write_trained(record: Record, shop: Workshop, fresh: Fresh, winner: Spec) -> None:
    """The winner's weights, the network that they belong to, and at last what they are.

    winner.json has the digests of all: what a killed process left half exchanged shows.
    """
    from archspec.search.train.batches import normalisation
    from archspec.search.train.fitting import sized

    assert shop.data is not None
    assert record.winner is not None
    folder, size, classes = shop.folder, shop.settings.resolution, shop.data.classes
    weights, path = folder / WEIGHTS, folder / TRAINED
    own = sized(winner, size, len(classes))
    is_other = own.digest != winner.digest
    if is_other:
        told = (
            f"{winner.header.about} As it was trained: {size[0]}×{size[1]}, {len(classes)} classes."
        )
        text = to_yaml(own.with_values({"about": told}, origin="the winner's"))
        own = loads(text, str(path))
    if fresh.path != weights:
        with writing(weights):
            fresh.path.replace(weights)
    if is_other:
        write_text(path, text)
    with writing(weights):
        digest = sha256(weights)
    mean, std = normalisation(shop.data)
    facts = Facts(
        study=record.name,
        trial=record.winner,
        spec=TRAINED if is_other else WINNER,
        spec_digest=own.digest,
        winner_digest=winner.digest,
        weights_sha256=digest,
        resolution=size,
        classes=classes,
        data=shop.data.describe(),
        images=shop.data.name,
        data_digest=shop.data.digest,
        mean=mean,
        std=std,
        seed=fresh.seed,
        epochs=fresh.epochs,
        accuracy=fresh.accuracy,
        loss=fresh.loss,
    )
    write_text(folder / FACTS, facts.model_dump_json(indent=2) + "\n")
    if not is_other:
        _remove(folder, TRAINED)


def _remove(folder: Path, *names: str) -> None:
    for name in names:
        with writing(folder / name):
            (folder / name).unlink(missing_ok=True)


def _write_front(record: Record, feasible: FeasibleSet, folder: Path) -> None:
    wanted = {f"trial{number}.yaml": number for number in record.front}
    make_folder(folder)
    with writing(folder):
        for path in folder.glob("trial*.yaml"):
            if path.name not in wanted:
                path.unlink()
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

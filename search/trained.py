"""The weights of the finalists: kept until the winner is known, and then the winner's alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from archspec.files import make_folder, sha256
from archspec.search.candidate import Workshop, caught
from archspec.search.kept import FACTS, WEIGHTS, Facts
from archspec.search.record import Record
from archspec.search.train.tensors import read_facts, write_tensors
from archspec.spec import Spec

if TYPE_CHECKING:
    from torch import nn

    from archspec.search.train.history import Result

FOLDER = "finalists"
"""In the study's folder, while it has not come to its end."""


@dataclass(frozen=True)
class Fresh:
    """A whole training with a fresh seed, and the file with its weights."""

    path: Path
    seed: int
    epochs: int
    accuracy: float
    loss: float


def keeper(shop: Workshop, spec: Spec, seed: int) -> Callable[[nn.Module, Result], None]:
    """What keeps the weights of a finalist when its training has ended.

    That is before its result stands in the study: a result without weights is never there.
    """
    path = _place(shop, spec, seed)

    def keep(model: nn.Module, result: Result) -> None:
        make_folder(path.parent)
        last = result.history[-1]
        found = {"epochs": last.number, "accuracy": last.accuracy, "loss": last.loss}
        write_tensors(path, model.state_dict(), _mark(shop, spec, seed) | found)

    return keep


def of_winner(record: Record, shop: Workshop) -> Fresh | None:
    """The weights of the winner's training with a fresh seed; None if it had none.

    Where the study has its result and this folder not its weights (they were not kept in earlier
    versions; another process of a shared storage trained it; it won only now), it is trained
    once more with the same seed.

    Raises:
        Interrupted: the caller stopped that.
        ArchspecError: the weights cannot be written.
    """
    known = {finalist.number: finalist.accuracy for finalist in record.finalists}
    if record.winner is None or record.winner not in known or shop.data is None:
        return None
    accuracy = known[record.winner]
    seed = min(accuracy, key=lambda seed: (-accuracy[seed], seed))
    space = shop.feasible.space
    spec = space.spec_of(space.row(record.trial(record.winner).choices))
    own = shop.folder / WEIGHTS
    for path in (_place(shop, spec, seed), own):
        facts = read_facts(path)
        if facts is None or _mark(shop, spec, seed).items() - facts.items():
            continue
        if path != own or not _is_changed(own, record.winner, seed):
            return Fresh(path, seed, facts["epochs"], facts["accuracy"], facts["loss"])
    return _train(shop, spec, record.winner, seed, accuracy[seed])


def forget(shop: Workshop) -> None:
    """Take away the weights of all finalists, once the winner has its own."""
    folder = shop.folder / FOLDER
    with contextlib.suppress(OSError):  # they are in nobody's way
        for path in folder.glob("*.safetensors"):
            path.unlink()
        folder.rmdir()


def _place(shop: Workshop, spec: Spec, seed: int) -> Path:
    return shop.folder / FOLDER / f"{spec.digest[:16]}-{seed}.safetensors"


def _mark(shop: Workshop, spec: Spec, seed: int) -> dict[str, Any]:
    """What a training's weights hang on."""
    return {"network": spec.digest, "settings": shop.settings.digest, "seed": seed}


def _is_changed(path: Path, trial: int, seed: int) -> bool:
    """Whether somebody changed the weights after winner.json was written for them."""
    try:
        facts = Facts.model_validate_json((path.parent / FACTS).read_bytes())
        same = (facts.trial, facts.seed) == (trial, seed)
        return same and facts.weights_sha256 != sha256(path)
    except (OSError, ValidationError):
        return False  # there is none yet


def _train(shop: Workshop, spec: Spec, trial: int, seed: int, recorded: float) -> Fresh | None:
    hear = shop.listener
    hear.note(f"the weights of the winner, trial {trial}, are not here: it is trained once more")
    hear.finalist(trial, 1, 1, seed)
    try:
        result = shop.train(
            spec, seed, lambda epoch: hear.epoch(trial, epoch.number, epoch.accuracy),
            keeper(shop, spec, seed),
        )  # fmt: skip
    except caught() as error:
        hear.note(f"the winner has no weights, since that training failed: {error}")
        hear.finalist_ended(trial, seed, None)
        return None
    last = result.history[-1]
    hear.finalist_ended(trial, seed, last.accuracy)
    if last.accuracy != recorded:
        hear.note(
            f"the winner reached {last.accuracy:.2%} this time, and {recorded:.2%} when it was "
            f"chosen: another machine or version; {FACTS} has what its weights reach"
        )
    return Fresh(_place(shop, spec, seed), seed, last.number, last.accuracy, last.loss)

"""What `archspec compile` is to compile: a network, its weights, and what is known of them."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from archspec import catalog
from archspec.checkpoints import resolve
from archspec.compile.errors import CompileError
from archspec.compile.records import (
    RESULT,
    Known,
    beside,
    check_weights,
    of_training,
    of_winner,
    parsed,
)
from archspec.compile.studies import LISTED, is_search, last_ended, study_folder
from archspec.download import Progress
from archspec.errors import Mark
from archspec.search.kept import FACTS, TRAINED, WEIGHTS, WINNER, Facts, is_running
from archspec.spec import Spec, as_spec, load

MODEL, SPEC = "model.safetensors", "spec.yaml"
"""Of a training's folder."""
_AGAIN = "the same 'archspec search' command writes it anew"
_TRAIN_AGAIN = "the same 'archspec train' command writes it anew"


@dataclass(frozen=True)
class Subject:
    """A network without holes, and its weights."""

    spec: Spec
    weights: Path | None
    """A checkpoint, which has not been opened; None: random weights."""
    origin: str
    """In a phrase: `the winner of the search s1 (runs/s1/winner.yaml)`, `spec smlpnet_t`."""
    classes: tuple[str, ...] | None
    """Their names, where known."""
    mean: tuple[float, ...] | None
    """What the weights expect to be taken away, per channel of images scaled to 0 … 1."""
    std: tuple[float, ...] | None
    """Likewise: what they expect to be divided by then."""
    images: str | None
    """The data that they were trained on, as given (`digits`, a path)."""
    notes: tuple[str, ...]
    """What the user should know, each without a full stop."""
    interpolate: bool = False
    """Whether the position embeddings among the weights are resized."""


def find(
    spec: Spec | str | Path | None = None,
    *,
    study: str | None = None,
    weights: str | Path | None = None,
    interpolate: bool = False,
    runs: Path = Path("runs"),
    name: str | None = None,
    progress: Progress | None = None,
) -> Subject:
    """The network that a user means.

    Args:
        spec: a spec, the path or name of one, or the folder of a training or of a search.
        study: the name of a search, or its folder. With neither: the search that ended last.
        weights: a checkpoint to take instead of the trained or random weights; of a spec, also
            the name of public weights.
        interpolate: whether the position embeddings of that checkpoint are resized.
        runs: where searches are kept.
        name: what the user calls a spec that is given as one; its own name if None.
        progress: told how far a download is.

    Raises:
        CompileError: there is no such network, or no winner; or what was left of a search or a
            training is broken or changed.
        SpecError: the spec cannot be read.
        WeightsError, DownloadError: there are no public weights of that name, or not to be had.
    """
    if spec is not None and study is not None:
        raise CompileError(
            f"a spec ({name or _name(spec)}) and a study ({study}) are given: expected one of them",
            hint="leave one of them out",
        )
    if interpolate and weights is None:
        raise CompileError("--interpolate resizes what --weights loads: give both")
    folder = None if spec is None or isinstance(spec, Spec) else _folder(str(spec))
    network = None if spec is None or folder is not None else as_spec(spec)
    file = None if weights is None else _weights(network, weights, progress)
    if spec is not None and network is not None:
        found = _of_spec(network, name or _name(spec), file)
    elif folder is not None:
        found = _of_folder(folder, file)
    elif study is not None:
        found = _of_winner(study_folder(study, runs), file)
    else:
        folder, notes = last_ended(runs)
        found = _noting(_of_winner(folder, file), *notes)
    return replace(found, interpolate=interpolate) if file is not None else found


def _of_folder(folder: Path, weights: Path | None) -> Subject:
    if (folder / SPEC).is_file():
        return _of_training(folder, weights)
    if not is_search(folder):
        raise CompileError(
            f"{folder} is neither of a search ({WINNER}) nor of a training ({SPEC})",
            hint="name a YAML file, a shipped spec ('archspec specs'), or such a folder",
        )
    return _of_winner(folder, weights)


# -- specs -----------------------------------------------------------------------------------------


def _of_spec(spec: Spec, name: str, weights: Path | None) -> Subject:
    if spec.holes:
        names = [hole.name for hole in spec.holes]
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        raise CompileError(
            f"{spec.name} is a space, not one network; it leaves open: "
            f"{', '.join(names[:LISTED])}{more}",
            hint=f"'archspec search --space {name} --budget …' finds the best network of it",
        )
    subject = Subject(spec, weights, f"spec {name}", None, None, None, None, ())
    if weights is not None:
        return _with(subject, beside(weights))
    trained = None if spec.file is None else _trained_beside(spec.file)
    if trained is not None:
        way = f"'archspec compile {trained}' takes those that were trained for this spec"
    else:
        way = f"'archspec train {name}' makes a checkpoint for --weights"
    return _noting(subject, f"the weights are random: {way}")


def _trained_beside(file: Path) -> Path | None:
    """The folder of a search or a training whose spec a file is, if it has weights."""
    pairs = {WINNER: WEIGHTS, TRAINED: WEIGHTS, SPEC: MODEL}
    weights = pairs.get(file.name)
    return file.parent if weights and file.with_name(weights).is_file() else None


def _with(subject: Subject, known: Known | None) -> Subject:
    """With what is known of its weights, where that is about a network like this."""
    spec = subject.spec
    if known is None or len(known.classes) != spec.classes:
        return subject  # where the classes differ, loading the weights says so
    found = replace(subject, classes=known.classes, images=known.images)
    if known.mean is not None and len(known.mean) == spec.input["channels"]:
        found = replace(found, mean=known.mean, std=known.std)
    own = (spec.input["height"], spec.input["width"])
    if known.size != own:
        return _noting(
            found, f"the weights were trained on images of {_size(known.size)}, and the network is "
            f"compiled for {_size(own)}",
        )  # fmt: skip
    return found


def _noting(subject: Subject, *notes: str) -> Subject:
    return replace(subject, notes=(*subject.notes, *notes))


# -- trainings -------------------------------------------------------------------------------------


def _of_training(folder: Path, weights: Path | None) -> Subject:
    spec = load(folder / SPEC)
    if weights is not None:
        return replace(_of_spec(spec, str(folder / SPEC), weights), origin=str(folder))
    file, model = folder / RESULT, folder / MODEL
    if not (file.is_file() and model.is_file()):
        lacking = RESULT if model.is_file() else MODEL
        raise CompileError(
            f"{folder} holds a training that has not come to its end: there is no {lacking}",
            hint="the same 'archspec train' command goes on; --weights takes its checkpoint.pt",
        )
    known = of_training(file, f"delete it, and {_TRAIN_AGAIN}")
    if (found := len(known.classes)) != spec.classes:
        raise CompileError(
            f"names {found} class{'' if found == 1 else 'es'}, and {SPEC} beside it has "
            f"{spec.classes}",
            mark=Mark(str(file)),
            hint="one of them was changed since the training wrote them",
        )  # fmt: skip
    subject = Subject(spec, model, str(folder), None, None, None, None, ())
    if known.mean is None:
        subject = _noting(
            subject,
            f"by which mean and deviation the images of {folder} were normalised is not known, "
            f"since it is of an earlier version; delete its {RESULT}, and {_TRAIN_AGAIN}",
        )
    return _with(subject, known)


# -- searches --------------------------------------------------------------------------------------


def _of_winner(folder: Path, weights: Path | None) -> Subject:
    """The winner of a search, as it was trained if its weights are there."""
    name, file = folder.resolve().name, folder / WINNER
    running = is_running(folder)
    if not file.is_file():
        if running:
            raise CompileError(
                f"the search {name} has no winner yet: it is still running ({folder})",
                hint="wait for its end, or compile a spec: archspec compile SPEC",
            )
        raise CompileError(
            f"the search {name} has no winner: it was stopped before its end, or no trial came "
            f"to its own ({folder})",
            hint="the same 'archspec search' command goes on with it",
        )
    winner = load(file)
    subject = Subject(winner, weights, _origin(folder, WINNER), None, None, None, None, ())
    if running:
        subject = _noting(subject, f"the search {name} goes on: this is its winner so far")
    if weights is not None and weights.resolve() != (folder / WEIGHTS).resolve():
        return _with(subject, beside(weights))
    if not (folder / FACTS).is_file():
        if (folder / WEIGHTS).is_file():
            raise CompileError(
                f"there is no {FACTS} beside {WEIGHTS}", mark=Mark(str(folder)), hint=_AGAIN
            )
        return _noting(
            subject,
            f"the weights are random: the search {name} kept none of its winner, since it ended "
            "without training it again or by an earlier version; "
            f"'archspec train {shlex.quote(str(file))}' makes a checkpoint for --weights",
        )
    facts = parsed(Facts, folder / FACTS, _AGAIN)
    spec = _own(folder, facts, winner)
    found = _with(replace(subject, spec=spec, weights=folder / WEIGHTS), of_winner(facts))
    if facts.spec == WINNER:
        return found
    own = (winner.input["height"], winner.input["width"])
    return _noting(
        replace(found, origin=_origin(folder, TRAINED)),
        f"compiled at {_size(facts.resolution)} with {len(facts.classes)} classes, as the search "
        f"trained it; 'archspec train {shlex.quote(str(file))}' makes a checkpoint at "
        f"{_size(own)} for --weights",
    )


def _own(folder: Path, facts: Facts, winner: Spec) -> Spec:
    """The network that the winner's weights belong to.

    Raises:
        CompileError: files in the folder do not belong together.
    """
    spec = winner
    if facts.spec == TRAINED:
        if not (folder / TRAINED).is_file():
            raise CompileError(
                f"tells of {TRAINED}, which is not there", mark=Mark(str(folder / FACTS)),
                hint=_AGAIN,
            )  # fmt: skip
        spec = load(folder / TRAINED)
    for found, digest, file in (
        (winner, facts.winner_digest, WINNER), (spec, facts.spec_digest, facts.spec),
    ):  # fmt: skip
        if found.digest != digest:
            raise CompileError(
                f"is another network than the one that {FACTS} tells of: it was changed since the "
                "search wrote it",
                mark=Mark(str(folder / file)),
                hint=f"{_AGAIN}; 'archspec compile {folder / file}' takes it as it is",
            )
    shape = spec.input
    told = (len(facts.mean), *facts.resolution, len(facts.classes))
    if told != (shape["channels"], shape["height"], shape["width"], spec.classes):
        raise CompileError(
            f"tells of {told[0]}×{told[1]}×{told[2]} images and {told[3]} classes, and "
            f"{facts.spec} has {shape['channels']}×{shape['height']}×{shape['width']} and "
            f"{spec.classes}",
            mark=Mark(str(folder / FACTS)), hint=_AGAIN,
        )  # fmt: skip
    check_weights(
        folder / WEIGHTS, facts, "the same 'archspec search' command trains the winner once more"
    )
    return spec


# -- words -----------------------------------------------------------------------------------------


def _weights(spec: Spec | None, given: str | Path, progress: Progress | None) -> Path:
    """The checkpoint that a user means."""
    weights = Path(given) if spec is None else resolve(spec, given, progress)
    if not os.path.isfile(weights):  # noqa: PTH113 - Path's raises for a name too long
        is_folder = os.path.isdir(weights)  # noqa: PTH112
        raise CompileError(
            "is a folder, not a checkpoint" if is_folder else "there is no such checkpoint",
            mark=Mark(str(weights)),
            hint=f"'archspec compile {weights}' takes a folder of a training or a search"
            if is_folder
            else "--weights takes a .safetensors, .pth or .pt file",
        )
    return weights


def _folder(spec: str) -> Path | None:
    """The folder that a user means; a shipped spec goes before a folder of its name."""
    is_folder = spec not in catalog.shipped() and os.path.isdir(spec)  # noqa: PTH112 - as above
    return Path(spec) if is_folder else None


def _origin(folder: Path, file: str) -> str:
    return f"the winner of the search {folder.resolve().name} ({folder / file})"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def _name(spec: Spec | str | Path) -> str:
    return spec.name if isinstance(spec, Spec) else str(spec)

"""One whole training of a spec in a folder, from start or from where it was stopped."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archspec.api import build
from archspec.errors import WeightsError
from archspec.files import sha256
from archspec.search.data.images import Data
from archspec.search.train.batches import normalisation
from archspec.search.train.device import seeded
from archspec.search.train.evaluation import evaluate
from archspec.search.train.folder import Folder
from archspec.search.train.history import Epoch
from archspec.search.train.ranks import on_first
from archspec.search.train.recipe import Recipe
from archspec.search.train.trainer import train
from archspec.spec import Spec

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train_in_folder(
    spec: Spec,
    data: Data,
    recipe: Recipe,
    folder: Folder | None,
    fabric: Fabric,
    *,
    seed: int = 0,
    weights: Path | None = None,
    interpolate: bool = False,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train a spec that fits the data; go on where an earlier call was stopped.

    Args:
        spec: with the data's classes and image size (`archspec.search.train.fitting.fitted`).
        folder: an open one; all results are written to it. None in all but the first of several
            processes that train together.
        fabric: with the device, or of those processes (`archspec.search.train.ranks.joined`).
        weights: a checkpoint to start from instead of random weights.
        interpolate: whether its position embeddings are resized.
        on_epoch, on_step, on_note: as for `train`.

    Returns:
        What came out, as plain data; it also stands in result.json. A training that has ended
        already is not repeated.

    Raises:
        TrainingFailed, ForeignCheckpoint, WeightsError, SpecError, ArchspecError: as for `train`
        and `archspec.build`; or the folder is another spec's.
    """
    on_first(fabric, lambda: folder.check_spec(spec) if folder else None)
    identity = {"spec": spec.digest, "weights": _digest(weights)}
    with seeded(seed):
        model = build(spec, weights=weights, interpolate=interpolate)
    history: list[Epoch] = []
    live = False

    def step(number: int, count: int) -> None:
        nonlocal live
        live = True
        if on_step is not None:
            on_step(number, count)

    def epoch(done: Epoch) -> None:
        history.append(done)
        if live and folder:
            folder.write_spec(spec)
            folder.write_metrics(history)
        if on_epoch is not None:
            on_epoch(done)

    result = train(
        model, data, recipe, seed=seed, checkpoint=folder.checkpoint if folder else None,
        identity=identity, on_epoch=epoch, on_step=step, on_note=on_note, fabric=fabric,
    )  # fmt: skip
    known = on_first(fabric, lambda: folder.result() if folder else None)
    if known is not None and not live:
        return known
    if folder:
        if not live:
            folder.write_spec(spec)
            folder.write_metrics(history)
        folder.write_weights(model.state_dict())
    test = None
    if data.test is not None:
        test, _ = evaluate(model, data.test, data, batch_size=result.micro_batch, fabric=fabric)
    mean, std = normalisation(data)
    facts = {
        "name": spec.name,
        "accuracy": result.accuracy,
        "test_accuracy": test,
        "loss": history[-1].loss,
        "seconds": result.seconds,
        "data": data.describe(),
        "images": data.name,
        "mean": list(mean),
        "std": list(std),
        "resolution": int(spec.input["height"]),
        "classes": list(data.classes),
        "device": str(fabric.device),
        "devices": fabric.world_size,
        "seed": seed,
        "recipe": recipe.model_dump(),
        "micro_batch": result.micro_batch,
        "fingerprint": {"data": data.digest, **identity},
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "kornia")},
        "epochs": [asdict(done) for done in history],
    }
    if folder:
        folder.write_result(facts)
    return facts


def _digest(path: Path | None) -> str:
    """Of a file's bytes; of no file, `none`."""
    if path is None:
        return "none"
    try:
        return sha256(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from None

"""Trainings that are kept as soon as they end, so that a benchmark of hours survives a kill."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import archspec
from archspec import Spec
from archspec.files import write_text
from archspec.search import defaults
from archspec.search.budgets import budget
from archspec.search.candidate import SCORED
from archspec.search.data import Data
from archspec.search.feasibility import FeasibleSet, feasible
from archspec.search.listener import Listener
from archspec.search.record import TrialRecord
from archspec.search.searching import run as search
from archspec.search.space import Space
from archspec.search.train.batches import Batches, Normalise, shuffled
from archspec.search.train.device import open_fabric, seeded
from archspec.search.train.evaluation import evaluate
from archspec.search.train.outcomes import TrainingFailed
from archspec.search.train.scores import scores
from archspec.search.train.trainer import train
from benchmarks.evidence_scale import Scale, first
from benchmarks.registry import Device

PAPER = (2, 8, 14, 2)
"""The depths of sMLPNet-T."""
WATCHED = 500
"""Held-out images that a long training is watched by; its result is on the test images."""
SEARCHED = 0
"""The seed of the search, and of short trainings: long ones have others."""

Entry = dict[str, Any]


class Jobs:
    """Everything that is trained, in one folder."""

    def __init__(
        self, scale: Scale, device: Device, folder: Path, images: Callable[[int | None], Data]
    ) -> None:
        self.scale, self.device, self.folder = scale, device, folder
        self._images = images
        self._loaded: dict[int | None, Data] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def data(self, limit: int | None) -> Data:
        """The images of a training, loaded once."""
        if limit not in self._loaded:
            self._loaded[limit] = self._images(limit)
        return self._loaded[limit]

    # -- networks ---------------------------------------------------------------------------------

    @cached_property
    def space(self) -> Space:
        return Space(archspec.load(self.scale.space).with_values(self.scale.values))

    @cached_property
    def window(self) -> FeasibleSet:
        return feasible(self.space, budget(self.scale.budget))

    def drawn(self) -> list[Spec]:
        """Different networks of the window, as many of one width as of another if there are."""
        rows = self.window.sample(100 * self.scale.networks, np.random.default_rng(0))
        place = [dim.name for dim in self.space.dims].index("dim")
        of_width: dict[int, list[tuple[int, ...]]] = {}
        for row in dict.fromkeys(map(tuple, rows.tolist())):
            of_width.setdefault(row[place], []).append(row)
        turns = itertools.zip_longest(*(of_width[width] for width in sorted(of_width)))
        drawn = [row for turn in turns for row in turn if row is not None]
        return [
            self.space.spec_of(row, f"network_{i}")
            for i, row in enumerate(drawn[: self.scale.networks], 1)
        ]

    def paper(self) -> Spec:
        """The network of the window that is nearest to sMLPNet-T's proportions.

        α = 3, depths as near to 2 : 8 : 14 : 2 as can be, whatever width that takes; of equally
        near ones the dearest.
        """
        dims = {dim.name: dim for dim in self.space.dims}
        alphas = {name: 3 for name in dims if name.endswith("alpha")}
        candidates = {
            (width, *(max(1, round(part * scale)) for part in PAPER))
            for width in dims["dim"].values
            for scale in np.geomspace(0.25, 2.5, 200)
        }
        rows = [
            self.space.row({"dim": width} | {f"depths[{i}]": d for i, d in enumerate(ds)} | alphas)
            for width, *ds in sorted(candidates)
            if all(d in dims[f"depths[{i}]"].values for i, d in enumerate(ds))
        ]
        figures = self.window.figures(np.array(rows))
        inside = np.flatnonzero(figures.within(self.window.budget))
        if not len(inside):
            raise RuntimeError("no network of the paper's proportions is inside the window")

        def key(i: int) -> tuple[float, int]:
            values = self.space.values(rows[i])
            ratios = [np.log(values[f"depths[{k}]"] / part) for k, part in enumerate(PAPER)]
            return round(float(np.var(ratios)), 9), -int(figures.flops[i])

        return self.space.spec_of(rows[min(inside.tolist(), key=key)], "paper")

    def choices(self, spec: Spec) -> dict[str, Any]:
        """Width, depths and the α of each stage."""
        tree = spec.to_dict()
        own = tree["vars"]
        stages = [own | stage.get("vars", {}) for stage in tree["stages"].values()]
        return {
            "dim": own["dim"], "depths": own["depths"],
            "alpha": [stage["alpha"] for stage in stages],
        }  # fmt: skip

    def cost(self, spec: Spec) -> dict[str, int]:
        """FLOPs and parameters at the size of the images."""
        table = archspec.cost(self.fitted(spec, self.data(self.scale.images)))
        return {"flops": int(table.flops), "params": int(table.params)}

    def fitted(self, spec: Spec, data: Data) -> Spec:
        """A network at the size and with the classes of the images."""
        height, width = data.train.images_NCHW.shape[2:]
        return spec.with_values(
            {"input.height": height, "input.width": width, "classes": len(data.classes)}
        )

    # -- trainings --------------------------------------------------------------------------------

    def short(self, spec: Spec, images: int | None, epochs: int) -> Entry:
        """Trained as the search trains a candidate, and scored on held-out images."""
        return self._train(spec, "short", images, epochs, SEARCHED)

    def long(self, spec: Spec, seed: int) -> Entry:
        """Trained by the same recipe for longer, and scored on the test images."""
        return self._train(spec, "long", self.scale.images, self.scale.epochs, seed)

    def _train(self, spec: Spec, kind: str, images: int | None, epochs: int, seed: int) -> Entry:
        data = self.data(images)
        network = self.fitted(spec, data)
        recipe = defaults.recipe(data, epochs=epochs, batch_size=None, precision=None)
        if kind == "long":
            data = dataclasses.replace(data, held_out=first(data.held_out, WATCHED))
        asked = {
            "kind": kind, "network": network.digest, "data": data.digest, "seed": seed,
            "recipe": recipe.model_dump(mode="json"), "device": self.device,
            "scored_on": [len(data.held_out), 0 if data.test is None else len(data.test)],
        }  # fmt: skip

        def make(path: Path) -> Entry:
            checkpoint = path.with_suffix(".pt")
            with seeded(seed, 1):
                model = archspec.build(network)
            try:
                result = train(
                    model, data, recipe, seed=seed, device=self.device, checkpoint=checkpoint
                )
            except TrainingFailed as error:  # as good as none, as in the search
                found: Entry = {"accuracy": 0.0, "loss": 1e9, "failed": str(error), "seconds": 0.0}
            else:
                last = result.history[-1]
                found = {"accuracy": last.accuracy, "loss": last.loss, "seconds": result.seconds}
                found["curve"] = [epoch.accuracy for epoch in result.history]
                if kind == "long":
                    assert data.test is not None
                    found["watched"] = last.accuracy
                    found["accuracy"], found["loss"] = evaluate(
                        model, data.test, data, device=self.device
                    )
            checkpoint.unlink(missing_ok=True)
            return found | {"passes": epochs * len(data.train), "batch_size": recipe.batch_size}

        return self._kept(kind, asked, make)

    def scores(self, spec: Spec) -> Entry:
        """The training-free scores as the search takes them, and what the network costs."""
        data = self.data(self.scale.short[0])
        network = self.fitted(spec, data)
        asked = {"kind": "scores", "network": network.digest, "data": data.digest}

        def make(path: Path) -> Entry:
            with seeded(SEARCHED, 1):
                model = archspec.build(network)
            place = open_fabric(self.device, "fp32").device
            index_N = shuffled(len(data.train), SCORED, SEARCHED, 0)[0]
            images_NCHW, labels_N = Batches(data.train, place).take(index_N)
            table = archspec.cost(spec)
            found = scores(model.to(place), Normalise(data, place)(images_NCHW), labels_N)
            return {"flops": int(table.flops), "params": int(table.params), **found}

        return self._kept("scores", asked, make)

    def searched(self) -> tuple[Entry, Spec]:
        """The search, with short trainings: its record as plain data, and its winner."""
        images, epochs = self.scale.short
        data = self.data(images)
        asked = {
            "kind": "search", "space": self.space.spec.digest, "budget": self.scale.budget,
            "data": data.digest, "trials": self.scale.trials, "seed": SEARCHED,
            "recipe": defaults.recipe(
                data, epochs=epochs, batch_size=None, precision=None
            ).model_dump(mode="json"),
            "device": self.device,
        }  # fmt: skip

        def make(path: Path) -> Entry:
            record = search(
                self.space, self.scale.budget, data=data, epochs=epochs, seed=SEARCHED,
                trials=self.scale.trials, device=self.device, study="search",
                folder=self.folder, report=False, listener=_Log(),
            ).record  # fmt: skip
            if record.winner is None:
                raise RuntimeError("no trial of the search came to an end")
            return record.to_dict()

        found = self._kept("search", asked, make)
        (choices,) = (t["choices"] for t in found["trials"] if t["number"] == found["winner"])
        return found, self.space.spec_of(self.space.row(choices), "winner")

    def _kept(self, kind: str, asked: Entry, make: Callable[[Path], Entry]) -> Entry:
        """What an earlier call has found, or what is found now."""
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        path = self.folder / f"{kind}-{digest[:16]}.json"
        if path.is_file():
            found: Entry = json.loads(path.read_text(encoding="utf-8"))["found"]
            return found
        start = time.perf_counter()
        found = make(path)
        write_text(path, json.dumps({"asked": asked, "found": found}, indent=1) + "\n")
        log(f"{kind} {_told(found)} in {time.perf_counter() - start:.0f} s")
        return found


class _Log(Listener):
    """Tells of each trial in a line."""

    def ended(self, trial: TrialRecord, finished: int, best: float | None) -> None:
        log(f"trial {finished}: {trial.values}, best {best}, {trial.seconds:.0f} s")


def _told(found: Entry) -> str:
    return f"{found['accuracy']:.4f}" if "accuracy" in found else ""


def log(text: str) -> None:
    """A line for whoever watches."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)

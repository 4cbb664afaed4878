"""Searches of a second or less, in processes that can be killed."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from archspec.search.data.images import Data, Split
from archspec.search.listener import Listener
from archspec.spec import Spec, loads

SPACE = """
name: little
about: For tests.
input: {channels: 3, height: 6, width: 6}
classes: 3
vars: {dim: {choice: [4, 6, 8]}, depth: {int: [1, 3]}, mixer: {choice: [rows, skip]}}
blocks:
  rows: [batch_norm, {linear: {id: row, axis: height}}]
  skip: identity
  layer: [{residual: [{use: mixer}, gelu]}]
stages:
  stage1: {enter: [{conv: {out: dim, kernel: 3, id: embed}}], repeat: depth, body: layer}
head: [global_pool, {linear: {id: classifier, out: classes}}]
"""
BUDGET = "1k..50k"
"""18 networks are in it, all there are."""


def space() -> Spec:
    return loads(SPACE, "little.yaml")


def images(count: int = 72, held_out: int = 40) -> Data:
    """Noise, a little brighter in the channel of its class: learnt slowly."""
    random = np.random.default_rng(5)

    def split(count: int) -> Split:
        labels_N = np.arange(count) % 3
        images_NCHW = random.integers(0, 200, (count, 3, 6, 6), dtype=np.uint8)
        for image_CHW, label in zip(images_NCHW, labels_N, strict=True):
            image_CHW[label] += 25
        return Split(images_NCHW, labels_N.astype(np.int64))

    return Data(
        "noise", ("red", "green", "blue"), split(count), split(held_out), None,
        (0.4, 0.4, 0.4), (0.2, 0.2, 0.2), True, f"digest of {count} and {held_out}",
    )  # fmt: skip


def options(folder: Path, **more: Any) -> dict[str, Any]:
    """Of a search that trains; five networks, and two of them again."""
    return {
        "trials": 5, "epochs": 4, "finalists": 2, "batch_size": 8, "report": False,
        "device": "cpu", "seed": 3, "data": images(), "study": "study", "folder": folder,
    } | more  # fmt: skip


def search(folder: Path, **more: Any) -> Any:
    import torch

    from archspec.search.searching import run

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same in every process: sums hang on it in their last bit
    try:
        return run(space(), BUDGET, **options(folder, **more))
    finally:
        torch.set_num_threads(threads)


def facts(outcome: Any) -> dict[str, Any]:
    """What must be the same however often a search was cut: all but numbers and times."""
    record = outcome.record
    cut = {trial.number for trial in record.trials if trial.outcome == "interrupted"}
    trials = [trial for trial in record.trials if trial.number not in cut]
    place = {t.number: t.number if t.retry_of is None else t.retry_of for t in trials}
    order = sorted(trials, key=lambda trial: place[trial.number])
    ranks = {trial.number: rank for rank, trial in enumerate(order)}
    return {
        "trials": [
            (t.state, t.values, dict(t.choices), dict(t.rungs), t.flops, t.params, t.outcome)
            for t in order
        ],
        "scores": [dict(trial.scores) for trial in order],
        "finalists": sorted((ranks[f.number], dict(f.accuracy)) for f in record.finalists),
        "winner": None if record.winner is None else ranks[record.winner],
        "cost": None if outcome.winner is None else outcome.winner.to_dict() | {"about": ""},
        "rule": record.rule,
    }  # fmt: skip


# -- processes -------------------------------------------------------------------------------------


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killer(Listener):
    """Kills its process at the nth time that something is told."""

    def __init__(self, event: str, nth: int = 1) -> None:
        self._event, self._left = event, nth

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or name not in vars(Listener):
            return object.__getattribute__(self, name)
        return lambda *args: self._heard(name, args)

    def _heard(self, name: str, args: tuple[Any, ...]) -> None:
        if self._event in (name, f"{name} {args[0]}"):
            self._left -= 1
            if not self._left:
                die()


def killed_at(folder: Path, event: str, nth: int, more: Mapping[str, Any]) -> None:
    search(folder, listener=Killer(event, nth), **more)


def die_in_statement(nth: int) -> None:
    """Let this process die before the nth statement that its databases are given."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    left = nth

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            die()

    event.listen(Engine, "before_cursor_execute", count)


def killed_in_statement(folder: Path, nth: int, more: Mapping[str, Any]) -> None:
    die_in_statement(nth)
    search(folder, **more)


def killed_while_writing(folder: Path, name: str, nth: int, more: Mapping[str, Any]) -> None:
    """Die when half of a file is written: the nth whose name has `name` in it."""
    left = nth
    whole = Path.write_bytes

    def half(path: Path, content: Any) -> int:
        nonlocal left
        if name in path.name:
            left -= 1
            if not left:
                whole(path, bytes(content)[: len(content) // 2])
                die()
        return whole(path, content)

    def half_text(path: Path, text: str, encoding: str = "utf-8", **_: Any) -> int:
        return half(path, text.encode(encoding))

    Path.write_bytes, Path.write_text = half, half_text  # type: ignore[method-assign, assignment]
    search(folder, **more)


def searched(folder: Path, more: Mapping[str, Any]) -> None:
    search(folder, **more)


def moments(seed: int, count: int, low: float, high: float) -> list[float]:
    drawn = random.Random(seed)
    return [drawn.uniform(low, high) for _ in range(count)]

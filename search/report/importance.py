"""Which holes of the space matter: permutation importance in a random forest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archspec.search.record import Record
from archspec.search.report import results, words
from archspec.search.report.style import BLUE, INK, QUIET, Plot, panels, settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TITLE = "What mattered"
FEWEST = 8
"""Trials below which nothing is said."""
SHOWN = 20
FOLDS, TREES, REPEATS, SEED = 4, 64, 8, 0


@dataclass(frozen=True)
class Importance:
    """How much worse a forest predicts unseen trials when it is told one hole's values shuffled."""

    target: str
    """What is predicted."""
    n: int
    """Trials that the forest was grown from."""
    r2: float
    """Share of the variance among trials left out that it explains; 0 is what a mean would, and
    below that `of` means nothing."""
    of: Mapping[str, tuple[float, float]]
    """Hole → its share of the error that shuffling adds, 0 to 1 (mean, standard deviation over
    folds); largest first. Noise may make one negative."""


def target(record: Record) -> results.Target | None:
    """The result of complete trials; accuracy at an epoch that all reached where pruned.

    Pruned trials are the worse ones: leaving them out would hide what made them so.
    """
    main = results.main(record)
    values = {trial.number: results.final(record, trial, main) for trial in record.trials}
    complete = {number: value for number, value in values.items() if value is not None}
    pruned = any(trial.state == "pruned" for trial in record.trials)
    if pruned and record.objectives[main] == "accuracy":
        common = results.at_common_rung(record)
        if common is not None and len(common.of) > len(complete):
            return common
    name = record.objectives[main]
    after = " after the whole training" if name == "accuracy" else ""
    return results.Target(f"{name}{after}", complete) if complete else None


def importance(record: Record) -> Importance | None:
    """Seeded: the same record gives the same figures. None where there are too few trials."""
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold

    known = target(record)
    if known is None or len(known.of) < FEWEST:
        return None
    rows = [trial for trial in record.trials if trial.number in known.of]
    names = list(dict.fromkeys(name for trial in rows for name in trial.choices))
    coded = {name: _coded([trial.choices.get(name) for trial in rows]) for name in names}
    names = [name for name in names if len(set(coded[name])) > 1]
    y = np.array([known.of[trial.number] for trial in rows])
    if not names or np.ptp(y) == 0:
        return None
    x = np.array([coded[name] for name in names], dtype=np.float64).T
    predicted = np.zeros_like(y)
    losses = []
    folds: Any = KFold  # scikit-learn has no types
    regressor: Any = RandomForestRegressor
    for train, left_out in folds(FOLDS, shuffle=True, random_state=SEED).split(x):
        forest = regressor(TREES, random_state=SEED).fit(x[train], y[train])
        predicted[left_out] = forest.predict(x[left_out])
        shuffled = _shuffled(x[left_out])  # all in one call: scikit-learn's own loop takes seconds
        guessed = forest.predict(shuffled.reshape(-1, len(names))).reshape(shuffled.shape[:3])
        error = np.square(predicted[left_out] - y[left_out]).mean()
        losses.append(np.square(guessed - y[left_out]).mean(axis=(1, 2)) - error)
    mean, spread = np.mean(losses, axis=0), np.std(losses, axis=0)
    total = float(mean.clip(min=0).sum()) or 1.0
    mean, spread = mean / total, spread / total
    order = sorted(range(len(names)), key=lambda index: -mean[index])
    of = {names[index]: (float(mean[index]), float(spread[index])) for index in order}
    return Importance(known.name, len(rows), float(r2_score(y, predicted)), of)


def _shuffled(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Copies (column, repeat, row, column) of rows × columns in which one column is shuffled."""
    import numpy as np

    random = np.random.default_rng(SEED)
    columns = x.shape[1]
    copies = np.tile(x, (columns, REPEATS, 1, 1))
    for column in range(columns):
        for repeat in range(REPEATS):
            random.shuffle(copies[column, repeat, :, column])
    return copies


def _coded(values: list[Any]) -> list[float]:
    """Numbers as they are, anything else by its place among what was tried."""
    if all(isinstance(value, (int, float)) for value in values):
        return [float(value) for value in values]
    kinds = list(dict.fromkeys(sorted(map(repr, values))))
    return [float(kinds.index(repr(value))) for value in values]


def plot(found: Importance) -> Plot:
    """Bars, the longest on top."""
    names = words.short_names(found.of)
    shown = list(found.of.items())[:SHOWN][::-1]
    with settings():
        height = 0.9 + 0.27 * len(shown)
        figure, (ax,) = panels(1, width=10, height=height, columns=1)
        means, spreads = (
            [100 * value[index] for _, value in shown] for index in range(2)
        )  # fmt: skip
        places = range(len(shown))
        ax.barh(places, means, color=BLUE, height=0.62, zorder=2)
        ax.errorbar(
            means, places, xerr=spreads, fmt="none", ecolor=INK, elinewidth=1, capsize=2.5,
            zorder=3,
        )  # fmt: skip
        ax.set_yticks(places, [words.cut(names[name]) for name, _ in shown])
        ax.set_ylim(-0.6, len(shown) - 0.4)
        ax.axvline(0, color=QUIET, linewidth=0.8)
        ax.grid(visible=False, axis="y")
        ax.set_xlabel("share of the error that shuffling adds (%)")
    return Plot("importance", TITLE, figure)

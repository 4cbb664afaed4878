"""How well figures known before training would have predicted what training found."""

from __future__ import annotations

import math
from dataclasses import dataclass

from archspec.search.objectives import OBJECTIVES
from archspec.search.record import Record
from archspec.search.report import results, words
from archspec.search.report.agreement import Agreement, kendall
from archspec.search.report.marks import describe
from archspec.search.report.results import Target
from archspec.search.report.style import BLUE, PAPER, Hint, Plot, count_axis, panels, settings

TITLE = "Training-free scores"


def is_score(objective: str) -> bool:
    """Whether an objective is a training-free score."""
    known = OBJECTIVES.get(objective)
    return known is not None and known.needs == "scores"


@dataclass(frozen=True)
class Predictor:
    """A figure of each trial that was known before it was trained."""

    name: str
    of: dict[int, float]
    """Trial number → figure."""


def predictors(record: Record) -> list[Predictor]:
    """Parameters, FLOPs, every score, and a score that was the objective itself."""
    names = ["params", "flops"]
    names += sorted({name for trial in record.trials for name in trial.scores} - set(names))
    found = {name: dict[int, float]() for name in names}
    for trial in record.trials:
        figures = {"params": trial.params, "flops": trial.flops, **trial.scores}
        for name, value in figures.items():
            if value is not None and math.isfinite(value):
                found[name][trial.number] = float(value)
    for index, name in enumerate(record.objectives):
        if is_score(name) and not found.get(name):
            values = {t.number: results.final(record, t, index) for t in record.trials}
            found[name] = {number: v for number, v in values.items() if v is not None}
    return [Predictor(name, of) for name, of in found.items() if of]


@dataclass(frozen=True)
class Scores:
    """Every predictor against every kind of trained result."""

    predictors: tuple[Predictor, ...]
    targets: tuple[Target, ...]
    tau: dict[tuple[str, str], Agreement | None]
    """(predictor, target) → agreement; None where there are too few trials."""

    @property
    def main(self) -> Target | None:
        """The first kind of result that can be compared with anything."""
        for target in self.targets:
            if any(self.tau[entry.name, target.name] for entry in self.predictors):
                return target
        return None


def scores(record: Record) -> Scores:
    """Compare them all."""
    known, goals = predictors(record), results.targets(record)
    tau = {}
    for entry in known:
        for target in goals:
            both = sorted(entry.of.keys() & target.of.keys())
            x, y = [entry.of[n] for n in both], [target.of[n] for n in both]
            tau[entry.name, target.name] = kendall(x, y)
    return Scores(tuple(known), tuple(goals), tau)


def plot(record: Record, found: Scores) -> Plot | None:
    """A small scatter for each predictor; None where nothing can be compared."""
    from matplotlib.ticker import LogLocator, NullLocator

    target = found.main
    if target is None:
        return None
    shown = [entry for entry in found.predictors if found.tau[entry.name, target.name]]
    hints: dict[str, list[Hint]] = {}
    with settings():
        figure, axes = panels(len(shown), width=10, height=2.9, columns=3)
        for index, (entry, ax) in enumerate(zip(shown, axes, strict=True)):
            both = sorted(entry.of.keys() & target.of.keys())
            gid = f"scores{index}"
            ax.scatter(
                [words.scaled(entry.name, entry.of[n]) for n in both],
                [100 * target.of[n] for n in both],
                s=18 if len(both) <= 150 else 8, color=BLUE, edgecolors=PAPER, linewidths=0.6,
                gid=gid, zorder=3,
            )  # fmt: skip
            hints[gid] = [Hint(n, describe(record, record.trial(n))) for n in both]
            ax.set_title(f"τ {found.tau[entry.name, target.name]}", fontsize=8.0)
            ax.set_xlabel(words.cut(words.label(entry.name), 30))
            ax.margins(0.08)
            figures = [entry.of[n] for n in both]
            if min(figures) > 0 and max(figures) > 100 * min(figures):
                ax.set_xscale("log")
                ax.xaxis.set_major_locator(LogLocator(numticks=5))
                ax.xaxis.set_minor_locator(NullLocator())
                ax.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
            else:
                ax.locator_params(axis="x", nbins=5)
                count_axis(ax.xaxis, entry.name)
        figure.supylabel(f"{target.name} (%)", fontsize=8.0)
    return Plot("scores", TITLE, figure, hints)


def verdict(record: Record, found: Scores) -> str | None:
    """What the score that was searched by is worth here; None if the search went by no score."""
    objective = record.objectives[results.main(record)]
    if not is_score(objective):
        return None
    if not found.targets:
        return (
            f"The objective was {objective}, which needs no training, and no network was trained: "
            "nothing here says what a high score is worth in accuracy."
        )
    for target in found.targets:
        tau = found.tau.get((objective, target.name))
        if tau is not None:
            what = "an interval that holds 0: it may be worth nothing" if tau.low <= 0 else (
                "above 0: it did rank networks, as far as these trials show"
            )  # fmt: skip
            return (
                f"The objective was {objective}, which needs no training. Against the "
                f"{target.name} its Kendall τ is {tau}, {what}."
            )
    most = max(len(target.of) for target in found.targets)
    return (
        f"The objective was {objective}, which needs no training. Only {words.many(most, 'trial')} "
        f"{'was' if most == 1 else 'were'} trained, too few to say what a high score is worth."
    )

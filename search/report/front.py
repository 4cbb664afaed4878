"""The result (accuracy, or the first objective) against cost and every other objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from archspec.search.record import Network, Record, TrialRecord
from archspec.search.report import marks, results, words
from archspec.search.report.style import (
    GREEN,
    GREY,
    PURPLE,
    SHADE,
    SMALL,
    Hint,
    Plot,
    count_axis,
    legend,
    panels,
    settings,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Result against cost"
NEAR = 0.35
"""How far beyond the trials a shipped network is still drawn, in widths of what they span."""


def plot(record: Record) -> Plot | None:
    """One panel for FLOPs, parameters and each further objective; None while none is complete."""
    trials = _ended(record)
    costs = _costs(record, trials)
    if not costs:
        return None
    hints: dict[str, list[Hint]] = {}
    main = results.main(record)
    result = record.objectives[main]
    ups = dict(zip(record.objectives, record.directions, strict=True))
    with settings():
        columns = 2 if len(costs) > 1 else 1
        figure, axes = panels(len(costs), width=10, height=4.0, columns=columns)
        for ax, (cost, of) in zip(axes, costs.items(), strict=True):
            points = [
                (trial, words.scaled(cost, of[trial.number]), words.scaled(result, height))
                for trial in trials
                if trial.number in of
                and (height := results.settled(record, trial, main)) is not None
            ]
            name = f"front-{len(hints)}"
            hints |= marks.scatter(record, ax, name, points, pruned="pruned, then trained again")
            shown = {trial.number for trial, _, _ in points}
            unsettled = [t.number for t in trials if t.number in of and t.number not in shown]
            _pruned(ax, [words.scaled(cost, of[number]) for number in unsettled])
            complete = [point for point in points if point[0].state == "complete"]
            _front(ax, complete, x_up=ups.get(cost) == "maximize", y_up=ups[result] == "maximize")
            ax.set_xlabel(words.label(cost))
            ax.set_ylabel(words.label(result))
            count_axis(ax.xaxis, cost)
            ax.locator_params(axis="x", nbins=7)
            ax.margins(x=0.08, y=0.1)
            if cost in ("flops", "params"):
                _bounds(record, ax, cost)
        legend(figure, axes[0], columns=4 if columns == 1 else 6)
        for ax, cost in zip(axes, costs, strict=True):
            if cost in ("flops", "params"):
                _networks(ax, cost, near(record, cost, trials))
    return Plot("front", TITLE, figure, hints)


def _ended(record: Record) -> list[TrialRecord]:
    """Trials with a result, and the pruned ones; none while none has a result."""
    main = results.main(record)
    complete = [trial for trial in record.trials if results.final(record, trial, main) is not None]
    pruned = [trial for trial in record.trials if trial.state == "pruned"]
    return complete + pruned if complete else []


def _costs(record: Record, trials: Sequence[TrialRecord]) -> dict[str, dict[int, float]]:
    """Figure or further objective → trial number → value; those that no trial has are left out."""
    known: dict[str, dict[int, float]] = {
        name: {t.number: float(value) for t in trials if (value := getattr(t, name)) is not None}
        for name in ("flops", "params")
    }
    for index, objective in enumerate(record.objectives):
        if index != results.main(record) and objective not in known:
            values = {t.number: results.final(record, t, index) for t in trials}
            known[objective] = {n: value for n, value in values.items() if value is not None}
    known.pop(record.objectives[results.main(record)], None)
    return {name: of for name, of in known.items() if of}


def _front(ax: Axes, points: Sequence[marks.Point], *, x_up: bool, y_up: bool) -> None:
    """Join the complete trials that no other beats in both."""
    places = [(x, y) for _, x, y in points]
    best = [places[index] for index in results.non_dominated(places, x_up=x_up, y_up=y_up)]
    if len(best) > 1:
        # what is certain between two points is the worse of their results
        where: Literal["pre", "post"] = "pre" if x_up else "post"
        best.sort()
        ax.step(
            *zip(*best, strict=True), where=where, color=GREEN, linewidth=1.3, zorder=2,
            label="not beaten in both",
        )  # fmt: skip


def span(record: Record, cost: str, trials: Sequence[TrialRecord]) -> tuple[float, float]:
    """Lowest and highest figure of the trials and of the budget, where it is a window."""
    values = [float(v) for trial in trials if (v := getattr(trial, cost)) is not None]
    if cost in record.windows:
        low, high = record.windows[cost]
        values += [float(high)] + ([float(low)] if low > 0.5 * high else [])
    return min(values), max(values)


def near(record: Record, cost: str, trials: Sequence[TrialRecord]) -> list[Network]:
    """Shipped networks that stand where the plot shows them."""
    low, high = span(record, cost, trials)
    room = NEAR * (high - low) or 0.05 * high
    return [n for n in record.networks if low - room <= getattr(n, cost) <= high + room]


def far(record: Record) -> Mapping[str, list[Network]]:
    """Figure → shipped networks that are too far away to be drawn beside the trials."""
    trials = _ended(record)
    found = {}
    for cost in ("flops", "params"):
        if any(getattr(trial, cost) is not None for trial in trials):
            shown = near(record, cost, trials)
            found[cost] = [n for n in record.networks if n not in shown]
    return {cost: networks for cost, networks in found.items() if networks}


def _pruned(ax: Axes, places: Sequence[float]) -> None:
    """Trials without a final result stand at the foot: after less training they would mislead."""
    if places:
        ax.plot(
            places, [0.025] * len(places), "v", color=GREY, markerfacecolor="none", markersize=4.5,
            markeredgewidth=0.8, transform=ax.get_xaxis_transform(), label="pruned (at the foot)",
            zorder=2,
        )  # fmt: skip


def _bounds(record: Record, ax: Axes, cost: str) -> None:
    """Shade what the budget allows."""
    if cost not in record.windows:
        return
    low, high = (words.scaled(cost, value) for value in record.windows[cost])
    left, right = ax.get_xlim()
    ax.axvspan(low, high, color=SHADE, linewidth=0, zorder=0, label="within the budget")
    room = 0.03 * (high - low)
    ax.set_xlim(min(left, low - room) if low > 0.5 * high else left, max(right, high + room))


def _networks(ax: Axes, cost: str, networks: Sequence[Network]) -> None:
    """Mark networks at their cost, by a rule: nobody knows their accuracy on these data."""
    from archspec.draw.canvas import text_width

    places = sorted((words.scaled(cost, getattr(n, cost)), words.cut(n.name, 28)) for n in networks)
    if not places:
        return
    left, right = ax.get_xlim()
    room = 0.04 * (right - left)
    left, right = min(left, places[0][0] - room), max(right, places[-1][0] + room)
    ax.set_xlim(left, right)
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    width = ax.get_window_extent().width * 72 / figure.dpi
    # names stand like flags to the right of their rules: from the right on, each in the lowest
    # row in which it meets no flag and no pole of a higher one
    flags: list[tuple[float, int]] = []
    for x, name in reversed(places):
        at = (x - left) / (right - left) * width
        end = at + text_width(name, SMALL) + 8
        row = max((row + 1 for other, row in flags if other < end), default=0)
        flags.append((at, row))
        ax.axvline(x, color=PURPLE, linewidth=1.1, linestyle=(0, (4, 2)), zorder=1)
        ax.annotate(
            "", (at / width, 1.0), (0, 13 + 11 * row), xycoords="axes fraction",
            textcoords="offset points", annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": PURPLE, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0,
            },
        )  # fmt: skip
        ax.annotate(
            name, (at / width, 1.0), (3, 3 + 11 * row), xycoords="axes fraction",
            textcoords="offset points", color=PURPLE, fontsize=SMALL, ha="left", va="bottom",
            annotation_clip=False,
        )  # fmt: skip

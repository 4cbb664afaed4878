"""How a trial is marked, the same in every plot: by state, as finalist, as winner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from archspec.search.record import Record, TrialRecord
from archspec.search.report import words
from archspec.search.report.style import BLUE, GREY, INK, ORANGE, PAPER, Hint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[TrialRecord, float, float]
"""A trial and where it stands, in the axes' units."""


def scatter(
    record: Record,
    axes: Axes,
    name: str,
    points: Sequence[Point],
    *,
    pruned: str = "pruned (where it was stopped)",
) -> dict[str, list[Hint]]:
    """Draw trials as points, finalists ringed, the winner as a star, with entries in the legend.

    Args:
        name: what the scatters' ids begin with.
        points: complete and pruned trials.
        pruned: what the legend says of pruned ones.

    Returns:
        Hints for the points of each scatter, by its id.
    """
    hints: dict[str, list[Hint]] = {}
    size = 26.0 if len(points) <= 150 else 12.0
    for state, marker, face, edge, meaning in (
        ("pruned", "v", "none", GREY, pruned),
        ("complete", "o", BLUE, PAPER, "complete"),
    ):
        of = [point for point in points if point[0].state == state]
        if of:
            gid = f"{name}-{state}"
            axes.scatter(
                [x for _, x, _ in of], [y for _, _, y in of], s=size, marker=marker,
                facecolors=face, edgecolors=edge, linewidths=0.8, label=meaning, gid=gid, zorder=3,
            )  # fmt: skip
            hints[gid] = [Hint(trial.number, describe(record, trial)) for trial, _, _ in of]
    chosen = {entry.number for entry in record.finalists} - {record.winner}
    ringed = [(x, y) for trial, x, y in points if trial.number in chosen]
    if ringed:
        axes.scatter(
            [x for x, _ in ringed], [y for _, y in ringed], s=size * 3.4, facecolors="none",
            edgecolors=ORANGE, linewidths=1.4, zorder=4, label="finalist",
        )  # fmt: skip
    won = [(x, y) for trial, x, y in points if trial.number == record.winner]
    if won:
        axes.scatter(
            [x for x, _ in won], [y for _, y in won], s=170, marker="*", color=ORANGE,
            edgecolors=INK, linewidths=0.7, zorder=5, label=f"winner (trial {record.winner})",
        )  # fmt: skip
    return hints


def describe(record: Record, trial: TrialRecord) -> str:
    """A trial in a line: what a point says when it is pointed at."""
    parts = [f"trial {trial.number}"]
    if trial.state == "complete":
        pairs = zip(record.objectives, trial.values, strict=False)
        parts += [f"{name} {words.reading(name, value)}" for name, value in pairs]
    elif trial.rungs:
        epoch = max(trial.rungs)
        parts.append(f"{trial.state} at epoch {epoch}: {words.percent(trial.rungs[epoch])}")
    else:
        parts.append(trial.state)
    parts += [f"{words.figure(trial.flops)}FLOPs", f"{words.figure(trial.params)} parameters"]
    return ", ".join(parts)

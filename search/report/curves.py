"""Accuracy over epochs, at the rungs where trials are compared and pruned."""

from __future__ import annotations

import math

from archspec.search.record import Record
from archspec.search.report.style import BLUE, GREY, ORANGE, Plot, legend, panels, settings

TITLE = "Short trainings"


def plot(record: Record) -> Plot | None:
    """None when no trial has reached a rung."""
    from matplotlib.ticker import NullLocator

    curves = [
        (trial, sorted((e, 100 * v) for e, v in trial.rungs.items() if math.isfinite(v)))
        for trial in record.trials
    ]
    curves = [(trial, points) for trial, points in curves if points]
    if not curves:
        return None
    epochs = sorted({epoch for _, points in curves for epoch, _ in points})
    chosen = {entry.number for entry in record.finalists}
    with settings():
        figure, (ax,) = panels(1, width=10, height=3.8, columns=1)
        named = dict[str, int]()  # in the legend, the thinnest first
        for trial, points in curves:
            if trial.number == record.winner:
                name, colour, width, order = f"winner (trial {trial.number})", ORANGE, 2.4, 5
            elif trial.number in chosen:
                name, colour, width, order = "finalist", ORANGE, 1.2, 4
            elif trial.state == "complete":
                name, colour, width, order = "complete", BLUE, 0.9, 3
            else:
                name, colour, width, order = "pruned, failed or running", GREY, 0.7, 2
            ax.plot(
                *zip(*points, strict=True), color=colour, linewidth=width, zorder=order,
                marker="o", markersize=2.5 + width / 2, label=None if name in named else name,
                alpha=1.0 if order > 3 else 0.75,
            )  # fmt: skip
            named.setdefault(name, order)
        if epochs[0] > 0 and epochs[-1] >= 8 * epochs[0]:
            ax.set_xscale("log", base=2)
        shown = _spread(epochs, logarithmic=ax.get_xscale() == "log")
        ax.set_xticks(shown, [str(epoch) for epoch in shown])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlabel("epoch")
        ax.set_ylabel("accuracy on held-out images (%)")
        legend(figure, ax, order=sorted(named, key=named.__getitem__))
    return Plot("curves", TITLE, figure)


def _spread(epochs: list[int], logarithmic: bool) -> list[int]:
    """As many of the epochs as have room for their numbers, the last one among them."""
    places = [math.log2(epoch) if logarithmic else float(epoch) for epoch in epochs]
    least = (places[-1] - places[0]) / 20
    kept = [len(epochs) - 1]
    for index in range(len(epochs) - 2, -1, -1):
        if places[kept[-1]] - places[index] >= least:
            kept.append(index)
    return [epochs[index] for index in reversed(kept)]

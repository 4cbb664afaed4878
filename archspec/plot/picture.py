"""Series as a picture: one row of panels for each data set, one column for each cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from archspec.draw.canvas import SUFFIXES, text_width
from archspec.errors import ArchspecError, brief
from archspec.files import replacing
from archspec.plot.labels import Label, place
from archspec.plot.points import IMAGENET, Point, Series
from archspec.search.report.style import (
    BLUE,
    DPI,
    GREEN,
    INK,
    ORANGE,
    PAPER,
    PURPLE,
    QUIET,
    Plot,
    count_axis,
    panels,
    settings,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Cost = Literal["flops", "params"]
AXES: dict[Cost, str] = {"flops": "FLOPs (multiply-adds of one image)", "params": "parameters"}
MARKS = {
    "attention": (BLUE, "o"), "conv": (ORANGE, "s"), "fourier": (GREEN, "D"), "mlp": (PURPLE, "^"),
}  # fmt: skip
"""Colour and marker of the shipped folders, the same in every picture."""
OTHERS = ((INK, "p"), (QUIET, "v"), (GREEN, "X"))
"""Those of other groups, in turn."""
FEW = 14
"""Families up to which each point is labelled with its size as well."""
PIXELS_PER_POINT = 72
"""Layout is worked out at 72 dots per inch, where a dot is a point."""
LABEL_SIZE, SIZE_SIZE = 7.5, 6.5


def draw(
    series: Sequence[Series], path: Path, *, costs: Sequence[Cost] = ("flops", "params")
) -> None:
    """Write a picture of the series; the file's suffix decides how.

    Args:
        series: of any data sets; each set is drawn in panels of its own.
        path: ends in .png, .svg or .pdf.
        costs: what the horizontal axes show.

    Raises:
        ArchspecError: another suffix, nothing to draw, or the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise ArchspecError(
            f"--output takes a file that ends in {', '.join(SUFFIXES)}, found {brief(str(path))}"
        )
    plot = picture(series, costs=costs)
    # the same series give the same file
    dates: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with settings(), replacing(path) as unfinished:
        plot.figure.savefig(
            unfinished, format=path.suffix[1:], dpi=DPI, metadata=dates.get(path.suffix)
        )


def picture(series: Sequence[Series], *, costs: Sequence[Cost] = ("flops", "params")) -> Plot:
    """The picture, not yet written."""
    data = sorted({entry.data for entry in series}, key=lambda name: (name != IMAGENET, name))
    if not data:
        raise ArchspecError("there is nothing to plot: no network here has a published accuracy")
    groups = sorted({entry.group for entry in series if entry.kind == "family"})
    others = [group for group in groups if group not in MARKS]
    marks = MARKS | {name: OTHERS[n % len(OTHERS)] for n, name in enumerate(others)}
    marks = {group: marks[group] for group in groups}
    count = len(data) * len(costs)
    crowd = max(sum(entry.data == name for entry in series) for name in data)
    height = 4.2 if crowd <= FEW else 6.4
    with settings():
        width = (6.2 if crowd > FEW else 5.2) * len(costs)
        figure, axes = panels(count, width=width, height=height, columns=len(costs))
        figure.set_dpi(PIXELS_PER_POINT)
        for row, name in enumerate(data):
            shown = [entry for entry in series if entry.data == name]
            for column, cost in enumerate(costs):
                ax = axes[row * len(costs) + column]
                _panel(ax, shown, cost, marks)
                if column == 0:
                    ax.set_ylabel(
                        f"{name} top-1 (%)"
                        if name == IMAGENET
                        else f"{name}, held-out accuracy (%)"
                    )
        _legend(axes[0], marks, series)
        figure.draw_without_rendering()
        for row, name in enumerate(data):
            shown = [entry for entry in series if entry.data == name]
            for column, cost in enumerate(costs):
                _labels(axes[row * len(costs) + column], shown, cost, marks)
    return Plot("zoo", "Accuracy against cost", figure)


def _panel(
    ax: Axes, series: Sequence[Series], cost: Cost, marks: dict[str, tuple[str, str]]
) -> None:
    for entry in series:
        xs = [getattr(point, cost) for point in entry.points]
        ys = [point.accuracy for point in entry.points]
        if entry.kind == "family":
            colour, marker = marks[entry.group]
            ax.plot(
                xs, ys, color=colour, marker=marker, markersize=6 if marker == "p" else 5,
                linewidth=1, markeredgecolor=PAPER, markeredgewidth=0.6, zorder=3,
            )  # fmt: skip
        elif entry.kind == "trials":
            ax.scatter(xs, ys, s=14, color=QUIET, edgecolors=PAPER, linewidths=0.5, zorder=2)
        else:
            colour = ORANGE if entry.kind == "winner" else INK
            ax.scatter(
                xs, ys, s=110, marker="*", color=colour, edgecolors=PAPER, linewidths=0.6, zorder=5
            )
    ax.set_xlabel(AXES[cost])
    _cost_axis(ax.xaxis, cost, [getattr(p, cost) for entry in series for p in entry.points])
    ax.margins(x=0.09, y=0.09)


def _cost_axis(axis: Axis, cost: Cost, values: Sequence[int]) -> None:
    """Equal steps for equal ratios where the networks are of very different sizes."""
    from matplotlib.ticker import LogLocator, NullLocator

    if max(values) > 4 * min(values):
        axis.axes.set_xscale("log")
        ratio = max(values) / min(values)
        subs = (1, 2, 3, 5, 7) if ratio < 12 else (1, 2, 5) if ratio < 1000 else (1,)
        axis.set_major_locator(LogLocator(subs=subs, numticks=20))
        axis.set_minor_locator(NullLocator())
    count_axis(axis, cost)


def _legend(ax: Axes, marks: dict[str, tuple[str, str]], series: Sequence[Series]) -> None:
    """What the colours say, below all panels; names stand at the points."""
    from matplotlib.lines import Line2D

    handles = []
    for group, (colour, marker) in marks.items():
        families = sorted(
            entry.name for entry in series if (entry.group, entry.kind) == (group, "family")
        )
        handles.append(
            Line2D([], [], color=colour, marker=marker, label=group or ", ".join(families[:4]))
        )
    for kind, colour, marker, label in (
        ("own", INK, "*", "added"), ("trials", QUIET, "o", "trials of a search"),
    ):  # fmt: skip
        if any(entry.kind == kind for entry in series):
            handles.append(Line2D([], [], color=colour, marker=marker, linestyle="", label=label))
    figure = ax.get_figure(root=True)
    if len(handles) > 1 and figure is not None:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)))


def _labels(
    ax: Axes, series: Sequence[Series], cost: Cost, marks: dict[str, tuple[str, str]]
) -> None:
    """Write each name beside its points, where it covers nothing."""
    extent = ax.get_window_extent()
    width, height = extent.width, extent.height

    def at(point: Point) -> tuple[float, float]:
        x, y = ax.transData.transform((getattr(point, cost), point.accuracy))
        return float(x - extent.x0), float(y - extent.y0)

    texts: list[tuple[str, str, float]] = []
    labels: list[Label] = []
    segments = []
    named = [entry for entry in series if entry.kind != "trials"]
    is_crowded = len(named) > FEW
    for entry in named:
        places = [at(point) for point in entry.points]
        segments += [(len(labels), *pair) for pair in pairwise(places)]
        name = entry.name
        if entry.kind == "family" and len(places) == 1 and not is_crowded:
            size = entry.points[0].label
            name = size if size == name else f"{name} {size}"
        colour = marks[entry.group][0] if entry.kind == "family" else INK
        texts.append((name, colour, LABEL_SIZE))
        labels.append(_label(name, LABEL_SIZE, (places[-1], places[0], *places[1:-1])))
    for entry in () if is_crowded else named:
        if len(entry.points) > 1:
            for point in entry.points:
                texts.append((point.label, QUIET, SIZE_SIZE))
                labels.append(_label(point.label, SIZE_SIZE, (at(point),), is_optional=True))
    markers = [at(point) for entry in series for point in entry.points]
    for found, (text, ink, points) in zip(
        place(labels, (width, height), markers, segments), texts, strict=True
    ):
        if found is None:
            continue
        if found.leader is not None:
            ends = zip(found.anchor, found.leader, strict=True)
            xs, ys = (
                [value / side for value in pair]
                for pair, side in zip(ends, (width, height), strict=True)
            )
            ax.plot(xs, ys, color=ink, linewidth=0.5, alpha=0.7, transform=ax.transAxes, zorder=2.5)
        drawn = ax.text(
            found.x / width, (found.y + 0.24 * points) / height, text, color=ink, fontsize=points,
            transform=ax.transAxes, va="baseline", zorder=6,
        )  # fmt: skip
        drawn.set_in_layout(False)


def _label(
    text: str, size: float, anchors: tuple[tuple[float, float], ...], *, is_optional: bool = False
) -> Label:
    return Label(text_width(text, size) + 2, 1.1 * size, anchors, is_optional)

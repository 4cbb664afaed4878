"""The look of all plots, and how a figure becomes a file or a part of the page.

Colours are Okabe and Ito's, which the colour-blind can tell apart; markers differ too.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archspec.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLOURS = {
    "ink": ("#1d2733", "#e6edf3"),
    "quiet": ("#56616e", "#a3b0bd"),
    "line": ("#dde3e9", "#303a45"),
    "paper": ("#fefefe", "#161c24"),
    "shade": ("#e4eff7", "#1b3142"),
    "grey": ("#98a1ab", "#737e8a"),
    "blue": ("#0072b2", "#56b4e9"),
    "orange": ("#d55e00", "#ff9a4d"),
    "green": ("#007d5b", "#41d3a5"),
    "purple": ("#9c3f7a", "#e596c5"),
}
"""Name → colour on light and on dark. The page has them as CSS variables of these names."""

INK, QUIET, LINE, PAPER, SHADE, GREY, BLUE, ORANGE, GREEN, PURPLE = (
    light for light, _ in COLOURS.values()
)
SMALL, NORMAL = 8.0, 9.0
"""Font sizes in points."""
DPI = 160

_SETTINGS: dict[Any, Any] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": NORMAL,
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud
    "svg.hashsalt": "archspec",  # the same record gives the same page
    "text.parse_math": False,  # names may hold a $
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": QUIET,
    "xtick.color": QUIET, "ytick.color": QUIET,
    "xtick.labelsize": SMALL, "ytick.labelsize": SMALL,
    "axes.facecolor": PAPER, "figure.facecolor": PAPER, "savefig.facecolor": PAPER,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": LINE, "grid.linewidth": 0.7,
    "axes.titlesize": NORMAL, "axes.titlelocation": "left",
    "legend.fontsize": SMALL, "legend.frameon": False,
    "axes.formatter.useoffset": False,
}  # fmt: skip


@contextmanager
def settings() -> Iterator[None]:
    """Within it, nothing that is drawn depends on the user's matplotlibrc."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


@dataclass(frozen=True)
class Hint:
    """What a point says when it is pointed at, and the trial whose row it leads to."""

    number: int
    text: str


@dataclass(frozen=True)
class Plot:
    """A picture for the page and for a file of its own."""

    name: str
    title: str
    figure: Figure
    hints: Mapping[str, Sequence[Hint]] = field(default_factory=dict)
    """Id of a scatter (its `gid`) → a hint for each of its points."""

    def __post_init__(self) -> None:
        # the layout is worked out once, and not again for each file
        with settings():
            self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")

    def save_png(self, path: Path) -> None:
        """Write it as a whole, or not at all; in light colours.

        Raises:
            ArchspecError: the file cannot be written.
        """
        with settings(), replacing(path) as unfinished:
            self.figure.savefig(unfinished, format="png", dpi=DPI)

    def svg(self) -> str:
        """The picture as an SVG document, in light colours."""
        target = io.StringIO()
        with settings():
            self.figure.savefig(target, format="svg", metadata={"Date": None})
        return target.getvalue()


def panels(count: int, *, width: float, height: float, columns: int) -> tuple[Figure, list[Axes]]:
    """A figure with panels in rows.

    Args:
        count: panels.
        width: of the figure, in inches.
        height: of each row, in inches.
        columns: panels in a row, at most.
    """
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def count_axis(axis: Axis, name: str) -> None:
    """Numbers of operations and parameters as 600 k, 1.2 M, 5 G: small networks and large ones."""
    from matplotlib.ticker import EngFormatter

    if name in ("flops", "params"):
        axis.set_major_formatter(EngFormatter(sep=" "))


def legend(
    figure: Figure, axes: Axes, *, columns: int = 6, order: Sequence[str] | None = None
) -> None:
    """A legend below all panels, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if order is not None:
        found = dict(zip(labels, handles, strict=True))
        handles, labels = [found[name] for name in order], list(order)
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)))

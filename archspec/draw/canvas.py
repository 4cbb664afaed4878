"""A sheet to draw on, in points from the top left corner, on matplotlib's Figure without pyplot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from archspec.draw.style import LINE, TEXT, Colour
from archspec.errors import SpecError
from archspec.files import replacing

XY = tuple[float, float]

SUFFIXES = (".svg", ".png", ".pdf")
DPI = 144
"""Dots per inch of a PNG."""
MAX_SIDE, MAX_PIXELS = 16_000, 80_000_000
"""Of a PNG's longer side, and of all of it; a larger drawing gets fewer dots per inch."""

_SETTINGS: dict[Any, Any] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "svg.fonttype": "none",  # text stays text: searchable, and small files
    "svg.hashsalt": "archspec",  # the same drawing gives the same file
    "pdf.fonttype": 42,
    "path.simplify": False,
}


@contextmanager
def settings() -> Iterator[None]:
    """Within it, what is measured and drawn does not depend on the user's matplotlibrc."""
    import matplotlib as mpl

    with mpl.rc_context(_SETTINGS):
        yield


@cache
def text_width(text: str, size: float, bold: bool = False, italic: bool = False) -> float:
    """The width of a line of text in points."""
    from matplotlib.textpath import text_to_path

    font = _font(size, bold, italic)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width)


@cache
def _font(size: float, bold: bool, italic: bool) -> Any:
    from matplotlib.font_manager import FontProperties

    return FontProperties(
        family="sans-serif",
        size=size,
        weight="bold" if bold else "normal",
        style="italic" if italic else "normal",
    )


class Canvas:
    """Collects shapes and text; `save` writes them.

    Args:
        width: in points; one unit is one point, so font sizes are lengths too.
        height: in points.
    """

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / 72, height / 72), facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(height, 0)
        self.axes.axis("off")

    def box(
        self,
        left: float,
        top: float,
        width: float,
        height: float,
        colour: Colour,
        *,
        radius: float = 4.0,
        line: float = 1.0,
        dashed: bool = False,
        below: bool = False,
    ) -> None:
        """A rectangle with round corners."""
        from matplotlib.patches import FancyBboxPatch

        style = f"round,pad=0,rounding_size={min(radius, width / 2, height / 2)}"
        self.axes.add_patch(
            FancyBboxPatch(
                (left, top), width, height, boxstyle=style, facecolor=colour.fill,
                edgecolor=colour.edge, linewidth=line, zorder=0 if below else 2,
                linestyle=(0, (3, 2)) if dashed else "-",
            )
        )  # fmt: skip

    def circle(self, x: float, y: float, radius: float, colour: Colour) -> None:
        from matplotlib.patches import Circle

        self.axes.add_patch(
            Circle(
                (x, y), radius, facecolor=colour.fill, edgecolor=colour.edge, linewidth=1.1,
                zorder=2,
            )
        )  # fmt: skip

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        *,
        align: Literal["left", "center", "right"] = "center",
        colour: str = TEXT,
        bold: bool = False,
        italic: bool = False,
    ) -> None:
        """A line of text, its middle at height `y`."""
        self.axes.text(
            x, y, text, color=colour, ha=align, va="center_baseline", zorder=4,
            fontproperties=_font(size, bold, italic), parse_math=False,
        )  # fmt: skip

    def line(self, points: Sequence[XY], *, smooth: bool = False, arrow: bool = True) -> None:
        """A line through points: bending between columns, or with round corners."""
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path as Curve

        last, before = points[-1], points[-2]
        if arrow:
            self._arrow(before, last)
        vertices, codes = _bent(points) if smooth else _rounded(points, 6.0)
        self.axes.add_patch(
            PathPatch(
                Curve(vertices, codes), facecolor="none", edgecolor=LINE, linewidth=1.1, zorder=1,
                capstyle="butt", joinstyle="round",
            )
        )  # fmt: skip

    def dot(self, x: float, y: float) -> None:
        """Where a line leaves another."""
        from matplotlib.patches import Circle

        self.axes.add_patch(Circle((x, y), 1.9, facecolor=LINE, edgecolor="none", zorder=2))

    def _arrow(self, before: XY, tip: XY) -> None:
        from matplotlib.patches import Polygon

        (x0, y0), (x, y) = before, tip
        length = max(abs(x - x0), abs(y - y0)) or 1.0
        dx, dy = (x - x0) / length, (y - y0) / length
        back = (x - 6 * dx, y - 6 * dy)
        corners = [tip, (back[0] - 2.6 * dy, back[1] + 2.6 * dx),
                   (back[0] + 2.6 * dy, back[1] - 2.6 * dx)]  # fmt: skip
        self.axes.add_patch(Polygon(corners, closed=True, facecolor=LINE, linewidth=0, zorder=3))

    def save(self, path: Path) -> None:
        """Write the file as a whole, or not at all.

        Raises:
            SpecError: the suffix names no format that can be written.
            ArchspecError: the file cannot be written.
        """
        kind = suffix(path)
        width, height = self.width / 72, self.height / 72
        dpi = min(DPI, MAX_SIDE / max(width, height), math.sqrt(MAX_PIXELS / (width * height)))
        metadata: dict[str, Any] = {
            ".svg": {"Date": None},
            ".pdf": {"CreationDate": None},
            ".png": {},
        }[kind]
        with replacing(path) as unfinished:
            self.figure.savefig(unfinished, format=kind[1:], dpi=dpi, metadata=metadata)


def suffix(path: Path) -> str:
    """The format that a file's name asks for.

    Raises:
        SpecError: none that can be written.
    """
    found = path.suffix.lower()
    if found not in SUFFIXES:
        raise SpecError(
            f"cannot draw into {path.name!r}: the file's name must end in {', '.join(SUFFIXES)}"
        )
    return found


# -- curves ------------------------------------------------------------------------------------


def _bent(points: Sequence[XY]) -> tuple[list[XY], list[int]]:
    """Straight where two points stand above each other, an S between columns."""
    from matplotlib.path import Path as Curve

    vertices, codes = [points[0]], [int(Curve.MOVETO)]
    for (x0, y0), (x1, y1) in pairwise(points):
        if abs(x0 - x1) < 0.01:
            vertices.append((x1, y1))
            codes.append(int(Curve.LINETO))
        else:
            middle = (y0 + y1) / 2
            vertices += [(x0, middle), (x1, middle), (x1, y1)]
            codes += [int(Curve.CURVE4)] * 3
    return vertices, codes


def _rounded(points: Sequence[XY], radius: float) -> tuple[list[XY], list[int]]:
    """Straight pieces whose corners are rounded off."""
    from matplotlib.path import Path as Curve

    vertices, codes = [points[0]], [int(Curve.MOVETO)]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        r = min(radius, _distance(before, corner) / 2, _distance(corner, after) / 2)
        vertices += [_towards(corner, before, r), corner, _towards(corner, after, r)]
        codes += [int(Curve.LINETO), int(Curve.CURVE3), int(Curve.CURVE3)]
    vertices.append(points[-1])
    codes.append(int(Curve.LINETO))
    return vertices, codes


def _distance(a: XY, b: XY) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _towards(start: XY, end: XY, length: float) -> XY:
    whole = _distance(start, end) or 1.0
    return (start[0] + (end[0] - start[0]) * length / whole,
            start[1] + (end[1] - start[1]) * length / whole)  # fmt: skip

"""The look of a drawing: colours by op family, and font sizes in points."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Colour:
    """A box's inside and its border."""

    fill: str
    edge: str


FAMILIES = {
    "token mixing": Colour("#fbd3b0", "#c75b12"),
    "channel mixing": Colour("#fdf0c4", "#b8860b"),
    "conv": Colour("#cfe3f7", "#2a6fb0"),
    "norm": Colour("#d9efd3", "#3f8f3a"),
    "activation": Colour("#f9d7e3", "#b8436f"),
    "pool": Colour("#cdeeee", "#1f8a8a"),
    "contract": Colour("#e9c9f2", "#8e3aa8"),
    "fourier": Colour("#d3daf8", "#3d55b5"),
    "param": Colour("#f7e9f9", "#a56bb5"),
    "combine": Colour("#ffffff", "#333333"),
    "layout": Colour("#ececec", "#7a7a7a"),
    "part": Colour("#ececec", "#7a7a7a"),
    "regularise": Colour("#f3e3d6", "#8a6242"),
    "block": Colour("#e3defa", "#5b46b8"),
    "terminal": Colour("#ffffff", "#8a8a8a"),
}
"""A family is the file in `archspec/ops/` that an op stands in; the last two are not ops."""

OTHER = Colour("#f4f4f4", "#555555")

LINE = "#444444"
TEXT = "#1a1a1a"
QUIET = "#6b6b6b"
PANEL = Colour("#fcfcfd", "#d5d5dc")

TITLE_SIZE = 10.0
DETAIL_SIZE = 8.0
SHAPE_SIZE = 7.5
HEADING_SIZE = 12.0
NAME_SIZE = 16.0


def colour(family: str) -> Colour:
    """A family's colours; grey for one that has none yet."""
    return FAMILIES.get(family, OTHER)

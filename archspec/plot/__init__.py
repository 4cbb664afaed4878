"""Accuracy against cost as a picture: the zoo, and beside it what the user trained or searched.

    from archspec import plot

    plot.draw(plot.of_rows(rows), Path("zoo.svg"))

Importing it is cheap: matplotlib is loaded by the first drawing.
"""

from archspec.plot.added import added
from archspec.plot.picture import draw
from archspec.plot.points import Point, Series, of_rows
from archspec.plot.runs import of_run, of_study

__all__ = ["Point", "Series", "added", "draw", "of_rows", "of_run", "of_study"]

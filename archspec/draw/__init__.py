"""Drawing a shaped graph: as Mermaid text, and as a picture (SVG, PNG, PDF).

Both start from the same `Diagram`, so they show the same boxes, words and shapes.
"""

from archspec.draw.mermaid import mermaid
from archspec.draw.picture import draw

__all__ = ["draw", "mermaid"]

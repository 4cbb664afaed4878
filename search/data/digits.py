"""scikit-learn's handwritten digits: 1,797 images of 8×8 that need no download."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from archspec.search.data.source import Contents, Encoded, Part, Source

LEVELS = 16  # grey values go from 0 to this, included


class Digits(Source):
    """8×8 pixels, 16 levels of grey, ten classes (UCI's optical recognition of digits)."""

    form = "digits (comes with scikit-learn)"
    rank = 0

    @staticmethod
    def recognises(given: str) -> bool:
        return given == "digits"

    @staticmethod
    def open(given: str) -> Contents:
        from PIL import Image
        from sklearn.datasets import load_digits

        digits = load_digits()
        grey_NHW = np.rint(digits.images * (255 / LEVELS)).astype(np.uint8)

        def read(rows: NDArray[np.intp]) -> Iterator[Encoded]:
            for row in rows:
                yield Encoded(f"digit {row}", Image.fromarray(grey_NHW[row]))

        part = Part(digits.target.astype(np.int64), read, identity=None)
        classes = tuple(str(name) for name in digits.target_names)
        return Contents(classes, {"train": part}, flip=False)

"""Data sets to train candidates on: digits, image folders, Parquet files, Hugging Face data sets.

Each form that is understood is one class in a file of this folder, found by scanning it.
"""

from __future__ import annotations

from archspec.search.data.errors import DataError
from archspec.search.data.images import Data, Split
from archspec.search.data.loading import load

__all__ = ["Data", "DataError", "Split", "load"]

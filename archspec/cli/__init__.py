"""The `archspec` command. Each file of this folder adds commands to the app in `app.py`."""

from __future__ import annotations

from archspec.cli.app import main

__all__ = ["main"]

"""Where specs are: files, and the ones that ship with the package."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from archspec.errors import Mark, SpecError, did_you_mean

FOLDER = Path(__file__).parent / "specs"
SUFFIXES = (".yaml", ".yml")


@cache
def shipped() -> Mapping[str, Path]:
    """Every shipped spec by name. Names are unique, whatever folder they stand in."""
    found: dict[str, Path] = {}
    for path in sorted(FOLDER.rglob("*.yaml")):
        if path.stem in found:
            raise RuntimeError(f"two shipped specs are called {path.stem!r}")
        found[path.stem] = path
    return found


def find(name: str | Path, near: Path | None = None) -> Path:
    """The file of a spec.

    Args:
        name: a path, or the name of a shipped spec.
        near: the folder that relative paths are looked for in first (default: the current one).

    Raises:
        SpecError: there is none.
    """
    text = str(name)
    path = Path(text)
    candidates = [path] if near is None else [near / path, path]
    if path.suffix in SUFFIXES or "/" in text:
        for candidate in candidates:
            if candidate.is_file():
                return candidate
        if path.is_dir():
            raise SpecError("is a folder, not a spec", mark=Mark(text))
    if path.stem in shipped() and (path.suffix == "" or path.parent == Path("specs")):
        return shipped()[path.stem]
    raise SpecError(
        f"there is no spec {text!r}: no such file, and none shipped under that name",
        hint=f"{did_you_mean(path.stem, shipped())} ('archspec specs' lists them)",
    )

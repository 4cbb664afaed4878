"""Which search a user means: one by its name, or the one that ended last."""

from __future__ import annotations

import os
from pathlib import Path

from archspec.compile.errors import CompileError
from archspec.errors import brief, did_you_mean
from archspec.search.kept import LOCK, WINNER

LISTED = 6
"""How many names a message lists before it counts the rest."""
_START = "'archspec search --budget 5GFLOPs' finds a network, or name one: archspec compile SPEC"


def study_folder(name: str, runs: Path) -> Path:
    """The folder of a study, by its name or as it is."""
    folder = Path(name) if "/" in name else runs / name
    if name not in (".", "..") and is_search(folder):  # a name does not lead out of the runs
        return folder
    known = _searches(runs)
    if not known:
        raise CompileError(f"there is no study {brief(name)}: no search in {runs}", hint=_START)
    raise CompileError(
        f"there is no study {brief(name)} in {runs}",
        hint=did_you_mean(name, [folder.name for folder in known]),
    )


def last_ended(runs: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder of the search that ended last, and what is to be said of the choice."""
    known = _searches(runs)
    if not known:
        raise CompileError(f"there is nothing to compile: no search in {runs}", hint=_START)
    ended = {}
    for folder in known:
        if (folder / WINNER).is_file():
            ended[folder] = (folder / WINNER).stat().st_mtime_ns
    if not ended:
        if len(known) == 1:
            return known[0], ()  # which says why
        raise CompileError(
            f"no search in {runs} has a winner yet: {_some(known)}",
            hint="the same 'archspec search' command goes on with one; or: archspec compile SPEC",
        )
    newest = [folder for folder in ended if ended[folder] == max(ended.values())]
    if len(newest) == 1:
        return newest[0], ()
    return newest[0], (
        f"{len(newest)} searches ended last, at the same time: {newest[0].name} was taken, not "
        f"{_some(newest[1:])} (--study chooses)",
    )


def _searches(runs: Path) -> list[Path]:
    """The folders of searches, by name."""
    try:
        return sorted(folder for folder in runs.iterdir() if is_search(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CompileError(f"{runs} cannot be read: {error.strerror or error}") from None


def is_search(folder: Path) -> bool:
    """Whether a folder is of a search, whether or not it has ended."""
    names = (WINNER, LOCK, "study.db")
    return any(os.path.isfile(folder / name) for name in names)  # noqa: PTH113 - names too long


def _some(folders: list[Path]) -> str:
    names = [folder.name for folder in folders]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more

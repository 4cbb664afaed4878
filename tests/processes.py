"""Processes of their own that have everything loaded already: a tenth of a second each."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PRELOAD = [
    "archspec.cli.app", "archspec.measure", "archspec.search.searching",
    "archspec.search.candidate", "archspec.search.choose", "archspec.search.estimate",
    "archspec.search.reading", "archspec.search.train.trainer", "archspec.search.train.scores",
    "archspec.search.winner", "alembic.command", "filelock", "kornia.augmentation",
    "lightning_fabric", "matplotlib.figure", "onnxruntime", "onnxscript", "optuna.storages",
    "sklearn.ensemble", "sympy", "torch._dynamo", "torch.export",
]  # fmt: skip
"""Imported once, by the process that all others are forked from. Importing computes nothing."""


@dataclass(frozen=True)
class Done:
    """How a process ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def start(target: Callable[..., None], *args: Any) -> Any:
    """Start `target(*args)`, whose arguments are pickled, in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    process = context.Process(target=target, args=args)
    process.start()
    return process


def run_to(target: Callable[..., None], *args: Any, seconds: float = 60) -> int:
    """Run in a process of its own; how it ended: 0, or -9 for killed."""
    process = start(target, *args)
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        raise AssertionError("it hangs")
    return int(process.exitcode)


def archspec(
    *words: str, folder: Path, output: Path, environment: Mapping[str, str] | None = None
) -> Done:
    """`archspec WORDS` as a user in `folder` runs it.

    Args:
        output: a folder for what is printed.
    """
    return _done(_command, words, folder, output, environment)


def python(
    source: str, folder: Path, output: Path, environment: Mapping[str, str] | None = None
) -> Done:
    """`python -c SOURCE`; modules count as imported that a fresh Python would not have."""
    return _done(_source, source, folder, output, environment)


def _done(
    target: Callable[[Any], None], what: Any, folder: Path, output: Path,
    environment: Mapping[str, str] | None,
) -> Done:  # fmt: skip
    out, err = output / "stdout.txt", output / "stderr.txt"
    code = run_to(_redirected, target, what, folder, (out, err), dict(environment or {}),
                  seconds=300)  # fmt: skip
    return Done(code, out.read_text(), err.read_text())


def _redirected(
    target: Callable[[Any], None], what: Any, folder: Path, outputs: Sequence[Path],
    environment: Mapping[str, str],
) -> None:  # fmt: skip
    os.environ |= environment
    os.chdir(folder)
    for number, path in zip((1, 2), outputs, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    target(what)  # what it raises ends the process as it ends any: a traceback on stderr, 1


def _command(words: Sequence[str]) -> None:
    from archspec.cli.app import main

    sys.argv = ["archspec", *words]
    main()


def _source(source: str) -> None:
    sys.path.insert(0, "")
    exec(compile(source, "<string>", "exec"), {"__name__": "__main__"})

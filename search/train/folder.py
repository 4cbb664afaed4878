"""The folder of one training: everything in it is whole at any moment, and each epoch is in once.

spec.yaml           the complete spec that is trained
checkpoint.pt       the state after the last epoch
metrics.csv         a line for each epoch
tensorboard/        the same, for TensorBoard
model.safetensors   the weights after the last epoch, once it is there
result.json         what came out, written last
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archspec.errors import ArchspecError, SpecError
from archspec.files import make_folder, write_text, writing
from archspec.search.train.history import Epoch
from archspec.spec import Spec, load, loads
from archspec.written import to_yaml

if TYPE_CHECKING:
    from archspec.search.train.events import Events


class Folder:
    """Where a training is kept. Use it inside `with open_folder(path) as folder`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint.pt"
        self.weights = path / "model.safetensors"
        self.spec = path / "spec.yaml"
        self._result = path / "result.json"
        self._events: Events | None = None

    def check_spec(self, spec: Spec) -> None:
        """Refuse a folder whose spec.yaml was not written by this training.

        Raises:
            ArchspecError: it was not.
        """
        if self.checkpoint.exists() or not self.spec.exists():
            return
        try:
            same = load(self.spec).digest == loads(to_yaml(spec)).digest
        except SpecError:
            same = False
        if not same:
            raise ArchspecError(
                f"{self.spec} is there already and is another spec",
                hint="--output names another folder",
            )

    def write_spec(self, spec: Spec) -> None:
        """Write spec.yaml, if it is not there."""
        if not self.spec.exists():
            write_text(self.spec, to_yaml(spec))

    def write_metrics(self, history: Sequence[Epoch]) -> None:
        """Bring metrics.csv and tensorboard/ up to a history."""
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(["epoch" if f.name == "number" else f.name for f in fields(Epoch)])
        lines.writerows(asdict(epoch).values() for epoch in history)
        write_text(self.path / "metrics.csv", text.getvalue())
        with writing(self.path / "tensorboard"):
            self._write_events(history)

    def _write_events(self, history: Sequence[Epoch]) -> None:
        from archspec.search.train.events import Events

        new = history[-1:]
        if self._events is None:
            # what an interrupted run wrote may lack epochs: all are written again
            self._events, new = Events(self.path / "tensorboard"), history
        for epoch in new:
            values = {
                "accuracy/held_out": epoch.accuracy,
                "loss/held_out": epoch.loss,
                "loss/train": epoch.train_loss,
                "lr": epoch.lr,
                "images_per_second": epoch.images_per_second,
            }
            self._events.add(epoch.number, values)

    def write_weights(self, tensors: dict[str, Any]) -> None:
        """Write model.safetensors."""
        from archspec.search.train.tensors import write_tensors

        write_tensors(self.weights, tensors)

    def write_result(self, facts: dict[str, Any]) -> None:
        write_text(self._result, json.dumps(facts, indent=2) + "\n")

    def result(self) -> dict[str, Any] | None:
        """What came out of the training, if it has ended and all is there."""
        try:
            facts = json.loads(self._result.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return facts if isinstance(facts, dict) and self.weights.exists() else None

    def close(self) -> None:
        if self._events is not None:
            with contextlib.suppress(OSError):  # what could not be written was told then
                self._events.close()


@contextlib.contextmanager
def open_folder(path: Path) -> Iterator[Folder]:
    """Make the folder, and keep other processes from training in it.

    Raises:
        ArchspecError: it cannot be made or written, or a process trains in it.
    """
    make_folder(path)
    with writing(path):
        lock = (path / ".lock").open("w")
    with lock:
        if not _lock(lock):
            raise ArchspecError(
                f"another process trains in {path}", hint="--output names another folder"
            )
        for half in path.glob(".checkpoint-*.pt"):  # of a process that was killed while writing
            half.unlink(missing_ok=True)
        folder = Folder(path)
        try:
            yield folder
        finally:
            folder.close()


def _lock(file: Any) -> bool:
    """Whether the file is now this process's; the system frees it however the process ends."""
    try:
        import fcntl
    except ImportError:
        return True  # not on this system
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # some network file systems have no locks
    return True

"""Checkpoints: read without running anything in them, checked by name and shape, loaded whole."""

from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from archspec.document import KeyMapping
from archspec.errors import Mark, SpecError, WeightsError, brief, cut
from archspec.graph import Graph
from archspec.interpolate import Resize, resizable
from archspec.lower import lower
from archspec.module import to_module
from archspec.rename import Position, positions, renamer
from archspec.resolution import grouped, size_dependence
from archspec.spec import Spec

LISTED = 6
"""How many names a message lists before it counts the rest."""

OWN_NAMES = KeyMapping(inside=("model", "state_dict", "model_state_dict"), prefix="module.")
"""Our own names, also within what training loops and DistributedDataParallel put around them."""

_COUNTER = "num_batches_tracked"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The entries of a `.safetensors` file, or of a `.pth`/`.pt`/`.bin` file of tensors.

    Raises:
        WeightsError: no such file, not a checkpoint, cut short, or holding more than tensors.
    """
    mark = Mark(str(path))
    if not os.path.isfile(path):  # noqa: PTH113 - Path's raises for a name too long
        is_folder = os.path.isdir(path)  # noqa: PTH112
        what = "is a folder, not a checkpoint" if is_folder else "there is no such checkpoint"
        raise WeightsError(what, mark=mark)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong is said below, once
            if path.suffix == ".safetensors":
                return dict(load_file(path))
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror or error}", mark=mark) from None
    except Exception as error:  # noqa: BLE001 - bytes at random make a reader raise anything
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and refused:
            raise WeightsError(
                f"holds a Python object that is no tensor ({refused[1]}) and was not opened",
                mark=mark,
                hint="save its state dict alone: torch.save(model.state_dict(), FILE)",
            ) from None
        raise WeightsError("is not a checkpoint, or is cut short", mark=mark) from None
    if not isinstance(loaded, Mapping):
        raise WeightsError(
            f"holds a {type(loaded).__name__}, expected a state dict (name → tensor)", mark=mark
        )
    for key in loaded:
        if not isinstance(key, str):
            raise WeightsError(
                f"holds an entry called {brief(key)}, expected a state dict (name → tensor)",
                mark=mark,
            )
    return dict(loaded)


@dataclass(frozen=True)
class Loaded:
    """How a checkpoint was read."""

    naming: str
    """Whose names the file uses: "archspec" or the mapping's name."""
    resized: tuple[str, ...]
    """Our names of the entries that were brought to this image size."""


def load_weights(
    module: nn.Module, spec: Spec, graph: Graph, path: Path, *, interpolate: bool = False
) -> Loaded:
    """Load a checkpoint into a module built from `spec`; all entries or none.

    The file may use our own names or those of a mapping that the spec declares under `weights`.

    Args:
        interpolate: resize position embeddings of another image size.

    Raises:
        WeightsError: unreadable, or entries missing, surplus or of another shape, by name.
    """
    loaded, tensors = _read(module.state_dict(), spec, graph, path, interpolate)
    with torch.no_grad():
        for name, target in module.state_dict().items():
            if name in tensors:
                target.copy_(tensors[name].reshape(target.shape))
    return loaded


def check_fit(spec: Spec, graph: Graph, path: Path) -> Loaded:
    """Whether a checkpoint is one of this network, by all names and shapes; nothing is built.

    Raises:
        WeightsError: as `load_weights`.
    """
    with torch.device("meta"):
        expected = to_module(lower(graph)).state_dict()
    return _read(expected, spec, graph, path, interpolate=False)[0]


def _read(
    expected: Mapping[str, Tensor], spec: Spec, graph: Graph, path: Path, interpolate: bool
) -> tuple[Loaded, dict[str, Tensor]]:
    """A checkpoint's tensors by our names, under the naming that fits best."""
    entries = read_checkpoint(path)
    where = positions(graph)
    resizes = resizable(graph)
    candidates = {"archspec": OWN_NAMES, **spec.header.weights}
    attempts = {
        name: _Attempt(entries, mapping, where, expected, resizes if interpolate else {})
        for name, mapping in candidates.items()
    }
    naming, best = min(attempts.items(), key=lambda item: item[1].distance)
    if best.problems:
        hints = _about_sizes(best.misshapen, {} if interpolate else resizes, spec, graph)
        if len(candidates) > 1:
            hints.append(f"known namings: {', '.join(candidates)}")
        raise WeightsError(
            f"does not fit {spec.name} (read with the names of {naming!r}):\n"
            + "\n".join(f"  {problem}" for problem in best.problems),
            mark=Mark(str(path)),
            hint="\n  ".join(hints) or None,
        )
    return Loaded(naming, tuple(best.resized)), best.tensors


def _about_sizes(
    misshapen: Mapping[str, str], resizes: Mapping[str, Resize], spec: Spec, graph: Graph
) -> list[str]:
    """What can be done about entries of another image size."""
    found, dependent = [], size_dependence(spec, graph).paths
    embeddings = [name for name in misshapen if name in resizes]
    bound = [
        name for name in misshapen if name not in resizes and name.rpartition(".")[0] in dependent
    ]
    if embeddings:
        found.append(
            f"position embeddings: {grouped(embeddings)}; --interpolate resizes them "
            "(Python: interpolate=True)"
        )
    if bound:
        size = f"{spec.input['height']}×{spec.input['width']}"
        found.append(
            f"of one image size: {grouped(bound)}; what mixes positions cannot be resized: "
            f"build at the checkpoint's size (--input) instead of {size}"
        )
    return found


class _Attempt:
    """A checkpoint read under one naming, and everything that is wrong with it then."""

    def __init__(
        self,
        entries: Mapping[str, Any],
        mapping: KeyMapping,
        where: tuple[Position, ...],
        expected: Mapping[str, Tensor],
        resizes: Mapping[str, Resize],
    ) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.problems: list[str] = []
        self.resized: list[str] = []
        self.misshapen: dict[str, str] = {}
        """By our name."""
        surplus: list[str] = []
        twice: list[str] = []
        strange: list[str] = []
        rename = renamer(mapping.names, mapping.ignore, where)
        for key, value in _open(entries, mapping).items():
            shown = cut(key)
            if not isinstance(value, Tensor):
                surplus.append(f"{shown} ({type(value).__name__})")
                continue
            if rename.ignores(key):
                continue
            try:
                name = rename(key) if mapping.names else key
            except SpecError as error:
                surplus.append(f"{shown} ({error.message})")
                continue
            if name is None or name not in expected:
                surplus.append(shown)
            elif name in self.tensors:
                twice.append(f"{shown} → {name}")
            elif (kind := _strange(value, expected[name])) is not None:
                strange.append(f"{shown} ({kind})")
                self.tensors[name] = value
            elif not _fits(value, expected[name], exactly=mapping is OWN_NAMES):
                made = resizes[name](value) if name in resizes else None
                if made is None:
                    shapes = f"{_shape(value)}, expected {_shape(expected[name])}"
                    self.misshapen[name] = f"{shown} {shapes}"
                else:
                    self.resized.append(name)
                self.tensors[name] = value if made is None else made
            else:
                self.tensors[name] = value
        missing = [
            name
            for name in expected
            # files older than this counter lack it, and nothing depends on it
            if name not in self.tensors and not name.endswith(_COUNTER)
        ]
        for what, names in (
            ("missing", missing),
            ("surplus", surplus),
            ("of another shape", list(self.misshapen.values())),
            ("of another kind", strange),
            ("named twice", twice),
        ):
            if names:
                rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
                self.problems.append(f"{len(names)} {what}: {', '.join(names[:LISTED])}{rest}")
        parts = (missing, surplus, self.misshapen, strange, twice)
        self.distance = sum(map(len, parts))


def _open(entries: Mapping[str, Any], mapping: KeyMapping) -> dict[str, Any]:
    """The state dict inside a training checkpoint, without a wrapper's prefix."""
    for key in mapping.inside:
        inner = entries.get(key)
        if isinstance(inner, Mapping):
            entries = inner
            break
    prefix = mapping.prefix
    if prefix and all(key.startswith(prefix) for key in entries):
        return {key.removeprefix(prefix): value for key, value in entries.items()}
    return dict(entries)


def _strange(tensor: Tensor, expected: Tensor) -> str | None:
    """What keeps a tensor from being this entry: not an array of real numbers, as it is one."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        return "quantized" if tensor.is_quantized else "sparse or nested"
    wrong = tensor.is_complex() or (expected.is_floating_point() and not tensor.is_floating_point())
    return str(tensor.dtype).removeprefix("torch.") if wrong else None


def _fits(tensor: Tensor, expected: Tensor, exactly: bool) -> bool:
    """Same shape; other projects' entries up to leading or trailing axes of size 1.

    A pointwise convolution's weight is a linear map's, and a (1, 1, C) vector is one of C.
    """
    if exactly:
        return tensor.shape == expected.shape
    return _core(tensor) == _core(expected)


def _core(tensor: Tensor) -> list[int]:
    """The shape without leading and trailing axes of size 1."""
    long = [axis for axis, size in enumerate(tensor.shape) if size != 1]
    return list(tensor.shape[long[0] : long[-1] + 1]) if long else []


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"

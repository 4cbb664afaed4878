"""What the stand-in for TensorRT records: a network of layers that torch evaluates.

FOR TESTS ONLY. Every converter of torch-tensorrt runs against it, so what it builds can be compared
with eager mode. It knows nothing of fusion, speed, or what TensorRT's builder refuses, except for
two rules of strongly typed networks that it enforces: the inputs of a layer have one dtype, and
those of elementwise layers and matrix products one rank.

While a network is recorded, tensors that depend on the network's input are on torch's `meta` device
(shapes only, at two batch sizes where the batch is dynamic), and shape arithmetic is computed.
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

DYNAMIC = -1
PROBES = (2, 3)
"""Sizes of a dynamic dimension while recording; dimensions that differ then are dynamic."""


class DataType(enum.Enum):
    FLOAT = torch.float32
    HALF = torch.float16
    BF16 = torch.bfloat16
    INT8 = torch.int8
    UINT8 = torch.uint8
    INT32 = torch.int32
    INT64 = torch.int64
    BOOL = torch.bool
    FP8 = torch.float8_e4m3fn
    FP4 = "fp4"
    INT4 = "int4"
    E8M0 = "e8m0"


class Weights:
    """A copy of a tensor's memory, flat."""

    def __init__(self, dtype: Any = DataType.FLOAT, pointer: Any = 0, count: int = 0) -> None:
        self.value: Tensor | None = None
        if not isinstance(dtype, DataType):  # an array
            self.value = torch.as_tensor(dtype).detach().clone().flatten()
        elif count:
            size = count * torch.empty(0, dtype=dtype.value).element_size()
            raw = bytearray(ctypes.string_at(pointer, size))
            self.value = torch.frombuffer(raw, dtype=dtype.value)

    @property
    def size(self) -> int:
        return 0 if self.value is None else self.value.numel()


def plain(value: Any) -> Any:
    """An argument of a layer as data: weights as tensors, names of enum values as text."""
    if isinstance(value, np.ndarray):  # which TensorRT's bindings take for weights
        return torch.from_numpy(value.copy())
    if isinstance(value, Weights):
        return value.value
    if isinstance(value, DataType):
        return value.value
    if isinstance(value, torch.Size | tuple | list):
        return tuple(plain(item) for item in value)
    return value.label if hasattr(value, "label") else value


class ITensor:
    """An output of a layer."""

    def __init__(self, layer: Layer, name: str = "") -> None:
        self.layer = layer
        self.name = name

    @property
    def shape(self) -> tuple[int, ...]:
        first, *others = (tuple(value.shape) for value in self.layer.probed())
        return tuple(
            size if all(other[dim] == size for other in others) else DYNAMIC
            for dim, size in enumerate(first)
        )

    @property
    def dtype(self) -> DataType:
        return DataType(self.layer.probed()[0].dtype)


class Kind:
    def __init__(self, name: str) -> None:
        self.name = name


class Layer:
    """One layer: what it is, its arguments (set as attributes), the tensors that it reads."""

    _own = frozenset({"kind", "values", "inputs", "output", "count", "name", "metadata", "_probed"})

    def __init__(self, kind: str, inputs: Sequence[ITensor], values: dict[str, Any], count: int):
        self.kind = kind
        self.values = {name: plain(value) for name, value in values.items()}
        self.inputs: dict[int, ITensor] = dict(enumerate(inputs))
        self.count = count
        """Probes: 1, or 2 where the batch is dynamic."""
        self.name = ""
        self.metadata = ""
        self._probed: list[Tensor] | None = None
        self.output = ITensor(self)

    @property
    def type(self) -> Kind:
        return Kind(self.kind.upper())

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._own:
            object.__setattr__(self, name, value)
            return
        if isinstance(value, ITensor):  # such as the mask of attention
            self.inputs[{"mask": 3}[name]] = value
        else:
            self.values[name] = plain(value)
        self._probed = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_probed": None}

    def set_input(self, index: int, tensor: ITensor) -> None:
        self.inputs[index] = tensor
        self._probed = None

    def get_output(self, index: int) -> ITensor:
        assert index == 0, f"{self.kind} has one output here"
        return self.output

    def probed(self) -> list[Tensor]:
        if self._probed is None:
            self._probed = [
                self.compute({i: t.layer.probed()[probe] for i, t in self.inputs.items()}, probe)
                for probe in range(self.count)
            ]
        return self._probed

    def compute(self, inputs: dict[int, Tensor], probe: int = 0) -> Tensor:
        """Evaluate it on tensors; on shapes alone where one of them has no more than that."""
        from tests.compile.trt.layers import SHAPE_INPUTS, functions

        if self.kind == "input":
            shape = [PROBES[probe] if size == DYNAMIC else size for size in self.values["shape"]]
            return torch.empty(shape, dtype=self.values["dtype"], device="meta")
        values = dict(self.values)
        shape_inputs = SHAPE_INPUTS.get(self.kind, ())
        data = {i: value for i, value in inputs.items() if i not in shape_inputs}
        if any(value.is_meta for value in data.values()):
            inputs = inputs | {i: value.to("meta") for i, value in data.items()}
            values = {
                name: value.to("meta") if isinstance(value, Tensor) else value
                for name, value in values.items()
            }
        compute: Callable[..., Tensor] = functions()[self.kind]
        return compute(inputs, **values)


class Network:
    """Stands for `INetworkDefinition`."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.feeds: list[ITensor] = []
        self.outputs: list[ITensor] = []
        self.name = ""

    def get_flag(self, flag: Any) -> bool:
        return flag.label == "STRONGLY_TYPED"

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("add_"):
            raise AttributeError(name)
        from tests.compile.trt.layers import arguments

        kind = name.removeprefix("add_")
        names = arguments(kind)

        def add(*args: Any, **kwargs: Any) -> Layer:
            given = dict(zip(names, args, strict=False)) | kwargs
            tensors: list[ITensor] = []
            values: dict[str, Any] = {}
            for key, value in given.items():
                if isinstance(value, ITensor):
                    tensors.append(value)
                elif isinstance(value, list | tuple) and any(isinstance(v, ITensor) for v in value):
                    tensors += value
                else:
                    values[key] = value
            return self._add(kind, tensors, values)

        return add

    def add_input(self, name: str, dtype: DataType, shape: Sequence[int]) -> ITensor:
        tensor = self._add("input", (), {"dtype": dtype, "shape": shape}).output
        tensor.name = name
        self.feeds.append(tensor)
        return tensor

    def _add(self, kind: str, inputs: Sequence[ITensor], values: dict[str, Any]) -> Layer:
        is_dynamic = any(DYNAMIC in feed.layer.values["shape"] for feed in self.feeds)
        is_dynamic |= kind == "input" and DYNAMIC in values["shape"]
        layer = Layer(kind, inputs, values, 2 if is_dynamic else 1)
        self.layers.append(layer)
        return layer

    def mark_output(self, tensor: ITensor) -> None:
        self.outputs.append(tensor)

    def evaluate(self, *images: Tensor) -> list[Tensor]:
        """The network's outputs, each layer computed by torch."""
        steps = self._in_order()
        last = {t.layer: step for step, layer in enumerate(steps) for t in layer.inputs.values()}
        known = {feed.layer: value for feed, value in zip(self.feeds, images, strict=True)}
        kept = {output.layer for output in self.outputs}
        for step, layer in enumerate(steps):
            if layer.kind != "input":
                known[layer] = layer.compute({i: known[t.layer] for i, t in layer.inputs.items()})
            for tensor in layer.inputs.values():
                if last[tensor.layer] == step and tensor.layer not in kept:
                    known.pop(tensor.layer, None)
        return [known[output.layer] for output in self.outputs]

    def _in_order(self) -> list[Layer]:
        """The layers that an output depends on, each after those it reads.

        Not the order in which they were added: a shape may be computed after its reader was made.
        """
        done: dict[Layer, None] = {}
        stack = [output.layer for output in self.outputs]
        while stack:
            waiting = [t.layer for t in stack[-1].inputs.values() if t.layer not in done]
            if waiting:
                stack += waiting
            else:
                done[stack.pop()] = None
        return list(done)

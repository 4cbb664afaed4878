"""A stand-in for the `tensorrt` package, so that torch-tensorrt can be tested without it.

FOR TESTS ONLY, and only in a process of its own: nothing of the product imports this file, it lies
under no name that `import tensorrt` would find, and `install` refuses where a real TensorRT can be
imported. It shows which operators torch-tensorrt converts, into how many engines, and that the
converted network computes the same; it says nothing about what TensorRT makes of it.

Tests start `tests.compile.trt.child`, which installs it.
"""

from __future__ import annotations

import importlib.util
import pickle
import shutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from tests.compile.trt.network import DataType, ITensor, Network, Weights

VERSION = "11.0.0"
WITH = "2.13"
"""The version of torch and torch-tensorrt that it was made for."""
ROOT = Path(__file__).parents[3]
SOURCE = ROOT / ".venv" / "torch_tensorrt"
"""A copy of torch-tensorrt without what it depends on; `make setup` puts it there."""


def why_not() -> str | None:
    """Why the stand-in cannot be used here; None if it can."""
    if importlib.util.find_spec("tensorrt") is not None:
        return "a real TensorRT is installed: the stand-in would hide it"
    if not (SOURCE / "torch_tensorrt").is_dir():
        return (
            "there is no copy of torch-tensorrt: pip install --no-deps "
            "--target .venv/torch_tensorrt torch-tensorrt==2.13.0"
        )
    for package in ("dllist", "psutil"):
        if importlib.util.find_spec(package) is None:
            return f"torch-tensorrt needs the package {package}"
    if torch.__version__.split(".")[:2] != WITH.split("."):
        return f"the stand-in is for torch {WITH}, and this is {torch.__version__}"
    return None


def strip(target: Path) -> Path:
    """Copy torch-tensorrt into a folder without its compiled parts, which need TensorRT."""
    compiled = shutil.ignore_patterns("lib", "bin", "include", "_C*.so")
    shutil.copytree(SOURCE, target, ignore=compiled)
    return target


class _Kind(type):
    """Classes whose attributes are values of their own, one for each name."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = object.__new__(cls)
        value.label = name
        setattr(cls, name, value)
        return value


class Thing(metaclass=_Kind):
    """Anything of TensorRT's that nobody looks into: enums, flags, interfaces."""

    label = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    @property
    def name(self) -> str:
        return self.label

    def __int__(self) -> int:
        return 1

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = Thing()
        value.label = name
        object.__setattr__(self, name, value)
        return value


class Profile:
    """Stands for `IOptimizationProfile`."""

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, name: str, *shapes: Any) -> None:
        self.shapes[name] = tuple(tuple(shape) for shape in shapes)


class Config:
    """Stands for `IBuilderConfig`."""

    def __init__(self) -> None:
        self.profiles: list[Profile] = []
        self.cleared: list[str] = []
        self.cache = b""

    def add_optimization_profile(self, profile: Profile) -> None:
        self.profiles.append(profile)

    def clear_flag(self, flag: Any) -> None:
        self.cleared.append(flag.label)

    def set_flag(self, flag: Any) -> None:
        pass

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        pass

    def create_timing_cache(self, content: bytes) -> bytes:
        return content

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> None:
        self.cache = cache

    def get_timing_cache(self) -> SimpleNamespace:
        return SimpleNamespace(serialize=lambda: self.cache + b"timings")


class Engine:
    """Stands for `ICudaEngine`: a recorded network and the profile that it was built for."""

    streamable_weights_size = 0

    def __init__(self, network: Network, shapes: dict[str, Any]) -> None:
        self.network = network
        self.shapes = shapes

    def serialize(self) -> bytes:
        return b"ftrt" + pickle.dumps((self.network, self.shapes))

    def _tensor(self, name: str) -> ITensor:
        return next(t for t in (*self.network.feeds, *self.network.outputs) if t.name == name)

    def get_tensor_dtype(self, name: str) -> DataType:
        return self._tensor(name).dtype

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._tensor(name).shape

    def is_shape_inference_io(self, name: str) -> bool:
        return False

    @property
    def num_io_tensors(self) -> int:
        return len(self.network.feeds) + len(self.network.outputs)

    def get_tensor_name(self, index: int) -> str:
        return [*self.network.feeds, *self.network.outputs][index].name

    def get_tensor_mode(self, name: str) -> Any:
        is_input = any(feed.name == name for feed in self.network.feeds)
        mode = sys.modules["tensorrt"].TensorIOMode
        return mode.INPUT if is_input else mode.OUTPUT

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        shape = self.get_tensor_shape(name)
        return list(self.shapes.get(name, (shape, shape, shape)))


class Builder(Thing):
    """Records; the last one's configuration can be looked at."""

    last: Config

    def __init__(self, logger: Any) -> None:
        pass

    def create_network(self, flags: int) -> Network:
        return Network()

    def create_builder_config(self) -> Config:
        Builder.last = Config()
        return Builder.last

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_engine_with_config(self, network: Network, config: Config) -> Engine:
        shapes = config.profiles[0].shapes if config.profiles else {}
        return Engine(network, shapes)


class Runtime(Thing):
    def __init__(self, logger: Any) -> None:
        pass

    def deserialize_cuda_engine(self, content: bytes) -> Engine:
        assert content.startswith(b"ftrt"), "not an engine of the stand-in"
        return Engine(*pickle.loads(content[4:]))


class _Module(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "tensorrt_rtx":
            raise AttributeError(name)
        value = _Kind(name, (Thing,), {})
        setattr(self, name, value)
        return value


def install(copy: Path) -> None:
    """Put the stand-in into this process, for good; torch-tensorrt is imported from `copy`.

    Raises:
        RuntimeError: there is a real TensorRT here.
    """
    reason = why_not()
    if reason is not None:
        raise RuntimeError(reason)
    module: Any = _Module("tensorrt", __doc__)
    module.__path__ = []
    module.__spec__ = ModuleSpec("tensorrt", None)
    module.__file__ = __file__
    module.__version__ = VERSION
    module.tensorrt = module
    module.Dims = tuple
    module.volume = lambda shape: int(torch.tensor(tuple(shape)).prod())
    for kind in (DataType, ITensor, Weights, Builder, Runtime):
        setattr(module, kind.__name__, kind)
    names = {
        "float32": DataType.FLOAT, "float16": DataType.HALF, "bfloat16": DataType.BF16,
        "int8": DataType.INT8, "int32": DataType.INT32, "int64": DataType.INT64,
        "bool": DataType.BOOL, "uint8": DataType.UINT8, "fp8": DataType.FP8, "fp4": DataType.FP4,
    }  # fmt: skip
    for name, dtype in names.items():
        setattr(module, name, dtype)
    sys.modules["tensorrt"] = module
    sys.path.insert(0, str(copy))
    _answer_for_cuda()


def _answer_for_cuda() -> None:
    """What torch-tensorrt asks of torch.cuda before it needs one."""
    device = SimpleNamespace(
        major=9, minor=0, name="stand-in", total_memory=1 << 36, multi_processor_count=1
    )
    cuda: Any = torch.cuda
    cuda.get_device_capability = lambda *_: (9, 0)
    cuda.get_device_properties = lambda *_: device
    cuda.current_device = lambda: 0
    cuda.mem_get_info = lambda *_: (1 << 36, 1 << 36)
    cuda.default_stream = lambda *_: None
    if not hasattr(torch._C, "_CudaDeviceProperties"):
        torch._C._CudaDeviceProperties = SimpleNamespace


def evaluate_engines() -> None:
    """Let torch-tensorrt's Python runtime evaluate recorded engines on the CPU."""
    from torch_tensorrt.dynamo.runtime._TRTEngine import TRTEngine

    def execute(engine: Any, inputs: list[Tensor]) -> list[Tensor]:
        found: list[Tensor] = engine.cuda_engine.network.evaluate(*inputs)
        return found

    TRTEngine.execute = execute

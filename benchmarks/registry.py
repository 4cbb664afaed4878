"""What a benchmark is, and which there are."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import benchmarks
from benchmarks.timing import Quartiles

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Row:
    """One measured figure: its median and quartiles over the rounds."""

    case: str
    """What was done, such as `batch 8, fp32`."""
    figure: str
    """What the number says, such as `archspec` or `archspec / plain`."""
    value: Quartiles
    unit: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Findings:
    """Figures, and what they were computed from."""

    rows: list[Row]
    details: Mapping[str, Any]
    """Plain data for the JSON file, with which the figures can be computed again."""


def nothing(device: Device) -> str | None:
    """What a benchmark lacks that needs nothing but its device."""
    return None


@dataclass(frozen=True)
class Benchmark:
    """One benchmark; its file ends in `BENCHMARK = Benchmark(…)`."""

    name: str
    measures: str
    """In a sentence."""
    needs: tuple[Device, ...]
    """The devices that it is to be measured on, each for itself."""
    run: Callable[[Device], list[Row] | Findings | Iterator[Findings]]
    """A long one may give what it has found so far again and again."""
    lacks: Callable[[Device], str | None] = nothing
    """What else it needs that is missing here: `needs …`."""
    is_long: bool = False
    """Whether it takes so long that it is run only when it is named."""


def find_all() -> dict[str, Benchmark]:
    """Every benchmark by its name."""
    found: dict[str, Benchmark] = {}
    for info in pkgutil.iter_modules(benchmarks.__path__):
        if info.name == "__main__":
            continue
        module = importlib.import_module(f"benchmarks.{info.name}")
        benchmark = getattr(module, "BENCHMARK", None)
        if benchmark is None:
            continue  # a helper
        if benchmark.name in found:
            raise RuntimeError(f"two benchmarks are called {benchmark.name!r}")
        found[benchmark.name] = benchmark
    return found

"""What a backend is: a file of this folder with one class, found by scanning.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from archspec.compile.errors import CompileError
from archspec.compile.settings import Precision, Settings
from archspec.errors import brief
from archspec.program import Pointwise

if TYPE_CHECKING:
    from torch import Tensor

    from archspec.compile.network import Network


class Runner(Protocol):
    """A compiled network in memory.

    Takes normalised images (B, C, H, W) in float32 on the device it was made for, gives logits
    (B, K) in float32 there, whatever it computes in.
    """

    def __call__(self, images_BCHW: Tensor, /) -> Tensor: ...


FOLDS = ("drop-identities", "fold-batch-norm", "fold-layer-norm", "fold-affine")
"""Rewrites that leave less of the same ops to do."""
FUSED = (
    *FOLDS, "batch-norm-to-affine", "compose-linears", "split-concat", "commute-axes",
    "merge-linears",
)  # fmt: skip
"""And those that trade a large op for several small ones: they pay where small ops are fused."""


TORCH_PRECISIONS: Mapping[str, tuple[Precision, ...]] = {
    "cpu": ("fp32", "bf16", "fp16"), "cuda": ("fp32", "tf32", "bf16", "fp16"),
}  # fmt: skip
"""Of what PyTorch itself computes or compiles."""


@dataclass(frozen=True)
class Form:
    """The form in which a network is fastest with a backend, by measurement (`benchmarks/`)."""

    rewrites: tuple[str, ...] = FOLDS
    pointwise: Pointwise = "conv"
    """What linear maps along the channels of a grid are lowered to."""


def fused(settings: Settings) -> Form:
    """The form for PyTorch's own compiler, which fuses small ops."""
    # oneDNN's float32 convolution is faster than its product, in lower precisions it is not
    is_float = settings.device_kind == "cpu" and settings.precision == "fp32"
    return Form(FUSED, "conv" if is_float else "linear")


class Coverage(Protocol):
    """What a dry run found."""

    @property
    def is_complete(self) -> bool: ...

    def to_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Job:
    """One compilation, as a backend sees it."""

    network: Network
    """After the rewrites; weights in float64."""
    settings: Settings
    folder: Path
    """An empty folder: whatever is written there is the artefact."""
    images_BCHW: Tensor
    """Normalised images with real statistics, float32: to calibrate int8 and fp8 with."""
    note: Callable[[str], None]
    """Tells the user something worth knowing, in a sentence."""


class Backend:
    """One way to compile. Subclass it in a file of `compile/backends/` to add one.

    `archspec.compile` asks `missing()` before any work, gives the rewritten network to `compile`,
    and loads what that wrote with `load`, also in a process that knows nothing of the spec.
    """

    name: ClassVar[str]
    """As `--backend` names it."""
    about: ClassVar[str]
    """What it is, in a phrase."""
    extra: ClassVar[str | None] = None
    """The optional dependencies that it needs: `pip install 'archspec-vision[EXTRA]'`."""
    precisions: ClassVar[Mapping[str, tuple[Precision, ...]]]
    """By kind of device (`cpu`, `cuda`), the usual one first; other kinds are not served."""
    files: ClassVar[tuple[str, ...]]
    """What `compile` writes into the folder."""
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    """Distributions whose versions belong in the manifest."""
    is_bound: ClassVar[bool] = False
    """Whether an artefact runs only on the capability and with the versions it was made with."""
    runs_code: ClassVar[bool] = False
    """Whether an artefact holds machine code or pickles, which loading runs."""

    @classmethod
    def missing(cls, settings: Settings) -> list[str]:
        """What keeps it from being used here, each as a phrase; empty if nothing does."""
        return []

    @classmethod
    def form(cls, settings: Settings) -> Form:
        """What the network is brought to first, unless the user asks for other rewrites."""
        return Form()

    @classmethod
    def install(cls) -> str | None:
        """The command that installs its packages, if it needs any."""
        return f"pip install 'archspec-vision[{cls.extra}]'" if cls.extra else None

    @classmethod
    def missing_to_run(cls, settings: Settings) -> list[str]:
        """What keeps a finished artefact from being run here; it may be less than `missing`."""
        return cls.missing(settings)

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse options that the backend does not have.

        Raises:
            CompileError: there are some.
        """
        for name in options:
            raise CompileError(f"the backend {cls.name!r} has no options, found {brief(name)}")

    @classmethod
    def dry_run(cls, network: Network, settings: Settings) -> Coverage:
        """Which operators it can take, without compiling; only some backends can say.

        Raises:
            CompileError: this one cannot.
        """
        raise CompileError(f"the backend {cls.name!r} has no dry run", hint="tensorrt has one")

    @classmethod
    def compile(cls, job: Job) -> dict[str, Any]:
        """Write the artefact into `job.folder`.

        Returns:
            What loading needs to know and the manifest is to show, as plain data.

        Raises:
            CompileError: it cannot be compiled, in words for the user.
        """
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path, settings: Settings, facts: Mapping[str, Any]) -> Runner:
        """The artefact of a folder, ready to run.

        Args:
            facts: what `compile` returned.

        Raises:
            CompileError: the files are not what `compile` wrote.
        """
        raise NotImplementedError

"""How a training can end other than well."""

from __future__ import annotations

from archspec.errors import ArchspecError


class TrainingFailed(ArchspecError):  # noqa: N818 - an outcome: names what happened
    """The network could not be trained; another one may well be."""


class Diverged(TrainingFailed):
    """The loss is no longer a finite number."""


class OutOfMemory(TrainingFailed):
    """Not even one image at a time fits into memory."""


class LateOutOfMemory(OutOfMemory):
    """It ran out in one of several processes, in a step that had fitted before."""


class Interrupted(ArchspecError):  # noqa: N818
    """The caller asked to stop. A checkpoint, where one is kept, goes on from the last epoch."""

    exit_code = 130


_MESSAGES = (
    "not enough memory",  # torch's CPU allocator
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",  # cuBLAS, for its own workspace
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory has run out, on any device."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MESSAGES)

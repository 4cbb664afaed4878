"""From a program to one source file in plain PyTorch."""

from archspec.emit.file import emit

__all__ = ["emit"]

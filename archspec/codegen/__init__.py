"""From a program to one source file in plain PyTorch."""

from archspec.codegen.file import emit

__all__ = ["emit"]

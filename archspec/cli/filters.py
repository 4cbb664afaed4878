"""Which specs a command is about: words and limits, shared by `specs` and `plot`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import typer

from archspec.errors import ArchspecError, brief, suggestion
from archspec.figures import Row, figures_of, shipped_figures

WordsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[WORD|SPEC|FOLDER]...",
        help="What a name, family, folder, description or source has in it; a YAML file; or a "
        "folder of your own specs.",
        show_default=False,
    ),
]
FamilyOption = Annotated[
    list[str] | None,
    typer.Option("--family", metavar="NAME", help="The sizes of one network: swin. Repeatable."),
]
MaxFlopsOption = Annotated[
    str | None, typer.Option("--max-flops", metavar="N", help="At most: 5G, 600M.")
]
MinFlopsOption = Annotated[
    str | None, typer.Option("--min-flops", metavar="N", help="At least: 4.5G.")
]
MaxParamsOption = Annotated[
    str | None, typer.Option("--max-params", metavar="N", help="At most: 30M.")
]
MinParamsOption = Annotated[
    str | None, typer.Option("--min-params", metavar="N", help="At least: 10M.")
]
MinTop1Option = Annotated[
    float | None,
    typer.Option("--min-top1", metavar="PERCENT", min=0, max=100, help="At least: 80."),
]

APART = ("ablations", "spaces", "blocks")
"""Folders whose specs are no networks of the zoo; shown to those who ask for them."""


@dataclass(frozen=True)
class Filter:
    """What was asked for."""

    words: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    max_flops: str | None = None
    min_flops: str | None = None
    max_params: str | None = None
    min_params: str | None = None
    min_top1: float | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether specs were named in some way, and not all are meant."""
        return bool(self.words or self.families)

    def rows(self) -> list[Row]:
        """The specs that were asked for, each once.

        Raises:
            ArchspecError: none is meant, or a limit cannot be read.
        """
        limits = list(self._limits())
        shipped = shipped_figures()
        found = [row for word in self.words for row in _matching(word, shipped)]
        if not self.words:
            found = shipped
        for name in self.families:
            known = {row["family"] for row in found}
            if name not in known:
                raise ArchspecError(
                    f"--family {name}: there is no such family",
                    hint=suggestion(name, known) or "'archspec specs' lists the networks",
                )
        if self.families:
            found = [row for row in found if row["family"] in self.families]
        found = [row for row in found if all(allows(row) for allows in limits)]
        if not found:
            raise ArchspecError("no spec is inside these limits", hint="'archspec specs' lists all")
        return list({(row["folder"], row["name"]): row for row in found}.values())

    def _limits(self) -> list[Callable[[Row], bool]]:
        limits: list[Callable[[Row], bool]] = []
        for option, text, figure, sign in (
            ("--max-flops", self.max_flops, "flops", -1),
            ("--min-flops", self.min_flops, "flops", 1),
            ("--max-params", self.max_params, "params", -1),
            ("--min-params", self.min_params, "params", 1),
        ):
            if text is not None:
                limits.append(_limit(option, text, figure, sign))  # type: ignore[arg-type]
        if self.min_top1 is not None:
            least = self.min_top1
            limits.append(lambda row: row["top1"] is not None and row["top1"] >= least)
        return limits


def _limit(
    option: str, text: str, figure: Literal["flops", "params"], sign: int
) -> Callable[[Row], bool]:
    from archspec.search.budgets import amount

    limit: Fraction | None = amount(text, figure)
    if limit is None:
        such = "5G, 600M" if figure == "flops" else "30M"
        raise ArchspecError(f"{option} takes a figure such as {such}, found {brief(text)}")

    def allows(row: Row) -> bool:
        value = row[figure]
        return value is not None and sign * (value - limit) >= 0

    return allows


def _matching(word: str, shipped: list[Row]) -> list[Row]:
    """A word's specs: of that very name or family or folder, or all that have it in their text."""
    is_path = "/" in word or word.endswith((".yaml", ".yml"))
    exact = [row for row in shipped if word in (row["name"], row["family"], row["folder"])]
    if exact and not is_path:
        return exact
    if os.path.isfile(word):  # noqa: PTH113 - Path's raises for a name too long
        from archspec.spec import load

        load(word)  # which says what is wrong with it
    if os.path.exists(word):  # noqa: PTH110
        if found := figures_of(Path(word)):
            return found
        raise ArchspecError(f"{brief(word)} holds no spec: their files end in .yaml")
    if is_path:
        raise ArchspecError(f"{brief(word)}: there is no such file or folder")
    found = [row for row in shipped if any(word.lower() in text.lower() for text in _texts(row))]
    if not found:
        names = {text for row in shipped for text in (row["name"], row["family"], row["folder"])}
        raise ArchspecError(
            f"no spec has {brief(word)} in its name, family, folder, description or source",
            hint=suggestion(word, names) or "'archspec specs' lists the shipped ones",
        )
    return found


def _texts(row: Row) -> list[str]:
    texts = (row["name"], row["family"], row["folder"], row["about"], row["source"])
    return [text for text in texts if text]

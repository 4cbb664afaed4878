"""A spec made to fit the data it is trained on."""

from __future__ import annotations

from archspec.errors import ArchspecError, Mark, ShapeError, SpecError
from archspec.expansion import expand
from archspec.search.data.images import Data
from archspec.spec import Spec

NEAR = 64
"""How far from a resolution that does not suit a network others are tried, in pixels."""


def resolution_of(spec: Spec, resolution: int | None) -> int:
    """The height and width to train at: as given, or the spec's own.

    Raises:
        ArchspecError: the network cannot take it, with what it can take; or the spec's own input
            is not square.
    """
    height, width = spec.input["height"], spec.input["width"]
    if resolution is None:
        if height != width:
            raise ArchspecError(
                f"{spec.name} has an input of {height}×{width}, and training is on square images",
                hint="--resolution names their size",
            )
        return int(height)
    try:
        expand(sized(spec, (resolution, resolution)))
    except ShapeError as error:
        around = range(max(1, resolution - NEAR), resolution + NEAR + 1)
        fit = [other for other in around if _takes(spec, other)]
        near = sorted(fit, key=lambda other: abs(other - resolution))[:2]
        raise ArchspecError(
            f"{spec.name} does not take images of {resolution}×{resolution}: {error.message}",
            mark=Mark("--resolution"),
            hint=f"near it: {', '.join(map(str, sorted(near)))}" if near else error.hint,
        ) from None
    return resolution


def fitted(spec: Spec, data: Data, resolution: int) -> Spec:
    """The spec with as many classes as the data, at a resolution, without published figures.

    Raises:
        SpecError: it describes no such network.
    """
    plain = spec.with_values({"name": spec.name, "published": {}}, origin="the data's")
    return sized(plain, (resolution, resolution), len(data.classes))


def sized(
    spec: Spec, size: tuple[int, int], classes: int | None = None, *, origin: str = "--resolution"
) -> Spec:
    """The spec at a height and width, and with another number of classes if one is given.

    Args:
        origin: what messages name as the place of a value that cannot be.

    Raises:
        SpecError: it describes no such network.
    """
    values = {"input.height": size[0], "input.width": size[1]}
    if classes is not None:
        values["classes"] = classes
    return spec.with_values(values, origin=origin)


def _takes(spec: Spec, resolution: int) -> bool:
    try:
        expand(sized(spec, (resolution, resolution)))
    except SpecError:
        return False
    return True

"""The page: everything is put together here and written."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archspec.errors import ArchspecError
from archspec.files import make_folder, write_text, writing
from archspec.search.record import Record
from archspec.search.report import results, words

if TYPE_CHECKING:
    from archspec.search.report.style import Plot
    from archspec.spec import Spec

PAGE = "report.html"
PLOTS = ("progress", "front", "importance", "scores", "curves")


def write(
    record: Record, folder: Path, *, winner: Spec | None = None, reference: Spec | None = None
) -> Path:
    """Write `report.html` and `plots/*.png` into a run's folder, each file whole or not at all.

    The page stands for itself: nothing is loaded from elsewhere. It can be written at any time
    of a search, also before the first trial has ended.

    Args:
        record: the study.
        folder: the run's; made if it is not there. Specs in it (`winner.yaml`, `front/*.yaml`)
            are linked to.
        winner: the winning network, to be drawn and compared.
        reference: the network to compare it with.

    Returns:
        The page's path.

    Raises:
        ArchspecError: a file cannot be written.
        SpecError: the winner or the reference has unfilled holes, or describes no network.
    """
    from archspec.search.report import curves, front, importance, progress, scores

    found, agreed = importance.importance(record), scores.scores(record)
    drawn: dict[str, Plot | None] = {
        "progress": progress.plot(record),
        "front": front.plot(record),
        "importance": None if found is None or found.r2 <= 0 else importance.plot(found),
        "scores": scores.plot(record, agreed),
        "curves": curves.plot(record),
    }
    page = _render(
        record=record,
        plots={name: _element(plot) for name, plot in drawn.items()},
        importance=found,
        importance_target=importance.target(record),
        scores=agreed,
        verdict=scores.verdict(record, agreed),
        far=front.far(record),
        comparison=_comparison(winner, reference),
        files=_specs(folder),
    )
    _save_plots(drawn, folder / "plots")
    write_text(folder / PAGE, page)
    return folder / PAGE


def write_report(record: Record, folder: Path, winner: Spec | None) -> Path:
    """The same, with the reference that the record names, if it can be read."""
    from archspec.spec import load

    reference = None
    if record.reference is not None:
        with contextlib.suppress(ArchspecError):
            reference = load(record.reference)
    return write(record, folder, winner=winner, reference=reference)


def _save_plots(drawn: dict[str, Plot | None], folder: Path) -> None:
    make_folder(folder)
    with writing(folder):
        for name, plot in drawn.items():
            file = folder / f"{name}.png"
            if plot is not None:
                plot.save_png(file)
            else:
                file.unlink(missing_ok=True)  # of an earlier study: not this one's


def _element(plot: Plot | None) -> str | None:
    from archspec.search.report.svg import inline

    if plot is None:
        return None
    return inline(plot.svg(), plot.name, plot.title, themed=True, hints=plot.hints)


def _comparison(winner: Spec | None, reference: Spec | None) -> dict[str, Any] | None:
    """Both networks' sides, stages of either in order, and drawings as elements."""
    from archspec.search.report.compare import side, stage_variables
    from archspec.search.report.svg import inline

    if winner is None:
        return None
    specs = [winner] if reference is None else [winner, reference]
    sides = [side(spec) for spec in specs]
    return {
        "sides": sides,
        "stages": list(dict.fromkeys(name for entry in sides for name in entry.stages)),
        "variables": stage_variables(*specs),
        "drawings": [
            inline(entry.drawing, f"network{index}", entry.name)
            for index, entry in enumerate(sides)
        ],
    }


def _specs(folder: Path) -> list[str]:
    """Specs in the run's folder, the winner's first, as paths from the page."""
    files = [folder / "winner.yaml", *sorted((folder / "front").glob("*.yaml"))]
    return [file.relative_to(folder).as_posix() for file in files if file.is_file()]


def _render(*, record: Record, plots: dict[str, str | None], **context: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals |= {"w": words, "final": results.final, "palette": _palette()}
    environment.filters["safe_svg"] = lambda text: Markup(text)  # noqa: S704 - made by svg.inline
    environment.filters["link"] = _link
    script = (folder / "page.js.jinja").read_text(encoding="utf-8")
    return environment.get_template("page.html.jinja").render(
        record=record,
        plots=plots,
        summary=results.summary(record),
        main_index=results.main(record),
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        holes=words.short_names(name for trial in record.trials for name in trial.choices),
        score_names=sorted({name for trial in record.trials for name in trial.scores}),
        trials=sorted(record.trials, key=lambda trial: trial.number),
        **context,
    )


def _palette() -> Sequence[tuple[str, str, str]]:
    from archspec.search.report.style import COLOURS

    return [(name, light, dark) for name, (light, dark) in COLOURS.items()]


def _link(path: str) -> str:
    from urllib.parse import quote

    return quote(path)

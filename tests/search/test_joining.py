"""Whoever joins a study searches for the same: workers of one instant, and those that differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import archspec
from archspec.search import run
from archspec.search.errors import StudyError
from archspec.search.storage import SETTINGS, load_study
from archspec.spec import loads
from benchmarks.postgres import Server
from tests.search import searches
from tests.search.crews import Crew, attempts, study_at
from tests.search.shared import STUDY, Ways

# -- at the same instant ---------------------------------------------------------------------------


def test_workers_that_start_a_study_at_the_same_instant(any_crew: Crew) -> None:
    """In an empty database: tables, study and settings are made once."""
    crew = any_crew
    go = crew.folder / "go"
    crew.start(4, Ways(starts_with=go))
    crew.heard("ready", 4)
    go.touch()
    assert crew.join() == [0] * 4
    assert attempts(crew.check()) == {}
    kept = study_at(crew.url).user_attrs[SETTINGS]
    assert (kept["sampler"], kept["seed"]) == ("uniform", 0)


def test_of_two_settings_at_the_same_instant_one_is_the_study_s(any_crew: Crew) -> None:
    crew = any_crew
    go = crew.folder / "go"
    crew.start(2, Ways(starts_with=go), seed=1)
    crew.start(2, Ways(starts_with=go), seed=2)
    crew.heard("ready", 4)
    go.touch()
    for process in crew.processes:
        process.join()
    errors = [text for _, text in crew.log.of("error")]
    assert len(errors) == 2
    assert len(set(errors)) == 1
    assert f"the study '{STUDY}' is another one |   the seed: " in errors[0]
    crew.forgive()
    crew.check()


# -- clocks ----------------------------------------------------------------------------------------


def test_a_clock_that_is_an_hour_off(crew: Crew) -> None:
    """One ahead, one behind: nobody is taken for dead, and nobody who is dead for alive."""
    crew.close_gate()
    ways = {"grace": 60}
    crew.start(1, Ways(**ways))
    ahead, _behind = (
        crew.start(1, Ways(**ways, hours_ahead=1)) + crew.start(1, Ways(**ways, hours_ahead=-1))
    )  # fmt: skip
    crew.began(3)
    crew.kill(ahead)
    crew.let_through(4)
    crew.heard("ended", 4)
    kept = crew.complete()
    crew.open_gate()
    assert crew.join() == [0, 0]
    trials = crew.check(kept)
    assert [len(numbers) for numbers in attempts(trials).values()] == [2]
    begun = [trial.datetime_start for trial in trials]
    assert (max(begun) - min(begun)).total_seconds() > 3500, "the clocks were off"


def test_workers_in_two_time_zones(crew: Crew) -> None:
    """Signs of life and times are written in UTC, whatever zone a process believes to be in."""
    crew.close_gate()
    for zone in ("JST-9", "EST5"):  # Tokyo, New York
        crew.start(1, Ways(grace=60, zone=zone))
    crew.began(2)
    crew.let_through(6)
    crew.began(8)
    kept = crew.complete()
    crew.open_gate()
    assert crew.join() == [0, 0]
    trials = crew.check(kept)
    assert attempts(trials) == {}
    assert len({pid for pid, _ in crew.log.of("began")}) == 2
    begun = [trial.datetime_start for trial in trials]
    assert (max(begun) - min(begun)).total_seconds() < 3600


# -- settings --------------------------------------------------------------------------------------

WIDER = searches.SPACE.replace("[4, 6, 8]", "[4, 6, 8, 10]")
DEEPER = searches.SPACE.replace("about: For tests.", "about: For others.").replace(
    "kernel: 3", "kernel: 1"
)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of one trial."""
    folder = tmp_path_factory.mktemp("there")
    join(folder)
    return folder


def join(folder: Path, **more: Any) -> Any:
    asked: dict[str, Any] = searches.options(
        folder, trials=1, epochs=1, finalists=0, storage=str(folder / "shared.db")
    )
    asked |= {"space": searches.space(), "budget": searches.BUDGET} | more
    return run(asked.pop("space"), asked.pop("budget"), **asked)


def digest(space: str) -> str:
    return loads(space, "little.yaml").digest[:12] + "…"


DIFFERENT: dict[str, tuple[Callable[[], dict[str, Any]], Callable[[], list[str]]]] = {
    "spec": (
        lambda: {"space": loads(DEEPER, "little.yaml")},
        lambda: [f"  the space's content: {digest(searches.SPACE)} there, {digest(DEEPER)} now"],
    ),
    "space": (
        lambda: {"space": loads(WIDER.replace("name: little", "name: wider"), "wider.yaml")},
        lambda: [
            "  the space: little there, wider now",
            f"  the space's content: {digest(searches.SPACE)} there, "
            f"{digest(WIDER.replace('name: little', 'name: wider'))} now",
        ],
    ),
    "budget": (
        lambda: {"budget": "1k..40k"},
        lambda: ["  the budget: 1K..50K FLOPs there, 1K..40K FLOPs now"],
    ),
    "data": (
        lambda: {"data": searches.images(75)},
        lambda: ["  the data's images: digest of 72… there, digest of 75… now"],
    ),
    "sampler": (
        lambda: {"sampler": "uniform"},
        lambda: ["  the sampler: tpe there, uniform now"],
    ),
    "seed": (lambda: {"seed": 4}, lambda: ["  the seed: 3 there, 4 now"]),
    "recipe": (
        lambda: {"epochs": 2, "batch_size": 12},
        lambda: ["  epochs: 1 there, 2 now", "  batch_size: 8 there, 12 now"],
    ),
    "objective": (
        lambda: {"objective": "naswot"},
        lambda: ['  the objective: ["accuracy"] there, ["naswot"] now'],
    ),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_a_worker_with_other_settings_is_refused_with_what_differs(what: str, there: Path) -> None:
    given, lines = DIFFERENT[what]
    refused(there, lines(), **given())


def test_a_worker_of_another_version_is_refused(
    there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = archspec.__version__
    monkeypatch.setattr(archspec, "__version__", "9.9")
    refused(there, [f"  archspec's version: {before} there, 9.9 now"])


def refused(there: Path, lines: list[str], **more: Any) -> None:
    with pytest.raises(StudyError) as caught:
        join(there, **more)
    assert str(caught.value) == "\n".join(
        ["the study 'study' is another one", *lines,
         "  choose another name with --study, or the same settings to go on"]
    )  # fmt: skip
    study = load_study("study", f"sqlite:///{there}/shared.db")
    assert len(study.get_trials()) == 1


def test_a_password_is_never_shown(there: Path, server: Server) -> None:
    with pytest.raises(StudyError) as caught:
        join(there, storage="postgresql+psycopg://me:secret@127.0.0.1:1/d?password=secret2")
    text = str(caught.value)
    assert text.startswith("postgresql+psycopg://me:***@127.0.0.1:1/d: cannot be reached: ")
    assert "secret" not in text

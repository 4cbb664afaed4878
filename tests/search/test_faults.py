"""Searches that are killed, interrupted or out of disk go on, and end as if nothing had been."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

import archspec
from archspec.cli import progress
from archspec.cli.app import _load_commands, app
from archspec.errors import ArchspecError
from archspec.search import database, retries
from archspec.search.errors import StudyError
from archspec.search.listener import Listener
from archspec.search.pruning import SuccessiveHalving
from archspec.search.train.outcomes import Interrupted
from archspec.spec import Spec
from tests.processes import run_to, start
from tests.search import searches
from tests.search.searches import facts, search
from tests.search.shared import until

_load_commands()
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a search comes to that nobody cuts."""
    found = facts(search(tmp_path_factory.mktemp("whole")))
    states = [trial[0] for trial in found["trials"]]
    assert "pruned" in states
    assert "complete" in states
    assert len(found["finalists"]) == 2
    return found


def left_behind(folder: Path) -> list[str]:
    """Unfinished files and checkpoints."""
    return [p.name for p in folder.rglob("*") if p.name[0] == "." or p.suffix in (".pt", ".broken")]


def check_resumed(folder: Path, whole: dict[str, Any]) -> None:
    """Go on to the end, and hold it against an uninterrupted search."""
    outcome = search(folder)
    assert facts(outcome) == whole
    assert "running" not in [trial.state for trial in outcome.record.trials]
    assert left_behind(folder) == []


# -- kill -9 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "nth"),
    [("began", 3), ("step", 20), ("epoch", 3), ("finalist", 2), ("busy checking the winner", 1)],
)
def test_killed_at_a_point(event: str, nth: int, tmp_path: Path, whole: dict[str, Any]) -> None:
    assert run_to(searches.killed_at, tmp_path, event, nth, {}) == KILLED
    check_resumed(tmp_path, whole)


@pytest.mark.parametrize(("name", "nth"), [(".pt", 1), (".pt", 6), ("winner", 1)])
def test_killed_while_writing_a_file(
    name: str, nth: int, tmp_path: Path, whole: dict[str, Any]
) -> None:
    assert run_to(searches.killed_while_writing, tmp_path, name, nth, {}) == KILLED
    assert len([n for n in left_behind(tmp_path) if n[0] == "."]) == 1
    check_resumed(tmp_path, whole)


def test_killed_again_and_again_between_any_two_statements(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    """From the making of the database on, in one study."""
    draw = random.Random(1)
    deaths = 0
    for limit in (2, 8, 30, 60, 140, 300, 500):
        code = run_to(searches.killed_in_statement, tmp_path, draw.randint(limit // 2, limit), {})
        assert code in (KILLED, 0)
        deaths += code == KILLED
    assert deaths >= 5
    check_resumed(tmp_path, whole)


def test_killed_at_any_moment(tmp_path: Path, whole: dict[str, Any]) -> None:
    began = time.monotonic()
    assert run_to(searches.searched, tmp_path / "timed", {}) == 0
    takes = time.monotonic() - began
    for moment in searches.moments(seed=7, count=4, low=0.1, high=takes):
        process = start(searches.searched, tmp_path / "cut", {})
        process.join(moment)
        process.kill()
        process.join()
    check_resumed(tmp_path / "cut", whole)


def test_the_cut_trial_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    assert run_to(searches.killed_at, tmp_path, "epoch", 3, {}) == KILLED
    heard = Ears()
    search(tmp_path, listener=heard)
    assert heard.of("resumed") == [(0, 1)]
    first = heard.events.index("step")
    # three epochs of the first trial are in its checkpoint: one remains of its four
    assert heard.events[:first].count("epoch") == 3
    assert heard.events[first:].index("ended") == 9 + 1


def test_a_network_that_kills_its_process_is_given_up(tmp_path: Path) -> None:
    """Else the same command would die for ever."""
    for _ in range(retries.DEATHS):
        assert run_to(searches.killed_at, tmp_path, "step", 1, {}) == KILLED
    heard = Ears()
    record = search(tmp_path, listener=heard).record
    assert heard.of("note") == [
        ("trial 0 is not tried again: its process was killed 5 times in a row without coming to "
         "the end of an epoch",)
    ]  # fmt: skip
    outcomes = [trial.outcome for trial in record.trials]
    assert outcomes == ["killed"] * retries.DEATHS + [None] * 4


def attempt(number: int, epochs: int = 0, *, stopped: bool = False, first: int = 0) -> Any:
    attrs = {retries.EPOCHS: epochs} | ({retries.STOPPED: number} if stopped else {})
    system = {} if number == first else {"failed_trial": first}
    trial = create_trial(state=TrialState.FAIL, user_attrs=attrs, system_attrs=system)
    trial.number = number
    return trial


@pytest.mark.parametrize(
    ("attempts", "given_up"),
    [
        ([attempt(n) for n in range(4)], False),
        ([attempt(n) for n in range(5)], True),
        ([attempt(n, n) for n in range(9)], False),  # each time an epoch further
        ([attempt(n, stopped=True) for n in range(9)], False),  # Ctrl-C, as often as one likes
        ([attempt(0, 1), *(attempt(n, 2) for n in range(1, 6))], True),
    ],
)
def test_what_is_given_up(attempts: list[Any], given_up: bool) -> None:
    assert retries.given_up(attempts) is given_up


def test_a_retry_does_not_count_twice_at_a_rung() -> None:
    """Of four networks the best two go on, however often one of them was run."""
    study = optuna.create_study(direction="maximize", pruner=SuccessiveHalving((1, 2), 2))
    for number, (value, first) in enumerate([(0.9, 0), (0.9, 0), (0.9, 0), (0.1, 3), (0.2, 4)]):
        study.add_trial(
            create_trial(
                state=TrialState.FAIL, intermediate_values={1: value},
                system_attrs={} if number == first else {"failed_trial": first},
            )
        )  # fmt: skip
    trial = study.ask()
    trial.report(0.5, 1)
    assert not trial.should_prune()  # second of four
    trial.report(0.3, 2)
    assert not trial.should_prune()  # the only one there
    late = study.ask()
    late.report(0.15, 1)
    assert late.should_prune()  # fourth of five


# -- Ctrl-C ----------------------------------------------------------------------------------------


class Ears(Listener):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[Any, ...]]] = []

    def __getattribute__(self, name: str) -> Any:
        if name not in vars(Listener):
            return object.__getattribute__(self, name)
        return lambda *args: self.heard.append((name, args))

    @property
    def events(self) -> list[str]:
        return [name for name, _ in self.heard]

    def of(self, event: str) -> list[tuple[Any, ...]]:
        return [args for name, args in self.heard if name == event]


def signals_at(event: str, nth: int, times: int = 1) -> type[progress.Display]:
    """A display that sends Ctrl-C to its own process at the nth time that something is told."""

    class Interrupting(progress.Display):
        left = nth

        def __getattribute__(self, name: str) -> Any:
            method = super().__getattribute__(name)
            if name not in vars(Listener):
                return method

            def heard(*args: Any) -> None:
                method(*args)
                if event in (name, f"{name} {args[0]}"):
                    type(self).left -= 1
                    if type(self).left == 0:
                        for _ in range(times):
                            signal.raise_signal(signal.SIGINT)

            return heard

    return Interrupting


GREY = searches.SPACE.replace("channels: 3", "channels: 1")
COMMAND = ["search", "--space", "little.yaml", "--budget", searches.BUDGET, "--trials", "3",
           "--epochs", "2", "--finalists", "1", "--limit", "100", "--study", "study"]  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "little.yaml").write_text(GREY)
    before = signal.getsignal(signal.SIGINT)
    yield tmp_path
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The trials of that command when nobody cuts it."""
    from archspec.search import run
    from archspec.spec import loads

    outcome = run(
        loads(GREY, "little.yaml"), searches.BUDGET, trials=3, epochs=2, finalists=1, limit=100,
        folder=tmp_path_factory.mktemp("straight"), report=False,
    )  # fmt: skip
    return [(t.state, list(t.values), t.choices) for t in outcome.record.trials]


@pytest.mark.parametrize(
    ("event", "nth", "times", "said"),
    [
        ("step", 8, 1, [progress.STOPPING,
                        "interrupted with 1 of 3 trials done; no finished trial or epoch is lost",
                        "  the same command goes on"]),
        ("step", 8, 2, [progress.STOPPING, "interrupted; the same command goes on"]),
        ("busy reading the data", 1, 1, ["interrupted; the same command goes on"]),
        ("busy counting the networks of little", 1, 1, ["interrupted; the same command goes on"]),
        ("finalist", 1, 1, [progress.STOPPING,
                            "interrupted with 3 of 3 trials done; "
                            "no finished trial or epoch is lost",
                            "  the same command goes on"]),
        ("busy drawing the report", 1, 1, ["interrupted; the same command goes on"]),
    ],
)  # fmt: skip
def test_ctrl_c(
    event: str, nth: int, times: int, said: list[str],
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    straight: list[Any],
) -> None:  # fmt: skip
    monkeypatch.setattr(progress, "Display", signals_at(event, nth, times))
    assert app(COMMAND, standalone_mode=False) == 130
    assert capfd.readouterr().err.splitlines()[-len(said) :] == said
    assert not list(here.rglob("*.html"))
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert app([*COMMAND, "--json"], standalone_mode=False) in (None, 0)
    record = json.loads(capfd.readouterr().out)
    trials = [trial for trial in record["trials"] if trial["outcome"] != "interrupted"]
    assert [(t["state"], t["values"], t["choices"]) for t in trials] == straight
    assert len(list(here.rglob("*.html"))) == 1


def test_should_stop_between_phases(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="interrupted before the search began"):
        search(tmp_path, should_stop=lambda: True)
    assert not list(tmp_path.iterdir())


# -- disks and databases ---------------------------------------------------------------------------


def test_a_full_disk_under_the_database(tmp_path: Path) -> None:
    """SQLite says itself when it is full."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def bound(connection: Any, _: Any) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    custom(tmp_path, parameters, trials=1)
    event.listen(Engine, "connect", bound)
    try:
        with pytest.raises(StudyError) as caught:
            custom(tmp_path, parameters, trials=18)
    finally:
        event.remove(Engine, "connect", bound)
    assert str(caught.value) == (
        f"{tmp_path}/study/study.db: the disk is full\n"
        "  free some space and give the same command again; finished trials are kept"
    )
    after = facts(custom(tmp_path, parameters, trials=18))
    assert after == facts(custom(tmp_path / "straight", parameters, trials=18))


def test_a_full_disk_under_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any]
) -> None:
    write = Path.write_bytes

    def full(path: Path, content: Any) -> int:
        if path.suffix == ".pt":
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ArchspecError, match=r"^cannot write .*\.pt: No space left on device$"):
        search(tmp_path)
    monkeypatch.undo()
    check_resumed(tmp_path, whole)


@pytest.mark.parametrize("what", ["study", "study/study.db"])
def test_the_folder_is_removed_while_it_is_used(
    what: str, tmp_path: Path, whole: dict[str, Any]
) -> None:
    class Remover(Listener):
        def epoch(self, number: int, epoch: int, accuracy: float) -> None:
            target = tmp_path / what
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink()

    with pytest.raises(StudyError) as caught:
        search(tmp_path, listener=Remover())
    assert str(caught.value) == f"{tmp_path}/study/study.db: was removed while it was in use"
    check_resumed(tmp_path, whole)


def test_an_unfinished_database_is_no_trap(tmp_path: Path) -> None:
    """Optuna makes tables first and their indexes later: it is made aside, and put there whole."""
    seen = []

    class Looker(Listener):
        def planned(self, plan: Any) -> None:
            seen.extend(path.name for path in (tmp_path / "study").iterdir())

    search(tmp_path, trials=1, finalists=0, listener=Looker())
    assert sorted(seen) == ["lock", "study.db"]
    with sqlite3.connect(tmp_path / "study" / "study.db") as database:
        indexes = database.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall()
    assert ("ix_studies_study_name",) in indexes


def test_two_processes_in_one_study(tmp_path: Path) -> None:
    held = Held(tmp_path / "began")
    process = start(searches.searched, tmp_path, {"objective": held})
    try:
        until(held.began.exists)
        with pytest.raises(StudyError) as caught:
            search(tmp_path, objective=parameters)
    finally:
        process.kill()
        process.join()
    assert str(caught.value) == (
        f"{tmp_path}/study: another process is searching there\n"
        "  wait for it, or name another study with --study"
    )
    (cut, again) = search(tmp_path, objective=held, trials=1).record.trials
    assert (cut.state, again.retry_of) == ("failed", cut.number)


@dataclass(frozen=True)
class Held:
    """An objective that says that it began, and ends only the second time."""

    began: Path

    def __call__(self, spec: Spec) -> float:
        if not self.began.exists():
            self.began.touch()
            time.sleep(600)  # it is killed long before
        return parameters(spec)


def test_a_shared_storage_takes_up_others_dead_trials_after_their_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of its own folder at once; trials of other folders may be alive."""
    more = {"storage": str(tmp_path / "shared.db"), "finalists": 0, "trials": 2}
    for folder in ("a", "b"):
        code = run_to(searches.killed_at, tmp_path / folder, "epoch", 1, more)
        assert code == KILLED
    monkeypatch.setattr(database, "HEARTBEAT", 1)
    monkeypatch.setattr(database, "GRACE", 2)
    heard = Ears()
    outcome = search(tmp_path / "a", **more, listener=heard)
    assert heard.of("resumed") == [(0, 1)]
    states = [(trial.state, trial.retry_of) for trial in outcome.record.trials]
    assert [state for state, _ in states[:2]] == ["failed", "failed"]
    assert [first for _, first in states] == [None, None, 0, 1]


# -- faults of the objective -----------------------------------------------------------------------


def parameters(spec: Spec) -> float:
    return float(archspec.cost(spec).params)


def custom(folder: Path, objective: Callable[[Spec], Any], **more: Any) -> Any:
    return search(folder, objective=objective, **more)


def test_an_objective_that_raises_ends_the_search_and_its_network_is_tried_again(
    tmp_path: Path,
) -> None:
    asked: list[str] = []

    def fragile(spec: Spec) -> float:
        asked.append(spec.digest)
        if len(asked) == 3:
            raise ValueError("no such luck")
        return float(archspec.cost(spec).params)

    with pytest.raises(ArchspecError) as caught:
        custom(tmp_path, fragile)
    choices = "dim=6, depth=3, mixer=rows"
    assert str(caught.value) == (
        f"the objective fragile raised ValueError: no such luck (for {choices})\n"
        "  the same call goes on with this network, once that is mended"
    )
    assert isinstance(caught.value.__cause__, ValueError)
    record = custom(tmp_path, fragile).record
    assert asked[3] == asked[2]
    assert [t.state for t in record.trials] == ["complete"] * 2 + ["failed"] + ["complete"] * 3
    assert record.trials[3].retry_of == 2


@pytest.mark.parametrize(("given", "shown"), [("0.9", "'0.9'"), (None, "None"), ([1.0], "[1.0]")])
def test_an_objective_that_gives_no_number(given: Any, shown: str, tmp_path: Path) -> None:
    def odd(spec: Spec) -> Any:
        return given

    with pytest.raises(ArchspecError) as caught:
        custom(tmp_path, odd)
    assert str(caught.value) == (
        f"the objective odd must give a number, found {shown}\n"
        "  the same call goes on with this network, once that is mended"
    )


def test_networks_without_a_value_have_failed(tmp_path: Path) -> None:
    def wide(spec: Spec) -> float:
        return float("nan") if spec.to_dict()["vars"]["dim"] == 8 else 1.0

    record = custom(tmp_path, wide, trials=18).record
    failed = {trial.choices["dim"] for trial in record.trials if trial.outcome == "not finite"}
    complete = {trial.choices["dim"] for trial in record.trials if trial.state == "complete"}
    assert (failed, complete) == ({8}, {4, 6})
    assert record.winner is not None


def test_every_trial_fails(tmp_path: Path) -> None:
    heard = Ears()
    outcome = custom(tmp_path, lambda spec: float("inf"), listener=heard)
    assert outcome.winner is None
    assert heard.of("note") == [
        ("no trial came to its end\n  the objective <lambda> gave inf (×5)",)
    ]


def test_networks_that_diverge_have_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from archspec.search import defaults
    from archspec.search.train.recipe import make_recipe

    hot = {"lr": 1e30, "grad_clip": None, "epochs": 2, "batch_size": 8}
    monkeypatch.setattr(defaults, "recipe", lambda *args, **kwargs: make_recipe(hot | {"lr": 1e30}))
    heard = Ears()
    outcome = search(tmp_path, trials=2, epochs=2, listener=heard)
    assert [trial.outcome for trial in outcome.record.trials] == ["diverged"] * 2
    assert outcome.winner is None
    ((note,),) = heard.of("note")
    assert note.startswith("no trial came to its end\n  diverged: the loss ")
    assert left_behind(tmp_path) == []

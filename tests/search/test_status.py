"""`archspec search status`: what it says of studies whose state is known; it only looks."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from filelock import FileLock
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial
from typer.testing import CliRunner

from archspec.cli.app import _load_commands, app
from archspec.errors import ArchspecError
from archspec.search import database
from archspec.search.listener import Listener
from archspec.search.retries import DEVICE, EPOCHS, WORKER, run_again
from archspec.search.samplers.history import OUTCOME
from archspec.search.status import Status, status
from archspec.search.storage import FINALIST, PLAN, opened_study, quiet
from archspec.search.workers import lock_of, worker_at
from tests.processes import run_to
from tests.search import crews, shared
from tests.search.searches import killed_at, search

_load_commands()


def seen(folder: Path, url: str, name: str) -> Status:
    with quiet():
        return status(*opened_study(name, url), folder, url)


def rows(url: str) -> dict[str, list[Any]]:
    """Everything that is in a database, but when its workers were last seen."""
    engine = sqlalchemy.create_engine(url)
    tables = sqlalchemy.MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        found = {
            table.name: sorted(map(str, connection.execute(table.select())))
            for table in tables.sorted_tables
        }
    engine.dispose()
    return found


def age(url: str, number: int, seconds: float) -> None:
    """Let a trial's last sign of life be so long ago, by the database's clock."""
    engine = sqlalchemy.create_engine(url)
    ago = {
        "postgresql": f"heartbeat - interval '{seconds} seconds'",
        "sqlite": f"datetime(heartbeat, '-{seconds} seconds')",
    }[engine.dialect.name]
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(
                f"UPDATE trial_heartbeats SET heartbeat = {ago} WHERE trial_id IN "
                "(SELECT trial_id FROM trials WHERE number = :number)"
            ),
            {"number": number},
        )
    engine.dispose()


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Path]:
    """A study's folder, where places 0 and 2 are taken and 1 was."""
    folder = tmp_path / "runs" / shared.STUDY
    folder.mkdir(parents=True)
    lock_of(folder, 1).touch()
    locks = [FileLock(lock_of(folder, place)) for place in (0, 2)]
    for lock in locks:
        lock.acquire()
    yield folder
    for lock in locks:
        lock.release()


PLANNED = {
    "settings": {"space": "little", "objectives": ["accuracy"], "sampler": "tpe", "seed": 0,
                 "device": "cpu", "resolution": [6, 6], "recipe": {}, "windows": {}},
    "budget": "1k..1M", "space_size": 666, "feasible": 666, "is_exact": True, "data": "noise",
    "trials": 9, "finalists": 2, "rungs": [],
}  # fmt: skip


def begun(study: optuna.Study, storage: Any, worker: str | None, number: int) -> None:
    """A trial that a worker runs."""
    trial = study.ask({"dim": IntDistribution(4, 40)})
    assert trial.number == number
    if worker is not None:
        trial.set_user_attr(WORKER, worker)
        trial.set_user_attr(DEVICE, "a GPU")
        trial.set_user_attr(EPOCHS, 3)


def ended(study: optuna.Study, state: TrialState, dim: int, **attrs: Any) -> None:
    done = state in (TrialState.COMPLETE, TrialState.PRUNED)
    study.add_trial(
        create_trial(
            state=state, params={"dim": dim}, distributions={"dim": IntDistribution(4, 40)},
            value=dim / 100 if done else None, user_attrs={"flops": 10, "params": 5} | attrs,
            intermediate_values={1: 0.1} if done else {},
        )
    )  # fmt: skip


def test_a_study_of_every_state(any_url: str, places: Path) -> None:
    """Three workers here, of whom one is dead and one is at nothing; two elsewhere, one silent."""
    with quiet():
        storage = database.connect(any_url, shared=True)
        study = optuna.create_study(
            storage=storage, study_name=shared.STUDY, direction="maximize",
            sampler=optuna.samplers.RandomSampler(0),
        )  # fmt: skip
        study.set_user_attr(PLAN, PLANNED)
        ended(study, TrialState.COMPLETE, 20)
        ended(study, TrialState.COMPLETE, 30)
        ended(study, TrialState.PRUNED, 10)
        ended(study, TrialState.FAIL, 8, **{OUTCOME: "diverged"})
        ended(study, TrialState.FAIL, 9)  # cut
        run_again(study, study.trials[4])  # waits as trial 5
        begun(study, storage, None, 5)  # takes it up
        begun(study, storage, worker_at(places, 0), 6)
        begun(study, storage, worker_at(places, 1), 7)
        begun(study, storage, "far:/runs/shared#0", 8)
        begun(study, storage, "far:/runs/shared#1", 9)
        study.set_user_attr(f"{FINALIST}1:1000", json.dumps({"accuracy": 0.25, "loss": 1.0}))
    age(any_url, 8, 20)
    age(any_url, 9, 100)
    before = rows(any_url)
    found = seen(places, any_url, shared.STUDY)
    assert rows(any_url) == before
    counts = found.counts
    assert (counts.asked, counts.finished, counts.complete) == (9, 4, 2)
    assert (counts.pruned, counts.failed, counts.cut) == (1, 1, 1)
    assert (counts.running, counts.waiting) == (5, 0)
    here = worker_at(places).partition(":")[0]
    told = {(w.machine, w.place): (w.state, w.trial, w.epochs, w.device) for w in found.workers}
    assert told == {
        ("far", 0): ("alive", 8, 3, "a GPU"),
        ("far", 1): ("silent", 9, 3, "a GPU"),
        (here, 0): ("alive", 6, 3, "a GPU"),
        (here, 1): ("gone", 7, 3, "a GPU"),
        (here, 2): ("alive", None, None, None),
    }
    ages = {w.trial: w.silent_for for w in found.workers}
    assert ages[8] is not None
    assert ages[9] is not None
    assert 20 <= ages[8] < 80  # a machine under load is slow
    assert ages[9] - ages[8] == pytest.approx(80, abs=2)
    assert found.best is not None
    assert (found.best.number, found.best.values) == (1, (0.3,))
    assert [(f.number, f.mean) for f in found.finalists] == [(1, 0.25)]
    assert (found.winner, found.winner_file) == (None, None)
    assert list(found.notes) == [
        f"far #1 has given no sign of life for {ages[9]:.0f} s: frozen, or cut off; after 180 s "
        "trial 9 is run again",
        f"{here} #1 has ended: another worker runs trial 7 again",
    ]
    storage.remove_session()
    storage.engine.dispose()


def test_while_workers_search(any_crew: crews.Crew) -> None:
    """Two workers stand still in their trials, then go on to the end."""
    folder = any_crew.folder / "runs" / shared.STUDY
    any_crew.close_gate()
    any_crew.start(2)
    any_crew.began(2)
    during = seen(folder, any_crew.url, shared.STUDY)
    assert (during.counts.asked, during.counts.running) == (any_crew.trials, 2)
    assert [(w.place, w.state, w.trial) for w in during.workers] in (
        [(0, "alive", 0), (1, "alive", 1)],
        [(0, "alive", 1), (1, "alive", 0)],
    )
    assert all(w.silent_for is not None and w.device for w in during.workers)
    assert (during.best, during.per_hour, during.winner) == (None, None, None)
    any_crew.open_gate()
    assert any_crew.join() == [0, 0]
    trials = any_crew.check()
    after = seen(folder, any_crew.url, shared.STUDY)
    assert (after.counts.finished, after.counts.complete) == (any_crew.trials, any_crew.trials)
    assert (after.workers, after.per_hour, after.notes) == ((), None, ())
    best = max(trials, key=lambda trial: trial.value)
    assert after.best is not None
    assert (after.winner, after.best.number) == (best.number, best.number)
    assert after.winner_file == str(folder / "winner.yaml")


def test_a_study_in_a_file(tmp_path: Path) -> None:
    """The folder's lock tells whether its only process is there."""
    place, url = tmp_path / "study", f"sqlite:///{tmp_path}/study/study.db"
    outcome = search(tmp_path, trials=3, epochs=1, finalists=1)
    found = seen(place, url, "study")
    assert (found.counts.asked, found.counts.finished) == (3, 3)
    assert (found.winner, found.workers, found.notes) == (outcome.record.winner, (), ())
    assert found.winner_file == str(place / "winner.yaml")
    _, storage = opened_study("study", url)
    study = optuna.load_study(study_name="study", storage=storage)
    trial = study.ask()
    trial.set_user_attr(WORKER, worker_at(place))
    with FileLock(place / "lock"):
        (worker,) = seen(place, url, "study").workers
    assert (worker.state, worker.trial, worker.silent_for) == ("alive", 3, None)
    gone = seen(place, url, "study")
    assert [worker.state for worker in gone.workers] == ["gone"]
    assert list(gone.notes) == [
        f"{worker.machine} has ended: the same search command runs trial 3 again"
    ]
    elsewhere = seen(tmp_path / "another" / "study", url, "study")
    assert [worker.state for worker in elsewhere.workers] == ["unknown"]
    assert list(elsewhere.notes) == [
        f"whether trial 3 still runs, {worker.machine} knows: a study in a file has no signs of "
        "life"
    ]


class _Look(Listener):
    """Looks at a study whenever a finalist is begun."""

    def __init__(self, place: Path, url: str) -> None:
        self._place, self._url = place, url
        self.seen: list[Status] = []
        self.order: list[int] = []

    def finalist(self, number: int, place: int, places: int, seed: int) -> None:
        self.order.append(number)
        self.seen.append(seen(self._place, self._url, "study"))


def test_while_finalists_are_trained(any_url: str, tmp_path: Path) -> None:
    place = tmp_path / "study"
    look = _Look(place, any_url)
    search(tmp_path, trials=3, epochs=1, finalists=2, storage=any_url, listener=look)
    for during, number in zip(look.seen, look.order, strict=True):
        (worker,) = during.workers
        assert (worker.state, worker.trial, worker.finalist) == ("alive", None, number)
        assert (during.winner, during.notes) == (None, ())
    after = seen(place, any_url, "study")
    assert (after.workers, after.notes) == ((), ())


def test_who_trained_the_finalists_and_was_killed(any_url: str, tmp_path: Path) -> None:
    more = {"trials": 3, "epochs": 1, "finalists": 2, "storage": any_url}
    assert run_to(killed_at, tmp_path, "finalist", 2, more) == -signal.SIGKILL
    gone = seen(tmp_path / "study", any_url, "study")
    assert [(w.state, w.trial) for w in gone.workers] == [("gone", None)]
    (worker,) = gone.workers
    assert list(gone.notes) == [
        f"{worker.name} has ended: the same search command trains the finalists that are left"
    ]
    elsewhere = seen(tmp_path / "another" / "study", any_url, "study")
    assert [w.state for w in elsewhere.workers] == ["unknown"]
    assert list(elsewhere.notes) == [f"whether {worker.name} still trains finalists, only it knows"]
    heard: list[Status] = []

    class Look(Listener):
        def began(self, *_: Any) -> None:
            heard.append(seen(tmp_path / "study", any_url, "study"))

    search(tmp_path, **more | {"trials": 4}, listener=Look())
    assert [(w.trial, w.finalist) for w in heard[0].workers] == [(3, None)]


# -- the rate --------------------------------------------------------------------------------------


def test_the_rate_is_of_the_database_s_clock(any_url: str, places: Path) -> None:
    """Four trials of a worker whose clock is a day off, ten minutes apart by the database."""
    with quiet():
        storage = database.connect(any_url, shared=True)
        study = optuna.create_study(
            storage=storage, study_name=shared.STUDY, direction="maximize",
            sampler=optuna.samplers.RandomSampler(0),
        )  # fmt: skip
        study.set_user_attr(PLAN, PLANNED | {"finalists": 0})
        for number in range(5):
            begun(study, storage, worker_at(places, 0), number)
            storage.record_heartbeat(study._storage.get_all_trials(study._study_id)[-1]._trial_id)
            if number < 4:
                study.tell(number, 0.5)
    with storage.engine.begin() as connection:
        for column in ("datetime_start", "datetime_complete"):
            for number in range(4):
                connection.execute(
                    sqlalchemy.text(f"UPDATE trials SET {column} = :then WHERE number = :number"),
                    {"number": number,
                     "then": f"2031-01-01 0{int(column == 'datetime_complete')}:{number}0:00"},
                )  # fmt: skip
    storage.remove_session()
    storage.engine.dispose()
    for number in range(4):
        age(any_url, number, 600 * (4 - number))
    found = seen(places, any_url, shared.STUDY)
    assert found.per_hour == pytest.approx(4)  # each took an hour, and all ended within the last
    assert found.seconds_left == pytest.approx((9 - 4) * 3600 / 4)


# -- the command -----------------------------------------------------------------------------------


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["search", "status", *arguments])


def test_what_the_command_prints(tmp_path: Path) -> None:
    search(tmp_path, trials=2, epochs=1, finalists=1)
    shown = run("study", "--runs", str(tmp_path)).stdout.splitlines()
    assert shown[0].startswith("study   little, 1K..50K FLOPs   ")
    assert shown[1].split() == ["trials", "2", "of", "2:", "2", "complete"]
    assert any(line.startswith("winner") for line in shown)
    facts = json.loads(run(str(tmp_path / "study"), "--json").stdout)
    assert facts["counts"]["finished"] == 2
    assert facts["study"] == "study"
    by_option = run("--study", "study", "--runs", str(tmp_path), "--json").stdout
    assert json.loads(by_option) == facts
    watched = run(str(tmp_path / "study"), "--watch")  # ends by itself, since the search has
    assert watched.exit_code == 0
    assert "winner" in watched.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "status needs the name of a study\n  archspec search status STUDY"),
        (["a", "--study", "b"],
         "two studies are named, 'a' and 'b'\n  status is about one"),
        (["a", "--watch", "--json"],
         "--watch is for a terminal, and --json for machines: choose one"),
        (["nothing"], "runs/nothing/study.db: there is no such study\n"
         "  --storage names its database, if that is elsewhere"),
        (["s", "--storage", "postgresql+psycopg://me@/x?host=/nowhere&connect_timeout=2"],
         "postgresql+psycopg://me@/x: cannot be reached: connection is "
         'bad: connection to server on socket "/nowhere/.s.PGSQL.5432" failed: No such file or '
         "directory\n"
         "  does it run, and may this machine connect to it? Finished trials are kept"),
        (["s", "--storage", "nonsense://me:secret@host/x"],
         "--storage: there is no kind of database 'nonsense'\n"
         "  such as study.db (SQLite) or postgresql+psycopg://user@host/name"),
    ],
)  # fmt: skip
def test_refusals(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArchspecError) as caught:
        app(["search", "status", *arguments], standalone_mode=False)
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_stays_empty(any_url: str, tmp_path: Path) -> None:
    if any_url.startswith("sqlite"):
        (tmp_path / "shared.db").touch()
    with pytest.raises(ArchspecError, match="there is no study in this"):
        app(["search", "status", "s", "--storage", any_url], standalone_mode=False)
    assert rows(any_url) == {}

"""Workers outlast whatever happens to their database and to the network, and lose nothing."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.postgres import Network, Server
from tests.search.crews import Crew, attempts, workers_of
from tests.search.shared import Ways, until

LIVELY = {
    "connect_timeout": 2, "keepalives_idle": 1, "keepalives_interval": 1, "keepalives_count": 1,
    "tcp_user_timeout": 1000,
}  # fmt: skip


# -- the database ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_the_database_is_restarted(mode: str, crew: Crew, server: Server) -> None:
    """While three workers are at a trial each, and again while they choose and tell."""
    crew.close_gate()
    crew.start(3)
    crew.began(3)
    server.restart(mode)
    crew.open_gate()
    crew.began(6)
    kept = crew.complete()
    server.restart(mode)
    assert crew.join() == [0, 0, 0]
    assert attempts(crew.check(kept)) == {}


def test_the_database_is_stopped_for_a_while(crew: Crew, server: Server) -> None:
    """For longer than it takes to be taken for dead, while all are alive."""
    crew.close_gate()
    crew.start(3, Ways(grace=2))
    crew.began(3)
    kept = crew.complete()
    server.stop()
    try:
        began = time.monotonic()
        crew.open_gate()
        crew.heard("ended", 3)
        crew.heard("note", 3)
        until(lambda: time.monotonic() - began > 4, "an outage of twice the grace")
    finally:
        server.start()
    assert crew.join() == [0, 0, 0]
    assert attempts(crew.check(kept)) == {}
    notes = sorted(about.partition("; trying")[0] for _, about in crew.log.of("note"))
    where = crew.url.partition("?")[0]
    away, back = f"{where} does not answer", f"{where} answers again, after "
    assert [note for note in notes if not note.startswith(back)] == [away] * 3
    assert len(notes) == 6


def test_who_comes_right_after_an_outage_takes_nobody_for_dead(crew: Crew, server: Server) -> None:
    """All signs of life are old then, and those who live have not had the time for another."""
    crew.close_gate()
    ways = Ways(heartbeat=5, grace=6)
    old = crew.start(3, ways)
    crew.began(3)
    server.stop()
    try:
        for process in old:
            crew.freeze(process)
        crew.frozen.clear()  # nobody may take them over
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 7, "an outage of more than the grace")
    finally:
        server.start()
    crew.start(1, ways)
    crew.began(4)
    for process in old:
        crew.wake(process)
    crew.open_gate()
    assert crew.join() == [0] * 4
    assert attempts(crew.check()) == {}


def test_a_database_that_stays_away_ends_the_worker_with_one_message(
    crew: Crew, server: Server
) -> None:
    crew.close_gate()
    crew.start(1, Ways(patience=2))
    crew.began(1)
    server.stop()
    try:
        crew.open_gate()
        ((_, message),) = crew.heard("error")
    finally:
        server.start()
    where = crew.url.partition("?")[0]
    assert message.startswith((f"{where}: cannot be reached: ", f"{where}: the storage failed: "))
    assert "Traceback" not in message
    (process,) = crew.processes
    process.join()
    crew.dead.add(process.pid)
    crew.forgive()
    crew.start(1)
    assert crew.join() == [0]
    assert attempts(crew.check()) == {0: [0, 1]}


def test_the_database_stands_still(crew: Crew, server: Server) -> None:
    """Its processes are frozen: nothing fails, nothing answers."""
    crew.close_gate()
    crew.start(3)
    crew.began(3)
    with server.frozen(crew.url) as pids:
        assert len(pids) >= 3
        crew.open_gate()
        crew.heard("ended", 3)
    assert crew.join() == [0, 0, 0]
    assert attempts(crew.check()) == {}


# -- the network -----------------------------------------------------------------------------------


@pytest.fixture
def network(server: Server) -> Iterator[Network]:
    found = Network(server)
    yield found
    found.close()


def test_the_network_is_cut(network: Network, server: Server, url: str, tmp_path: Path) -> None:
    """For one of three workers: the others go on, and it comes back."""
    crews = workers_of(tmp_path, url, 12)
    crew = next(crews)
    crew.close_gate()
    crew.start(2)
    crew.url = network.url(url)
    (far,) = crew.start(1, Ways(lively=LIVELY))
    crew.url = url
    crew.began(3)
    with network.cut():
        crew.open_gate()
        crew.heard("note", 1)  # it has noticed
    assert crew.join() == [0, 0, 0]
    assert attempts(crew.check()) == {}
    assert {pid for pid, _ in crew.log.of("note")} == {far.pid}
    next(crews, None)


# -- disks -----------------------------------------------------------------------------------------


def test_a_full_disk_under_several_workers(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    for crew in workers_of(tmp_path, f"sqlite:///{path}", 100):
        crew.start(1, trials=3)
        assert crew.join() == [0]
        crew.processes.clear()
        kept = crew.complete()
        with sqlite3.connect(path) as database:
            (pages,) = database.execute("PRAGMA page_count").fetchone()
        full = crew.start(2, Ways(pages=pages))
        for process in full:
            process.join()
            crew.dead.add(process.pid)
            crew.processes.remove(process)
        assert [text for _, text in crew.log.of("error")] == [
            f"{path}: the disk is full |   free some space and give the same command again; "
            "finished trials are kept"
        ] * 2
        crew.forgive()
        kept |= crew.complete()
        crew.trials = len(kept) + 6
        crew.start(2)
        assert crew.join() == [0, 0]
        crew.check(kept)

"""Workers as tasks of a Ray cluster: killed, moved, stopped; and what is refused."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import re
import secrets
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from archspec.errors import ArchspecError
from archspec.search import on_ray, ray_cluster
from archspec.search.errors import MissingError
from archspec.search.listener import Listener
from archspec.search.searching import run
from tests import processes
from tests.search.crews import Crew, attempts
from tests.search.shared import PATIENCE, Log, Ways, options, until, work

URL = "postgresql+psycopg://me@db.example.org/studies"

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed (the extra 'ray')"
)


# -- what is refused -------------------------------------------------------------------------------


def refused(call: Any) -> str:
    with pytest.raises(ArchspecError) as caught:
        call()
    assert caught.value.__suppress_context__ or caught.value.__context__ is None  # no traceback
    return str(caught.value)


def test_without_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    call = lambda: run(**options(tmp_path, URL, ray="auto"))  # noqa: E731
    assert refused(call) == (
        "--ray needs the package ray, which is not installed\n"
        "  pip install 'archspec-vision[ray]', here and on every node"
    )
    with pytest.raises(MissingError) as caught:
        call()
    assert caught.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


DATABASE = (
    "--ray: needs a database that all nodes reach, and SQLite's file is none\n"
    "  such as --storage postgresql+psycopg://user@host/name"
)
PASSWORD = (
    "--ray: a password in --storage would be seen in Ray, which keeps the commands of its jobs\n"
    "  put it into ~/.pgpass of each node, or set PGPASSWORD before `ray start` there"
)
ADDRESS = (
    "--ray: takes the address of a cluster that runs, found {}\n"
    "  HOST:PORT as `ray start --head` says it, or auto for the cluster of this machine"
)


@needs_ray
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"storage": None}, DATABASE),
        ({"storage": "study.db"}, DATABASE),
        ({"storage": "sqlite:///study.db"}, DATABASE),
        ({"storage": "sqlite+pysqlite:///study.db"}, DATABASE),
        ({"storage": URL.replace("me@", "me:s3cr3t@")}, PASSWORD),
        ({"storage": f"{URL}?password=s3cr3t"}, PASSWORD),
        ({"ray": "local"}, ADDRESS.format("'local'")),
        ({"ray": ""}, ADDRESS.format("''")),
        ({"ray": "ray://127.0.0.1:10001"}, ADDRESS.format("'ray://127.0.0.1:10001'")),
        ({"device": "cuda:1"},
         "--ray: places workers on GPUs itself, found --device cuda:1\n"
         "  leave --device out, or give cuda"),
        ({"objective": "latency,accuracy"},
         "latency cannot be measured beside other workers of the same machine, which slow each "
         "other down\n  leave out --ray; other machines may share the study with --storage"),
        ({"objective": lambda spec: 1.0},
         "the objective cannot be sent to other processes: Can't pickle <function <lambda> at …>: "
         "attribute lookup <lambda> on tests.search.test_ray failed\n"
         "  define it at the top of a module, or search without ray"),
    ],
)  # fmt: skip
def test_what_cannot_be(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    text = refused(lambda: run(**options(tmp_path, URL, **{"ray": "127.0.0.1:1"} | given)))
    assert re.sub("0x[0-9a-f]+", "…", text) == message
    assert list(tmp_path.iterdir()) == []


@needs_ray
def test_ray_address_of_the_environment_starts_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert refused(lambda: ray_cluster.check("auto", URL, "cpu")) == ADDRESS.format("'local'")


@needs_ray
def test_a_driver_without_a_gpu_leaves_no_gpus_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": 4.0})
    assert refused(lambda: on_ray._check_gpus("auto", is_gpu=False)) == (
        "--ray: the cluster has GPUs, and this machine, which trains the finalists, has none\n"
        "  give the command on a node with a GPU, or by `ray job submit --entrypoint-num-gpus 1`; "
        "--device cpu leaves the GPUs alone"
    )
    on_ray._check_gpus("cpu", is_gpu=False)
    on_ray._check_gpus("auto", is_gpu=True)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0})
    on_ray._check_gpus("auto", is_gpu=False)


RUNS = "\n  does it run, with this version of Ray, and is RAY_AUTH_MODE here as it is there?"


@needs_ray
def test_nobody_is_there(tmp_path: Path) -> None:
    text = refused(lambda: run(**options(tmp_path, URL, ray="127.0.0.1:1")))
    assert text == f"--ray: no Ray cluster at 127.0.0.1:1: Connection refused{RUNS}"
    assert list(tmp_path.iterdir()) == []


@needs_ray
def test_somebody_is_there_who_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "ANSWERS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        text = refused(lambda: ray_cluster.joined(address, Listener()).__enter__())
    assert text == f"--ray: no Ray cluster at {address}: it does not answer within 0.2 s{RUNS}"


# -- what a cluster does ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Cluster:
    """Two nodes on this machine, each with room for one worker."""

    address: str
    environment: dict[str, str]
    _pipe: Connection

    def lose_node(self) -> None:
        """Kill the one that is not the head."""
        self._pipe.send("lose")
        self._pipe.recv()


def hold(pipe: Connection, environment: dict[str, str]) -> None:
    """The whole life of a cluster; in a process of its own, since Ray looks at the environment
    once in each."""
    os.environ |= environment
    from ray.cluster_utils import Cluster as Nodes

    room = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80_000_000}
    nodes = Nodes(initialize_head=True, head_node_args=room | {"include_dashboard": False})
    try:
        node = nodes.add_node(**room)
        nodes.wait_for_nodes()
        pipe.send(nodes.address)
        while pipe.recv() == "lose":
            nodes.remove_node(node, allow_graceful=False)
            pipe.send(None)
    finally:
        nodes.shutdown()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    environment = {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    ours, theirs = multiprocessing.get_context("forkserver").Pipe()
    process = processes.start(hold, theirs, environment)
    theirs.close()
    assert ours.poll(PATIENCE), "the cluster does not start"
    yield Cluster(ours.recv(), environment, ours)
    ours.send("end")
    process.join(PATIENCE)
    assert process.exitcode == 0


def drive(folder: Path, url: str, environment: dict[str, str], more: dict[str, Any]) -> None:
    """The whole life of a driver, which Ctrl-C asks to stop."""
    os.environ |= environment
    log, asked = Log(folder / "log"), False

    def stop(*_: Any) -> None:
        nonlocal asked
        asked = True

    def should_stop() -> bool:
        if asked:
            log.write("stopping")
        return asked

    signal.signal(signal.SIGINT, stop)
    work(folder, url, Ways(), more | {"should_stop": should_stop})


def driver(crew: Crew, cluster: Cluster) -> Any:
    more = {"trials": crew.trials, "finalists": 0, "ray": cluster.address, "workers": 2}
    process = processes.start(drive, crew.folder, crew.url, cluster.environment, more)
    crew.processes.append(process)
    return process


def is_dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def two_at_work(crew: Crew, cluster: Cluster) -> tuple[Any, list[int]]:
    """A driver, and the processes of its two workers, each in its first trial."""
    crew.close_gate()
    process = driver(crew, cluster)
    pids = [pid for pid, _ in crew.began(2)]
    assert len({*pids, process.pid}) == 3
    return process, pids


@needs_ray
def test_workers_share_the_trials_and_a_winner_is_named(crew: Crew, cluster: Cluster) -> None:
    two_at_work(crew, cluster)
    crew.open_gate()
    assert crew.join() == [0]
    trials = crew.check()
    assert len(trials) == crew.trials
    winner = max(trials, key=lambda trial: trial.value or 0)
    assert crew.log.of("done") == [(crew.processes[0].pid, str(winner.number))]


@needs_ray
def test_a_killed_worker_is_started_again_by_ray(crew: Crew, cluster: Cluster) -> None:
    _, pids = two_at_work(crew, cluster)
    crew.dead.add(pids[0])
    os.kill(pids[0], signal.SIGKILL)
    (_, first), *_ = crew.log.of("began")
    crew.began(3)
    pid, again = crew.log.of("began")[2]
    assert (again, pid in pids) == (first, False)
    crew.open_gate()
    assert crew.join() == [0]
    assert attempts(crew.check()) == {0: [0, 2]} or attempts(crew.check()) == {1: [1, 2]}
    assert any("was cut, since its worker died" in text for _, text in crew.log.of("note"))


@needs_ray
def test_ctrl_c_and_the_same_call_goes_on(crew: Crew, cluster: Cluster) -> None:
    process, pids = two_at_work(crew, cluster)
    os.kill(process.pid, signal.SIGINT)
    crew.heard("stopping")
    crew.let_through(2)
    while process.is_alive():  # a worker may have begun another one before the word reached it
        process.join(1.0)
        crew.let_through(len(crew.log.of("began")) > len(crew.log.of("ended")))
    crew.open_gate()
    kept = crew.complete()
    assert crew.log.of("error") == [
        (process.pid, f"interrupted with {len(kept)} of 12 trials done; no finished trial or epoch "
                      "is lost |   the same command goes on")
    ]  # fmt: skip
    assert 2 <= len(kept) < 12
    until(lambda: all(is_dead(pid) for pid in pids), "the end of both workers")
    crew.forgive()
    driver(crew, cluster)
    assert crew.join() == [1, 0]
    crew.check(kept)


@needs_ray
def test_a_node_is_lost(crew: Crew, cluster: Cluster) -> None:
    """The last one: there is one node less after it."""
    _, pids = two_at_work(crew, cluster)
    cluster.lose_node()
    until(lambda: any(is_dead(pid) for pid in pids), "the end of the node's worker")
    crew.dead |= {pid for pid in pids if is_dead(pid)}
    assert len(crew.dead) == 1
    crew.open_gate()
    assert crew.join() == [0]
    assert len(attempts(crew.check())) == 1

"""Only compilations that are the same share an entry of the cache; its faults cost time only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import archspec
from archspec.compile import cache, device, job
from archspec.compile.backends.aoti import AOTInductor
from archspec.compile.backends.eager import Eager
from archspec.compile.backends.onnx import Onnx
from archspec.compile.job import Bench, Done, Request, compile_network, identity
from archspec.compile.manifest import Device
from archspec.compile.settings import Batch, Settings
from archspec.compile.subject import Subject, find
from archspec.spec import Spec, loads
from tests.compile import small
from tests.compile.artefacts import make
from tests.compile.conftest import NETWORK

REQUEST = Request(Eager, Settings((3, 8, 6)), benchmark=False)


def spec(text: str = NETWORK) -> Spec:
    return loads(text)


def bench(network: Spec | None = None, **facts: Any) -> Bench:
    return Bench.of(replace(find(network or spec()), **facts))


def compiled(folder: Path, request: Request = REQUEST) -> Done:
    return compile_network(bench(), request, folder, lambda _: None)


def entries() -> list[Path]:
    return sorted(path for path in cache.folder().iterdir())


# -- keys ------------------------------------------------------------------------------------------


def with_settings(**changes: Any) -> Callable[..., Request]:
    return lambda: replace(REQUEST, settings=replace(REQUEST.settings, **changes))


REQUESTS: dict[str, Callable[[], Request]] = {
    "batch": with_settings(batch=Batch(1, 2, 4)),
    "the best batch of a range": with_settings(batch=Batch(1, 3, 4)),
    "precision": with_settings(precision="bf16"),
    "options": with_settings(options={"level": 5}),
    "an option's value": with_settings(options={"level": 6}),
    "rewrites": lambda: replace(REQUEST, rewrites=("fold-affine",)),
    "backend": lambda: replace(REQUEST, backend=Onnx, rewrites=()),
    "a bound backend": lambda: replace(REQUEST, backend=AOTInductor, rewrites=()),
}


def test_other_requests_have_other_keys() -> None:
    network = bench()
    keys = {cache.key(identity(network, make())) for make in REQUESTS.values()}
    keys.add(cache.key(identity(network, REQUEST)))
    assert len(keys) == len(REQUESTS) + 1


def test_other_networks_have_other_keys(tmp_path: Path) -> None:
    weights = small.checkpoint(tmp_path, spec())
    benches = [
        bench(),
        bench(spec(NETWORK.replace("name: net", "name: other"))),
        bench(spec(NETWORK.replace("axis: height", "axis: width"))),
        bench(spec(NETWORK.replace("width: 6", "width: 7"))),
        bench(weights=weights),
        bench(mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2)),
        bench(mean=(0.4, 0.4, 0.4), std=(0.3, 0.2, 0.2)),
        bench(images="digits"),
    ]
    assert len({cache.key(identity(one, REQUEST)) for one in benches}) == len(benches)


def test_one_weight_makes_another_key() -> None:
    networks = [bench(), bench(), bench()]
    with torch.no_grad():
        next(networks[2].module.parameters()).view(-1)[0] += 1e-6
    keys = [cache.key(identity(one, REQUEST)) for one in networks]
    assert keys[0] == keys[1] != keys[2]


def test_another_place_has_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def key() -> str:
        return cache.key(identity(bench(), REQUEST))

    keys = [key()]
    threads = torch.get_num_threads()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: threads + 1)
        keys.append(key())
    for changed in (
        Device(kind="cpu", name="another", capability=device.describe("cpu").capability),
        Device(kind="cpu", name=device.describe("cpu").name, capability="AVX1024"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(job, "describe", lambda _, changed=changed: changed)
            keys.append(key())
    with monkeypatch.context() as patch:
        patch.setattr(job, "version", lambda package: f"{package} 99")
        keys.append(key())
    assert len(set(keys)) == len(keys) == 5
    assert key() == keys[0]


def test_every_part_of_our_source_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache.key({})
    monkeypatch.setattr(cache, "_PACKAGE", tmp_path)
    keys = [before, cache.key({})]
    for name in ("lower.py", "ops/linear.py", "compile/job.py", "compile/backends/new.py",
                 "compile/rewrites/new.py"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1")
        keys.append(cache.key({}))
        (tmp_path / name).write_text("x = 2")
        keys.append(cache.key({}))
    assert len(set(keys)) == len(keys)


# -- entries ---------------------------------------------------------------------------------------


def test_a_second_compilation_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compiled(tmp_path / "a")
    assert not first.from_cache
    monkeypatch.setattr(Eager, "compile", lambda _: pytest.fail("it is known"))
    second = compiled(tmp_path / "b")
    assert second.from_cache
    assert second.manifest == first.manifest
    images_BCHW = torch.randn(1, 3, 8, 6)
    loaded = [archspec.compile.load(tmp_path / name)(images_BCHW) for name in "ab"]
    assert torch.equal(*loaded)


def test_where_it_comes_from_is_said_anew(tmp_path: Path) -> None:
    compiled(tmp_path / "a")
    other = bench(origin="elsewhere", classes=("a", "b", "c", "d"))
    done = compile_network(other, REQUEST, tmp_path / "b", lambda _: None)
    assert done.from_cache
    assert (done.manifest.origin, done.manifest.classes) == ("elsewhere", ("a", "b", "c", "d"))
    assert archspec.compile.load(tmp_path / "b").manifest.origin == "elsewhere"


def test_an_entry_that_was_not_timed_is_no_answer(tmp_path: Path) -> None:
    compiled(tmp_path / "a")
    timed = replace(REQUEST, benchmark=True, seconds=0.05)
    assert not compiled(tmp_path / "a", timed).from_cache
    assert compiled(tmp_path / "a", timed).from_cache
    assert compiled(tmp_path / "a").manifest.speed is not None


@pytest.mark.parametrize("broken", ["model.pt2", "manifest.json", "missing", "a file"])
def test_a_broken_entry_is_made_anew(broken: str, tmp_path: Path) -> None:
    compiled(tmp_path / "a")
    (entry,) = entries()
    if broken == "missing":
        (entry / "model.pt2").unlink()
    elif broken == "a file":
        shutil.rmtree(entry)
        entry.write_text("!")
    else:
        (entry / broken).write_bytes(b"!" + (entry / broken).read_bytes()[1:])
    assert not compiled(tmp_path / "b").from_cache
    archspec.compile.load(tmp_path / "b")
    assert compiled(tmp_path / "c").from_cache


def test_an_entry_that_vanishes_while_it_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled(tmp_path / "a")
    found = cache.look_up

    def look_up(*given: Any) -> Any:
        known = found(*given)
        (entries()[0] / "model.pt2").unlink()
        return known

    monkeypatch.setattr(cache, "look_up", look_up)
    assert not compiled(tmp_path / "b").from_cache
    archspec.compile.load(tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("!")
    monkeypatch.setenv("ARCHSPEC_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        assert not compiled(tmp_path / "a").from_cache


def test_a_full_cache_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    assert not compiled(tmp_path / "a").from_cache
    assert entries() == []


def test_the_ones_unused_for_longest_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "KEPT", 3)
    artefact = make(tmp_path / "artefact")
    for second, name in enumerate("abc"):
        cache.keep(name, artefact)
        os.utime(cache.folder() / name, (second, second))
    assert cache.look_up("a") is not None  # which is a use
    cache.keep("d", artefact)
    assert [path.name for path in entries()] == ["a", "c", "d"]
    cache.keep("d", artefact)
    assert [path.name for path in entries()] == ["a", "c", "d"]


def test_what_a_killed_process_left_is_taken_away(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    cache.folder().mkdir(parents=True)
    dead = cache.folder() / f".other.{ended.stdout.strip()}.unfinished"
    alive = cache.folder() / f".other.{os.getppid()}.unfinished"
    for folder in (dead, alive):
        folder.mkdir()
    cache.keep("a", make(tmp_path / "artefact"))
    assert [path.name for path in entries()] == [alive.name, "a"]


def test_without_a_variable_it_is_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHSPEC_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "archspec-vision" / "compiled"


def test_subjects_are_told_apart_by_their_images() -> None:
    """Two data sets of one name may differ."""
    network = bench()
    assert isinstance(network.subject, Subject)
    other = bench()
    other.pictures.images_NCHW[0, 0, 0, 0] += 1
    assert network.pictures.name == other.pictures.name
    assert network.pictures.digest != other.pictures.digest

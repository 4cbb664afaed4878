"""`archspec bench`: artefacts side by side."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner, Result

from archspec.cli import bench as _  # noqa: F401 - registers the command
from archspec.cli.app import app
from archspec.compile.artefact import Artefact, load
from archspec.compile.benching import busy_machine, sizes_of, time_side_by_side
from archspec.compile.errors import CompileError
from archspec.compile.settings import Batch
from archspec.errors import ArchspecError
from tests.compile.artefacts import make


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))


def slowed(artefact: Artefact, seconds: float) -> Artefact:
    plain = artefact._run

    def run(images_BCHW: Tensor) -> Tensor:
        time.sleep(seconds)
        return plain(images_BCHW)

    artefact._run = run
    return artefact


def archspec_bench(*args: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, args), "--seconds", "0.05"])


def refusal(*args: object) -> str:
    done = archspec_bench(*args)
    assert isinstance(done.exception, ArchspecError), done.output
    assert done.exception.exit_code == 2
    assert done.stdout == ""
    return str(done.exception)


def test_ratios_say_how_often_as_fast_as_the_base(tmp_path: Path) -> None:
    folder = make(tmp_path / "a")
    artefacts = {"slow": slowed(load(folder), 0.03), "fast": slowed(load(folder), 0.01)}
    slow, fast = time_side_by_side(artefacts, 2, base="slow", seconds=0.05)
    assert slow["ratio"] == slow["ratio_low"] == slow["ratio_high"] == 1
    assert 1.5 < fast["ratio_low"] <= fast["ratio"] <= fast["ratio_high"]
    assert fast["median_ms"] >= 10
    assert fast["images_per_second"] == pytest.approx(2e3 / fast["median_ms"])
    backwards = time_side_by_side(artefacts, 2, base="fast", seconds=0.05)[0]
    assert backwards["ratio"] < 0.7
    assert backwards["against"] == "fast"


def test_the_table_has_a_row_for_each_artefact_and_size(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a"), make(tmp_path / "b", batch=Batch(2, 2, 2))
    done = archspec_bench(a, b)
    assert (done.exit_code, done.stderr) == (0, "")
    for word in ("artefact", "backend", "precision", "batch", "images/s", "ratio", "quartiles"):
        assert word in done.stdout
    assert done.stdout.count("eager") == 2  # both take two images, and nothing else together
    assert f"ratio: how often as fast as {a}, the median over the rounds" in done.stdout


def test_json_has_what_the_table_has(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a"), make(tmp_path / "b", precision="bf16")
    rows = json.loads(archspec_bench(a, b, a, "--against", b, "--batch", 3, "--json").stdout)
    assert [(row["artefact"], row["precision"]) for row in rows] == [
        (str(a), "fp32"), (str(b), "bf16"),
    ]  # fmt: skip
    for row in rows:
        assert (row["network"], row["backend"], row["batch"]) == ("colours", "eager", 3)
        assert row["against"] == str(b)
        assert 0 < row["median_ms"] <= row["p90_ms"]
        assert row["size"] == (a / "model.pt2").stat().st_size
        assert row["fit"] is True
    assert rows[1]["ratio"] == 1


def test_the_base_need_not_be_named_twice(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a"), make(tmp_path / "b")
    rows = json.loads(archspec_bench(a, "--against", b, "--batch", 1, "--json").stdout)
    assert [row["artefact"] for row in rows] == [str(a), str(b)]


def test_sizes_are_those_that_all_take(tmp_path: Path) -> None:
    wide = load(make(tmp_path / "a", batch=Batch(1, 3, 6)))
    narrow = load(make(tmp_path / "b", batch=Batch(2, 3, 4)))
    assert sizes_of({"a": wide}) == [1, 3, 6]
    assert sizes_of({"a": wide, "b": narrow}) == [2, 3, 4]
    assert sizes_of({"a": wide, "b": narrow}, 3) == [3]


def test_sizes_that_not_all_take_are_refused(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a"), make(tmp_path / "b", batch=Batch(8, 8, 8))
    takes = f"\n  {a} takes 1 to 4\n  {b} takes 8"
    assert (
        refusal(a, b) == f"not all of these take any of the batch sizes they were made for{takes}"
    )
    assert refusal(a, b, "--batch", 2) == f"not all of these take a batch of 2 images{takes}"


def test_other_images_or_devices_cannot_be_compared(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a"), make(tmp_path / "b", channels=1)
    assert refusal(a, b) == (
        f"{b} is for images of 1×8×6, and {a} for images of 3×8×6: their times cannot be compared"
    )
    one, two = load(a), load(a)
    two.device = "cuda"
    with pytest.raises(CompileError) as found:
        sizes_of({"one": one, "two": two})
    assert str(found.value) == (
        "two is for the device cuda, and one for the device cpu: their times cannot be compared"
    )


def test_a_missing_artefact_is_told(tmp_path: Path) -> None:
    a = make(tmp_path / "a")
    assert refusal(a, tmp_path / "b") == (
        f"{tmp_path}/b is no artefact: there is no such folder\n  'archspec compile' makes one"
    )


def test_a_busy_machine_is_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    assert busy_machine() is None
    monkeypatch.setattr(os, "getloadavg", lambda: (cores / 2, 0.0, 0.0))
    assert busy_machine() is None
    monkeypatch.setattr(os, "getloadavg", lambda: (cores * 1.5, 0.0, 0.0))
    done = archspec_bench(make(tmp_path / "a"), "--batch", 1)
    assert done.exit_code == 0
    assert done.stderr == (
        f"note: this machine is busy (load {cores * 1.5:.1f} on {cores} cores): ratios suffer "
        "least, since artefacts are timed in turns\n"
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu(tmp_path: Path) -> None:
    from archspec.compile.device import describe

    folder = make(tmp_path / "a", device=describe("cuda"))
    (row,) = json.loads(archspec_bench(folder, "--batch", 2, "--json").stdout)
    assert row["median_ms"] > 0

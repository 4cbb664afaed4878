"""The benchmarks are found, say what they need, and compare what is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import archspec
from benchmarks import __main__ as command
from benchmarks import timing
from benchmarks.build import Parts
from benchmarks.eager import TOLERANCE, disagreement, make
from benchmarks.plain import PlainSMLPNet
from benchmarks.registry import Benchmark, Row, find_all
from benchmarks.timing import Quartiles

ROOT = Path(__file__).parent.parent
SMALL = {"dim": 16, "depths": [1, 2, 1, 1], "input.height": 64, "input.width": 96}


def test_every_benchmark_is_found_and_says_what_it_needs() -> None:
    found = find_all()
    assert {"costs", "eager", "startup", "build"} <= set(found)
    for name, benchmark in found.items():
        assert benchmark.name == name
        assert benchmark.measures
        assert benchmark.needs
        assert set(benchmark.needs) <= {"cpu", "cuda"}


def test_list_runs_nothing_and_shows_what_is_pending(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--list", "--results", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True, env={"COLUMNS": "200"},
    )  # fmt: skip
    for name in find_all():
        assert name in done.stdout
    assert "pending: needs a CUDA GPU" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["costz"])
    assert caught.value.code == 2
    assert "no benchmark 'costz'" in capsys.readouterr().err


def test_a_run_keeps_figures_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Row("a case", "a figure", Quartiles.of([3.0, 1.0, 2.0]), "s")
    fake = Benchmark("fake", "nothing", ("cpu", "cuda"), lambda device: [row])
    monkeypatch.setattr(command, "find_all", lambda: {"fake": fake})
    monkeypatch.setattr(command.environment, "gpu_model", lambda: None)
    assert command.main(["fake", "--results", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "fake-cpu.json").read_text())
    assert found["rows"] == [
        {
            "case": "a case", "figure": "a figure", "unit": "s",
            "value": {"low": 1.5, "median": 2.0, "high": 2.5, "rounds": 3},
        }
    ]  # fmt: skip
    assert {"device", "command", "date", "python", "versions", "cpu", "threads"} <= set(found)
    assert "load_average" in found
    assert {"torch", "numpy"} <= set(found["versions"])
    assert found["command"].endswith(f"python -m benchmarks fake --results {tmp_path}")
    assert not (tmp_path / "fake-cuda.json").exists()
    assert "fake (cuda): pending" in capsys.readouterr().out


def test_rounds_take_turns() -> None:
    calls: list[str] = []
    tasks = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    ticks = iter(range(100))
    seconds = timing.interleave(tasks, 3, clock=lambda task: (task(), float(next(ticks)))[1])
    assert calls == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert seconds == {"a": [0.0, 3.0, 4.0], "b": [1.0, 2.0, 5.0]}
    assert timing.ratio([4.0, 6.0], [2.0, 3.0]) == Quartiles(2.0, 2.0, 2.0, 2)


def test_parts_that_nest_or_recur_are_counted_once() -> None:
    now = 0.0
    parts = Parts(lambda: now)

    def spend(depth: int) -> None:
        nonlocal now
        now += 1.0
        if depth:
            again(depth - 1)
            other()

    def rest() -> None:
        nonlocal now
        now += 10.0

    again, other = parts.timed("recursive", spend), parts.timed("inner", rest)
    again(3)
    now += 100.0  # outside of all parts
    other()
    assert parts.seconds == {"recursive": 4.0, "inner": 40.0}
    assert sum(parts.seconds.values()) == now - 100.0


@pytest.fixture(scope="module")
def networks() -> tuple[torch.nn.Module, PlainSMLPNet]:
    torch.manual_seed(0)
    return make(archspec.load("smlpnet_t").with_values(SMALL))


def test_the_plain_network_is_the_same_network(
    networks: tuple[torch.nn.Module, PlainSMLPNet],
) -> None:
    built, plain = networks
    images = torch.randn(2, 3, 64, 96)
    assert disagreement(built, plain, images) < TOLERANCE
    assert disagreement(built.double(), plain.double(), images.double()) < 1e-9
    built.float()
    plain.float()


def test_a_wrong_weight_would_be_noticed(networks: tuple[torch.nn.Module, PlainSMLPNet]) -> None:
    built, plain = networks
    mixing = plain.stages[1].cross.mix_width
    weight = mixing.weight.detach().clone()
    try:
        mixing.weight.data = weight.transpose(0, 1).contiguous()
        assert disagreement(built, plain, torch.randn(2, 3, 64, 96)) > TOLERANCE
    finally:
        mixing.weight.data = weight


def test_the_plain_network_has_the_published_size() -> None:
    with torch.device("meta"):
        plain = PlainSMLPNet()
    assert sum(p.numel() for p in plain.parameters()) == 24_123_584

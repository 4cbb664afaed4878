"""`archspec train`, as its users run it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import archspec
from archspec.cli.app import _load_commands, app
from archspec.errors import ArchspecError
from archspec.search.train.folder import open_folder
from archspec.search.train.trainer import Steps

SPEC = """
name: little
about: For tests.
source: https://example.org
published: {params: 1M}
input: {channels: 1, height: 224, width: 224}
classes: 1000
vars: {dim: 8}
stages:
  stage1:
    enter: [{conv: {out: dim, kernel: 4, stride: 4, id: embed}}]
    body: [batch_norm, gelu, {linear: {id: mix}}]
head: [global_pool, {linear: {id: classifier, out: classes}}]
"""

_load_commands()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "little.yaml").write_text(SPEC)


def arguments(*more: str, epochs: int = 2) -> list[str]:
    size = ["--resolution", "8", "--limit", "200", "--epochs", str(epochs)]
    return ["train", "little.yaml", *size, "--device", "cpu", *more]


def train(*more: str, epochs: int = 2) -> None:
    app(arguments(*more, epochs=epochs), standalone_mode=False)


def epochs_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def events_in(folder: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("accuracy/held_out")]


FOLDER = Path("runs/train/little")


def test_everything_is_written_and_can_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    train("--json", "--set", "dim=6")
    out, err = capsys.readouterr()
    facts: dict[str, Any] = json.loads(out)
    assert facts["output"] == str(FOLDER)
    assert (facts["resolution"], len(facts["classes"]), facts["seed"]) == (8, 10, 0)
    assert facts["recipe"]["batch_size"] == 32  # for 200 images
    assert facts["test_accuracy"] is None
    assert (facts["images"], len(facts["mean"]), len(facts["std"])) == ("digits", 1, 1)
    assert 0.2 < facts["mean"][0] < facts["std"][0] < 0.4
    assert facts["accuracy"] == facts["epochs"][-1]["accuracy"]

    lines = err.splitlines()
    assert lines[0].startswith("little at 8×8 on digits: 200 images to train")
    assert lines[1].startswith("epoch 1/2   held out: ")
    assert len(lines) == 3

    rows = epochs_in(FOLDER)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert [float(row["accuracy"]) for row in rows] == [e["accuracy"] for e in facts["epochs"]]
    assert events_in(FOLDER) == [
        (epoch["number"], pytest.approx(epoch["accuracy"])) for epoch in facts["epochs"]
    ]

    spec = archspec.load(FOLDER / "spec.yaml")
    expected = archspec.load("little.yaml").to_dict() | {
        "classes": 10, "input": {"channels": 1, "height": 8, "width": 8}, "vars": {"dim": 6},
    }  # fmt: skip
    del expected["published"]
    assert spec.to_dict() == expected
    # the weights after the last epoch, which the checkpoint has too
    model = archspec.build(spec, weights=FOLDER / "model.safetensors")
    last = archspec.build(spec, weights=FOLDER / "checkpoint.pt")
    for name, value in model.state_dict().items():
        assert torch.equal(value, last.state_dict()[name])
    fresh = archspec.build(spec)
    assert not torch.equal(model.get_parameter("head.classifier.weight"),
                           fresh.get_parameter("head.classifier.weight"))  # fmt: skip


def test_a_finished_run_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    train()
    first = capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in FOLDER.rglob("*") if path.name != ".lock"}
    train()
    second = capsys.readouterr()
    assert second.out == first.out
    assert second.err.splitlines()[1:] == [
        f"{FOLDER} holds this training, ended: nothing was left to do"
    ]
    after = {path: path.stat().st_mtime_ns for path in FOLDER.rglob("*") if path.name != ".lock"}
    assert after == before


def test_what_a_kill_left_out_is_written_later() -> None:
    """Killed after the last checkpoint, before the rest of it was written."""
    train()
    whole = {name: (FOLDER / name).read_bytes() for name in ("spec.yaml", "model.safetensors")}
    rows, events = epochs_in(FOLDER), events_in(FOLDER)
    for name in ("model.safetensors", "result.json", "metrics.csv", "spec.yaml"):
        (FOLDER / name).unlink()
    train()
    assert {name: (FOLDER / name).read_bytes() for name in whole} == whole
    assert epochs_in(FOLDER) == rows
    assert events_in(FOLDER) == events


def test_ctrl_c_and_the_same_command_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train("--output", "whole", epochs=3)
    calls = iter(range(100))
    step = Steps.step

    def interrupted(self: Steps, *args: Any) -> Any:
        if next(calls) == 8:  # an epoch has 6 steps
            raise KeyboardInterrupt
        return step(self, *args)

    capsys.readouterr()
    monkeypatch.setattr(Steps, "step", interrupted)
    assert app(arguments(epochs=3), standalone_mode=False) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"interrupted after epoch 1 of 3; the same command goes on from {FOLDER}"
    )
    monkeypatch.setattr(Steps, "step", step)
    train(epochs=3)
    assert f"going on after epoch 1 of 3 ({FOLDER})" in capsys.readouterr().err
    assert [row["epoch"] for row in epochs_in(FOLDER)] == ["1", "2", "3"]
    assert events_in(FOLDER) == events_in(Path("whole"))
    assert (FOLDER / "model.safetensors").read_bytes() == Path(
        "whole/model.safetensors"
    ).read_bytes()


def test_kill_minus_9_and_the_same_command_again() -> None:
    """Killed as soon as there is a checkpoint, in a process of its own."""
    command = [sys.executable, "-m", "archspec", *arguments(epochs=40)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=dict(os.environ))
    deadline = time.monotonic() + 60
    while not (FOLDER / "metrics.csv").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(ArchspecError, match=f"another process trains in {FOLDER}"):
        train(epochs=40)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(epochs_in(FOLDER))
    assert before < 40
    train(epochs=40)
    assert [int(row["epoch"]) for row in epochs_in(FOLDER)] == list(range(1, 41))
    assert [step for step, _ in events_in(FOLDER)] == list(range(1, 41))


def test_starting_from_weights(capsys: pytest.CaptureFixture[str]) -> None:
    train("--output", "first")
    start = ("--weights", "first/model.safetensors")
    capsys.readouterr()
    train("--output", "second", "--json", *start)
    facts = json.loads(capsys.readouterr().out)
    first = json.loads(Path("first/result.json").read_text())
    assert facts["epochs"][0]["train_loss"] < first["epochs"][0]["train_loss"]
    with pytest.raises(ArchspecError) as caught:
        train("--output", "second")
    assert "\n  weights: " in str(caught.value)
    with pytest.raises(ArchspecError, match="cannot be read: No such file"):
        train("--output", "third", "--weights", "none.pt")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--resolution", "2"], "--resolution: little does not take images of 2×2: height 2 does "
         "not divide into patches of 4\n  at 'stage1.embed', which reads 'input' (C1 H2 W2)\n"
         "  near it: 4, 8"),
        (["--recipe", "mixup"], "--recipe takes NAME=VALUE, found 'mixup'"),
        (["--recipe", "mixupp=1"], "a recipe has no 'mixupp'\n  did you mean 'mixup'?"),
        (["--lr", "-1"], "lr: input should be greater than 0, found -1.0"),
        (["--precision", "int8"], "precision: input should be 'fp32' or 'bf16', found 'int8'"),
        (["--output", "little.yaml"], "cannot write little.yaml: File exists"),
        (["--output", "/proc/here"], "cannot write /proc/here: No such file or directory"),
        (["--device", "cuda:9999"], "there is no device 'cuda:9999'"),
        (["--data", "nowhere"], "there is no file or folder 'nowhere'"),
    ],
)  # fmt: skip
def test_messages(more: list[str], message: str) -> None:
    with pytest.raises(ArchspecError) as caught:
        train(*more)
    assert str(caught.value).startswith(message)


def test_images_must_be_square() -> None:
    with pytest.raises(ArchspecError) as caught:
        app(["train", "little.yaml", "--set", "input.height=112"], standalone_mode=False)
    assert str(caught.value) == (
        "little has an input of 112×224, and training is on square images\n"
        "  --resolution names their size"
    )


def test_another_training_in_the_folder_is_refused() -> None:
    train()
    spec = (FOLDER / "spec.yaml").read_bytes()
    with pytest.raises(ArchspecError) as caught:
        train("--lr", "0.01", "--limit", "150")
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{FOLDER / 'checkpoint.pt'}: is of another training:"
    assert [line.split(":")[0] for line in lines[1:-1]] == ["  data", "  lr"]
    with pytest.raises(ArchspecError, match="  spec: "):
        train("--set", "stages.stage1.body[1]=relu")  # the same names and shapes
    assert (FOLDER / "spec.yaml").read_bytes() == spec


def test_someone_elses_spec_is_not_overwritten(tmp_path: Path) -> None:
    Path("mine").mkdir()
    Path("mine/spec.yaml").write_text(SPEC)
    with pytest.raises(ArchspecError) as caught:
        train("--output", "mine")
    assert str(caught.value) == (
        "mine/spec.yaml is there already and is another spec\n  --output names another folder"
    )
    assert Path("mine/spec.yaml").read_text() == SPEC


def test_leftovers_of_a_killed_write_are_removed() -> None:
    Path("run").mkdir()
    Path("run/.checkpoint-abc.pt").write_bytes(b"half")
    with open_folder(Path("run")):
        assert not Path("run/.checkpoint-abc.pt").exists()

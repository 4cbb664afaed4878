"""Several processes train one network: the same as one does, and safe in every end."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from archspec.cli.app import _load_commands, app
from archspec.cli.train import Progress
from archspec.errors import ArchspecError
from archspec.search.train.device import open_fabric
from archspec.search.train.outcomes import OutOfMemory, TrainingFailed
from archspec.search.train.ranks import Place, devices_here, outside_place
from tests.processes import start
from tests.search.devices import Enough, alone, forever, started_by, together

_load_commands()

CLOSE = 1e-5
"""How much losses may differ, relative to themselves, and weights, relative to 1. Both ways add up
the same numbers in another order, and 32 bits keep 6e-8 of each; seen were 1e-6 in losses, 9e-8 in
weights, also after 80 steps. Another augmentation, another weight of a share or a lost image make
more than 1e-3."""


def alike(one: list[dict[str, Any]], other: list[dict[str, Any]], tolerance: float = CLOSE) -> None:
    """The same curves."""
    for here, there in zip(one, other, strict=True):
        assert here["accuracy"] == there["accuracy"]
        assert here["lr"] == there["lr"]
        for name in ("loss", "train_loss"):
            assert here[name] == pytest.approx(there[name], rel=tolerance)


def close(one: dict[str, Any], other: dict[str, Any], tolerance: float = CLOSE) -> None:
    alike(one["history"], other["history"], tolerance)
    assert one["weights"].keys() == other["weights"].keys()
    for name, value in one["weights"].items():
        torch.testing.assert_close(value, other["weights"][name], rtol=tolerance, atol=tolerance)


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """To the bit, in two processes of one training."""
    for here, there in zip(one["history"], other["history"], strict=True):
        assert [here[n] for n in ("accuracy", "loss", "train_loss")] == [
            there[n] for n in ("accuracy", "loss", "train_loss")
        ]
    for name, value in one["weights"].items():
        assert torch.equal(value, other["weights"][name])


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    """Every process of a launch has ended with it; Python's fork server stays."""
    yield
    test = psutil.Process()
    assert set(test.children(recursive=True)) <= set(test.children())


# -- as one process ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"recipe": {"micro_batch": 2, "label_smoothing": 0.0}},
        {"recipe": {"micro_batch": 1, "mixup": 0.0}},  # one process has an image less
        {"data": {"train": 5, "held_out": 1}},  # less than one batch; nothing held out for one
    ],
)
def test_two_processes_train_as_one(tmp_path: Path, more: dict[str, Any]) -> None:
    expected = alone(tmp_path, **more)
    first, second = together(tmp_path, **more)
    same(first, second)
    close(first, expected)
    assert first["micro_batch"] == expected["micro_batch"]


def test_three_processes_train_as_one(tmp_path: Path) -> None:
    expected = alone(tmp_path)
    for found in together(tmp_path, 3):
        close(found, expected)


def test_they_listen_to_this_machine_alone(tmp_path: Path) -> None:
    for found in together(tmp_path, recipe={"epochs": 1}):
        assert found["listening"]
        assert set(found["listening"]) <= {"127.0.0.1", "::1"}


def test_batch_norm_on_the_cpu_is_of_each_share(tmp_path: Path) -> None:
    """It normalises by the share; running statistics are the mean of the shares'."""
    plain = {
        "network": {"kind": "norm"}, "data": {"train": 8},
        "recipe": {"epochs": 1, "batch_size": 8, "crop_padding": 0, "flip": False, "mixup": 0.0},
    }  # fmt: skip
    whole = alone(tmp_path, **plain)
    first, second = together(tmp_path, **plain)
    same(first, second)
    mean, var = "inner.1.running_mean", "inner.1.running_var"
    # means of equal shares have the mean of all as theirs; variances have not
    torch.testing.assert_close(first["weights"][mean], whole["weights"][mean])
    gap = (first["weights"][var] - whole["weights"][var]).abs().max()
    assert 1e-4 < gap < 0.1
    assert first["history"][0]["train_loss"] != pytest.approx(
        whole["history"][0]["train_loss"], rel=CLOSE
    )


def test_dropout_is_not_the_same_in_both(tmp_path: Path) -> None:
    """Each process draws masks of its own, the same ones every time."""
    dropping = {"network": {"kind": "dropout"}, "recipe": {"epochs": 1}}
    first, second = together(tmp_path, **dropping)
    same(first, second)
    again, _ = together(tmp_path, **dropping)
    same(first, again)


# -- checkpoints ---------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [1, 2])
def test_another_number_of_devices_goes_on(tmp_path: Path, before: int) -> None:
    expected = alone(tmp_path)
    stopped: dict[str, Any] = {"checkpoint": tmp_path / "checkpoint.pt", "epochs": 2}
    if before == 1:
        with pytest.raises(Enough):
            alone(tmp_path, **stopped)
        (found, _) = together(tmp_path, checkpoint=stopped["checkpoint"])
    else:
        with pytest.raises(RuntimeError, match="Enough"):
            together(tmp_path, **stopped)
        found = alone(tmp_path, checkpoint=stopped["checkpoint"])
    close(found, expected)


def test_a_foreign_checkpoint_is_refused_by_all(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    alone(tmp_path, checkpoint=file)
    with pytest.raises(ArchspecError) as caught:
        together(tmp_path, checkpoint=file, recipe={"mixup": 0.3})
    assert str(caught.value).startswith(
        f"{file}: is of another training:\n  mixup: 0.2 there, 0.3 here"
    )


# -- other ends ----------------------------------------------------------------------------------


def test_all_halve_when_memory_runs_out_in_one(tmp_path: Path) -> None:
    """In the second process alone; its share of held-out images does not fit either."""
    expected = alone(tmp_path)
    first, second = together(tmp_path, network={"fits": 2})
    same(first, second)
    close(first, expected)
    assert first["micro_batch"] == second["micro_batch"] == 2
    assert first["notes"] == [
        "out of memory on cpu: batches of 9 images are now taken in parts of 2"
    ]


def test_not_one_image_fits_in_one(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory) as caught:
        together(tmp_path, network={"fits": 0})
    assert caught.value.message == (
        "out of memory on cpu: not even one image at a time can be trained on"
    )


def test_memory_that_runs_out_later_ends_all(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory) as caught:
        together(tmp_path, network={"kind": "late", "at": 7})
    assert str(caught.value) == (
        "out of memory on cpu, where 9 images in parts of 9 did fit before\n"
        "  does another program use it? The same command goes on from the last epoch"
    )


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_others(tmp_path: Path, rank: int) -> None:
    file = tmp_path / "checkpoint.pt"
    with pytest.raises(TrainingFailed) as caught:
        together(tmp_path, network={"kind": "killed", "rank": rank, "at": 9}, checkpoint=file)
    assert str(caught.value) == (
        f"the process of device {rank} ended (SIGKILL), and so the others were ended\n"
        "  is there enough memory? The same command goes on from the last epoch"
    )
    assert list(tmp_path.iterdir()) == [file]
    first, _ = together(tmp_path, checkpoint=file)
    close(first, alone(tmp_path))


def test_they_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    parent = start(forever, tmp_path, {"checkpoint": file, "recipe": {"epochs": 100_000}})
    while not file.exists():
        assert parent.exitcode is None
        parent.join(0.02)
    test = psutil.Process()
    crew = set(test.children(recursive=True)) - set(test.children())
    os.kill(parent.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(crew, timeout=120)
    assert len(crew) >= 3  # with the parent itself
    assert not alive
    parent.join()


def test_a_bug_in_one_is_shown_once(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        together(tmp_path, network={"kind": "bug", "at": 3})
    text = str(caught.value)
    assert text.startswith("in the process of device 1:\nTraceback")
    assert text.endswith("KeyError: 'a bug'\n")


def test_weights_without_effect_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchspecError) as caught:
        together(tmp_path, network={"kind": "unused"})
    assert str(caught.value) == (
        "the logits do not depend on 2 of the network's weights (spare.weight, spare.bias), and "
        "several devices wait for a gradient of each\n"
        "  take them out of the network, or train on one device"
    )


def test_a_batch_smaller_than_the_devices(tmp_path: Path) -> None:
    with pytest.raises(ArchspecError) as caught:
        together(tmp_path, 3, recipe={"batch_size": 2})
    assert str(caught.value) == (
        "a batch of 2 images is not one for each of 3 devices\n  fewer devices, or a larger batch"
    )


# -- who starts them -----------------------------------------------------------------------------


def test_tasks_of_slurm_train_as_one(tmp_path: Path) -> None:
    common = {
        "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "job", "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_NODEID": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
    }  # fmt: skip
    tasks = [
        start(started_by, common | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank}, tmp_path)
        for rank in ("0", "1")
    ]
    for task in tasks:
        task.join(120)
        assert task.exitcode == 0
    found = torch.load(tmp_path / "1.pt", weights_only=True)
    close(found, alone(tmp_path))


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_one_device_is_one_device_inside_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that do not train together, such as a search in each."""
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert open_fabric("cpu").world_size == 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, None),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4"}, None),
        ({"SLURM_STEP_ID": "0", "SLURM_PROCID": "5", "SLURM_NTASKS": "8",
          "SLURM_NTASKS_PER_NODE": "4", "SLURM_LOCALID": "1"}, Place("Slurm", 5, 1, 4, 2)),
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_NAME": "interactive"}, None),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "RANK": "3",
          "LOCAL_RANK": "1", "SLURM_STEP_ID": "0"}, Place("torchrun", 3, 1, 2, 2)),
    ],
)  # fmt: skip
def test_places(
    environment: dict[str, str], expected: Place | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _outside(monkeypatch, environment)
    assert outside_place() == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "4"},
         "Slurm started 4 tasks and does not say how many of them a machine has\n"
         "  --ntasks-per-node in the batch script says it"),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "5", "LOCAL_WORLD_SIZE": "2", "RANK": "3",
          "LOCAL_RANK": "1"},
         "torchrun started 5 processes, 2 on this machine: not as many on each\n"
         "  each machine takes as many as the others"),
    ],
)  # fmt: skip
def test_places_that_cannot_be(
    environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _outside(monkeypatch, environment)
    with pytest.raises(ArchspecError) as caught:
        outside_place()
    assert str(caught.value) == message


def _outside(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC_")):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


TWO = Place("torchrun", 1, 1, 2, 3)


@pytest.mark.parametrize(
    ("devices", "device", "place", "gpus", "expected"),
    [
        (None, "auto", None, 4, 1),
        ("1", "cuda:1", None, 4, 1),
        ("3", "auto", None, 4, 3),
        ("auto", "auto", None, 4, 4),
        ("auto", "auto", None, 0, 1),
        ("auto", "cpu", None, 4, 1),
        ("5", "cpu", None, 0, 5),
        (None, "cuda", TWO, 2, 2),
        ("auto", "cpu", TWO, 4, 2),
        ("2", "auto", TWO, 4, 2),
    ],
)
def test_how_many_devices(
    devices: str | None, device: str, place: Place | None, gpus: int, expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    _gpus(monkeypatch, gpus)
    assert devices_here(devices, device, place) == expected


@pytest.mark.parametrize(
    ("devices", "device", "place", "gpus", "message"),
    [
        ("8", "auto", None, 2, "there are no 8 devices: PyTorch finds 2 CUDA devices here\n"
         "  '--device cpu' trains in 8 processes on the CPU"),
        (None, "cuda", TWO, 1, "there are no 2 devices: PyTorch finds 1 CUDA devices here\n"
         "  '--device cpu' trains in 2 processes on the CPU"),
        ("2", "cuda:1", None, 2, "--device cuda:1 is one device, and 2 are asked for\n"
         "  --device cuda takes as many as are asked for"),
        ("3", "cpu", TWO, 0, "--devices is 3, and torchrun started 2 processes on this machine\n"
         "  without --devices, torchrun says how many"),
        ("0", "cpu", None, 0, "--devices takes a number from 1, or auto, found '0'"),
        ("-2", "cpu", None, 0, "--devices takes a number from 1, or auto, found '-2'"),
        ("all", "cpu", None, 0, "--devices takes a number from 1, or auto, found 'all'"),
        ("2", "tpu", None, 0, "there is no device 'tpu'\n  known: auto, cpu, cuda, cuda:0, "
         "cuda:1, …"),
    ],
)  # fmt: skip
def test_devices_that_cannot_be(
    devices: str | None, device: str, place: Place | None, gpus: int, message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    _gpus(monkeypatch, gpus)
    with pytest.raises(ArchspecError) as caught:
        devices_here(devices, device, place)
    assert str(caught.value) == message


def _gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


# -- the command ---------------------------------------------------------------------------------


SPEC = """
name: little
about: For tests.
input: {channels: 1, height: 8, width: 8}
classes: 10
stages:
  stage1:
    enter: [{conv: {out: 8, kernel: 4, stride: 4, id: embed}}]
    body: [gelu, {linear: {id: mix}}]
head: [global_pool, {linear: {id: classifier, out: classes}}]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "little.yaml").write_text(SPEC)
    return tmp_path


def command(*more: str, epochs: int = 2) -> list[str]:
    size = ["--limit", "200", "--epochs", str(epochs), "--device", "cpu"]
    return ["-m", "archspec", "train", "little.yaml", *size, *more]


def facts(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(folder, "result.json").read_text())
    return found


def test_ctrl_c_stops_all_and_one_device_goes_on(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a terminal does it: the signal reaches every process."""
    many = command("--devices", "2", "--output", "run", epochs=2000)
    process = subprocess.Popen(
        [sys.executable, *many], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(2)]
    assert lines[0].startswith("little at 8×8 on digits: 200 images to train")
    assert lines[0].endswith(" classes, 2 devices\n")
    assert lines[1].startswith("epoch    1/2000 ")
    crew = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    rest = process.stderr.read().splitlines()
    assert process.wait() == 130
    assert all(line.startswith("epoch ") for line in rest[:-1])
    done = len(rest)
    assert rest[-1] == f"interrupted after epoch {done} of 2000; the same command goes on from run"
    _, alive = psutil.wait_procs(crew, timeout=60)
    assert not alive
    assert not list(here.glob("run/.checkpoint-*"))
    process.stderr.close()

    monkeypatch.setattr(Progress, "epoch", _stopping(Progress.epoch, done))
    arguments = command("--output", "run", epochs=2000)[2:]
    assert app(arguments, standalone_mode=False) == 130
    assert f"\ngoing on after epoch {done} of 2000 (run)\n" in capsys.readouterr().err


def _stopping(epoch: Callable[[Progress, Any], None], after: int) -> Callable[..., None]:
    """Ctrl-C, one epoch further."""

    def told(self: Progress, done: Any) -> None:
        epoch(self, done)
        if done.number > after:
            raise KeyboardInterrupt

    return told


def test_the_command_trains_as_on_one_device(here: Path) -> None:
    for devices in ("1", "2"):
        arguments = command("--devices", devices, "--output", devices)[2:]
        app(arguments, standalone_mode=False)
    one, two = facts("1"), facts("2")
    assert (one.pop("devices"), two.pop("devices")) == (1, 2)
    alike(one["epochs"], two["epochs"])
    assert one["fingerprint"] == two["fingerprint"]
    first, second = (load_file(f"{folder}/model.safetensors") for folder in "12")
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=CLOSE, atol=CLOSE)
    with Path("2/metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_the_command_under_torchrun(here: Path) -> None:
    """As it is called on several machines; the first process alone tells and writes."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [*torchrun, *command("--output", "two", "--json")]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["devices"] == 2
    assert sum(line.startswith("epoch ") for line in done.stderr.splitlines()) == 2
    app(command("--output", "one")[2:], standalone_mode=False)
    alike(facts("one")["epochs"], told["epochs"])


def test_a_refusal_of_the_processes_is_the_commands(here: Path) -> None:
    with pytest.raises(ArchspecError) as caught:
        app(command("--devices", "2", "--batch-size", "1")[2:], standalone_mode=False)
    assert str(caught.value) == (
        "a batch of 1 images is not one for each of 2 devices\n  fewer devices, or a larger batch"
    )
    with pytest.raises(ArchspecError, match=r"^there is no file or folder 'nowhere'"):
        app(command("--devices", "2", "--data", "nowhere")[2:], standalone_mode=False)


# -- GPUs ----------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_train_as_one(tmp_path: Path) -> None:
    """With batch norm, which is of the whole batch there."""
    same_on = {"device": "cuda", "network": {"kind": "norm"}, "recipe": {"batch_size": 8}}
    expected = alone(tmp_path, **same_on)
    first, second = together(tmp_path, **same_on)
    same(first, second)
    close(first, expected, 1e-4)

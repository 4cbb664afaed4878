"""The trainer: what it learns, that it repeats itself to the bit, and how it ends otherwise."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from archspec.errors import ArchspecError
from archspec.search.data.images import Data, Split
from archspec.search.train.batches import Augment, mix, shuffled
from archspec.search.train.checkpoint import ForeignCheckpoint
from archspec.search.train.device import seeded
from archspec.search.train.evaluation import evaluate
from archspec.search.train.history import Epoch, Result
from archspec.search.train.optimise import learning_rate, make_optimizer, mixed_loss
from archspec.search.train.outcomes import Diverged, Interrupted, OutOfMemory, TrainingFailed
from archspec.search.train.recipe import Recipe, make_recipe, suited_batch_size
from archspec.search.train.trainer import train
from tests.search.tiny import tiny_data, tiny_network

SHORT = Recipe(epochs=4, batch_size=8, lr=0.01, crop_padding=1, mixup=0.2)


def run(model: nn.Module, data: Data | None = None, recipe: Recipe = SHORT, **more: Any) -> Result:
    return train(model, data or tiny_data(), recipe, seed=more.pop("seed", 5), device="cpu", **more)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


# -- what it does --------------------------------------------------------------------------------


def test_it_learns() -> None:
    data, model = tiny_data(), tiny_network()
    result = run(model, data)
    assert [epoch.number for epoch in result.history] == [1, 2, 3, 4]
    assert result.accuracy == result.history[-1].accuracy == 1.0
    assert result.history[-1].loss < result.history[0].loss < 0.7
    assert result.history[-1].lr == pytest.approx(SHORT.min_lr)
    assert result.micro_batch == 8
    assert result.seconds == sum(epoch.seconds for epoch in result.history) > 0
    assert evaluate(model, data.held_out, data, device="cpu") == pytest.approx(
        (result.accuracy, result.history[-1].loss)
    )


def test_accuracy_and_loss_are_those_of_the_logits() -> None:
    data, model = tiny_data(), tiny_network().eval()
    images_NCHW = torch.from_numpy(data.held_out.images_NCHW) / 255
    with torch.no_grad():
        logits_NK = model((images_NCHW - 0.4) / 0.2)
    labels_N = torch.from_numpy(data.held_out.labels_N)
    right = (logits_NK.argmax(1) == labels_N).double().mean().item()
    nats = -logits_NK.log_softmax(1)[range(12), labels_N].mean().item()
    found = evaluate(model, data.held_out, data, batch_size=5, device="cpu")
    assert found == pytest.approx((right, nats), rel=1e-5)


def test_the_same_seed_gives_the_same_bits_whatever_else_was_drawn() -> None:
    one, other, third = (tiny_network(dropout=0.5) for _ in range(3))
    first = run(one)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    second = run(other)
    assert torch.equal(torch.get_rng_state(), state)
    assert second.history == first.history
    assert same(weights(one), weights(other))
    assert run(third, seed=6).history != first.history


def test_drawing_in_callbacks_changes_nothing() -> None:
    drawn: list[Tensor] = []
    plain = run(tiny_network(dropout=0.5))
    drawing = run(
        tiny_network(dropout=0.5),
        on_step=lambda *_: drawn.append(torch.rand(3)),
        on_epoch=lambda _: drawn.append(torch.rand(3)),
    )
    assert len(drawn) == 4 * 5 + 4
    assert drawing.history == plain.history


def test_mapped_images_train_like_those_in_memory(tmp_path: Path) -> None:
    data = tiny_data()
    np.save(tmp_path / "images.npy", data.train.images_NCHW)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    other = replace(data, train=Split(mapped, data.train.labels_N))
    assert run(tiny_network(), other).history == run(tiny_network(), data).history


def test_steps_are_reported() -> None:
    seen: list[tuple[int, int]] = []
    run(tiny_network(), recipe=Recipe(epochs=1, batch_size=16), on_step=lambda *s: seen.append(s))
    assert seen == [(1, 2), (2, 2)]  # 40 images: two whole batches, and 8 images left over


# -- resuming ------------------------------------------------------------------------------------


class Killed(Exception):
    pass


def killed_after(epoch: int) -> Callable[[Epoch], None]:
    def callback(done: Epoch) -> None:
        if done.number == epoch:
            raise Killed

    return callback


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path, epoch: int) -> None:
    whole = tiny_network(dropout=0.5)
    expected = run(whole)
    file = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        run(tiny_network(dropout=0.5), checkpoint=file, on_epoch=killed_after(epoch))
    torch.manual_seed(1)
    told: list[Epoch] = []
    resumed = tiny_network(dropout=0.5)
    for parameter in resumed.parameters():
        nn.init.zeros_(parameter)  # what the checkpoint says counts, not the weights given
    result = run(resumed, checkpoint=file, on_epoch=told.append)
    assert result.history == expected.history == tuple(told)
    assert same(weights(resumed), weights(whole))


def test_it_can_be_killed_within_an_epoch(tmp_path: Path) -> None:
    expected = run(tiny_network())
    calls = iter(range(100))
    with pytest.raises(Interrupted, match="stopped in epoch 2 of 4"):
        run(tiny_network(), checkpoint=tmp_path / "c.pt", should_stop=lambda: next(calls) == 7)
    assert run(tiny_network(), checkpoint=tmp_path / "c.pt").history == expected.history


def test_a_finished_training_is_only_told_again(tmp_path: Path) -> None:
    first = run(tiny_network(), checkpoint=tmp_path / "c.pt")
    steps: list[int] = []
    told: list[Epoch] = []
    again = run(
        tiny_network(), checkpoint=tmp_path / "c.pt", on_epoch=told.append,
        on_step=lambda step, _: steps.append(step),
    )  # fmt: skip
    assert not steps
    assert tuple(told) == again.history == first.history
    assert again.seconds == first.seconds


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    run(tiny_network(), checkpoint=file, identity={"spec": "a" * 64})
    before = file.read_bytes()
    with pytest.raises(ForeignCheckpoint) as caught:
        run(
            tiny_network(), checkpoint=file, identity={"spec": "b" * 64}, seed=6,
            recipe=SHORT.model_copy(update={"lr": None}),
        )  # fmt: skip
    assert str(caught.value) == (
        f"{file}: is of another training:\n"
        "  seed: 5 there, 6 here\n"
        "  spec: aaaaaaaaaaaa there, bbbbbbbbbbbb here\n"
        "  lr: 0.01 there, none here\n"
        "  train with the same settings, in another folder (--output), or delete it to start over"
    )
    for model, data in ((tiny_network(norm=False), tiny_data()), (tiny_network(), tiny_data(32))):
        with pytest.raises(ForeignCheckpoint):
            run(model, data, checkpoint=file, identity={"spec": "a" * 64})
    assert file.read_bytes() == before


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("sprung",))


@pytest.mark.parametrize("content", ["cut", "empty", "weights", "trap"])
def test_a_broken_checkpoint_is_set_aside(
    tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "checkpoint.pt"
    expected = run(tiny_network(), checkpoint=file)
    match content:
        case "cut":
            file.write_bytes(file.read_bytes()[:-500])
        case "empty":
            file.write_bytes(b"")
        case "weights":
            torch.save(tiny_network().state_dict(), file)
        case "trap":
            torch.save({"format": Trap()}, file)
    broken, notes = file.read_bytes(), list[str]()
    result = run(tiny_network(), checkpoint=file, on_note=notes.append)
    assert result.history == expected.history
    why = {
        "cut": "cannot be read: Invalid argument",
        "weights": "is not a training checkpoint",
        "trap": "holds a Python object that is no tensor (posix.mkdir) and was not opened",
    }
    (note,) = notes
    assert note == (
        f"{file}: {why.get(content, 'is not a checkpoint, or is cut short')}; "
        "it is now checkpoint.pt.broken, and training starts over"
    )
    assert (tmp_path / "checkpoint.pt.broken").read_bytes() == broken
    assert not (tmp_path / "sprung").exists()


def test_a_checkpoint_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    file = tmp_path / "no" / "folder.pt"
    with pytest.raises(ArchspecError, match=f"^cannot write {file}: No such file or directory$"):
        run(tiny_network(), checkpoint=file)


def test_a_full_disk_is_one_message_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        run(tiny_network(), checkpoint=file, on_epoch=killed_after(1))
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
        with pytest.raises(ArchspecError) as caught:
            run(tiny_network(), checkpoint=file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value) == f"cannot write {file}: File too large"
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_bytes() == before


def test_a_checkpoint_of_a_later_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    run(tiny_network(), checkpoint=file)
    content = torch.load(file, weights_only=True)
    torch.save(content | {"format": 2}, file)
    with pytest.raises(ArchspecError) as caught:
        run(tiny_network(), checkpoint=file)
    assert str(caught.value) == (
        f"{file}: was written by another version (format 2)\n  delete it to start over"
    )


# -- other ends ----------------------------------------------------------------------------------


class Poisoned(nn.Module):
    """Gives NaN from some forward pass on."""

    def __init__(self, passes: int) -> None:
        super().__init__()
        self.inner, self.passes = tiny_network(), passes

    def forward(self, x: Tensor) -> Tensor:
        self.passes -= 1
        logits = self.inner(x)
        return logits if self.passes > 0 else logits * float("nan")


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        (3, "diverged: the loss is nan by step 5 of epoch 1"),
        (6, "diverged: the loss on held-out images is nan by step 5 of epoch 1"),
    ],
)
def test_divergence(passes: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(Diverged) as caught:
        run(Poisoned(passes), checkpoint=tmp_path / "c.pt")
    assert caught.value.message == message
    assert isinstance(caught.value, TrainingFailed)
    assert not (tmp_path / "c.pt").exists()


class Small(nn.Module):
    """A network for which memory runs out above so many images at a time."""

    def __init__(self, fits: int, error: BaseException, **more: Any) -> None:
        super().__init__()
        self.inner, self.fits, self.error = tiny_network(**more), fits, error

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)  # batch norm has moved by then
        if len(x) > self.fits:
            raise self.error
        return logits


FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: not enough memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", FULL)
def test_micro_batches_are_halved_until_they_fit(error: BaseException) -> None:
    notes: list[str] = []
    small = Small(3, error, dropout=0.5)
    result = run(small, on_note=notes.append)
    assert result.micro_batch == 2
    assert notes == [
        "out of memory on cpu: batches of 8 images are now taken in parts of 4",
        "out of memory on cpu: batches of 8 images are now taken in parts of 2",
    ]
    # nothing is left of what was tried: the same as asking for micro-batches of 2
    asked = Small(8, error, dropout=0.5)
    expected = run(asked, recipe=SHORT.model_copy(update={"micro_batch": 2}))
    assert result.history == expected.history
    assert same(weights(small), weights(asked))


def test_micro_batches_give_the_gradients_of_the_batch() -> None:
    whole, parts = (tiny_network(norm=False) for _ in range(2))
    one = Recipe(epochs=1, batch_size=40, crop_padding=0, mixup=0.4)
    run(whole, recipe=one)
    run(parts, recipe=one.model_copy(update={"micro_batch": 7}))
    for left, right in zip(whole.parameters(), parts.parameters(), strict=True):
        assert left.grad is not None
        assert left.grad.abs().max() > 1e-3
        torch.testing.assert_close(right.grad, left.grad, rtol=1e-4, atol=1e-6)


def test_a_halved_micro_batch_outlives_a_resume(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(Small(3, FULL[0]), checkpoint=tmp_path / "c.pt", on_epoch=killed_after(1))
    notes: list[str] = []
    result = run(Small(3, FULL[0]), checkpoint=tmp_path / "c.pt", on_note=notes.append)
    assert not notes
    assert result.micro_batch == 2


def test_not_even_one_image_fits() -> None:
    with pytest.raises(OutOfMemory) as caught:
        run(Small(0, FULL[0]), on_note=lambda _: None)
    assert str(caught.value) == (
        "out of memory on cpu: not even one image at a time can be trained on\n"
        "  a smaller network or resolution may fit"
    )
    assert isinstance(caught.value, TrainingFailed)


def test_other_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        run(Small(0, RuntimeError("a bug")))


def test_batch_norm_on_single_values() -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
    with pytest.raises(TrainingFailed) as caught:
        run(model, recipe=SHORT.model_copy(update={"micro_batch": 1}))
    assert str(caught.value) == (
        "batch norm cannot train on one value per channel, which a micro-batch of one image "
        "leaves it here\n  a larger micro_batch, or a larger resolution"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "a seed is 0 or more, found -1"),
        ({"model": tiny_network(classes=3)}, "the network gives 3 for an image, expected one logit "
         "for each of the 2 classes of the data"),
        ({"data": tiny_data(0)}, "tiny has no images to train on"),
        ({"data": tiny_data(8, 0)}, "tiny has no images to score on"),
        ({"device": "tpu"}, "there is no device 'tpu'\n"
         "  known: auto, cpu, cuda, cuda:0, cuda:1, …"),
        ({"device": "cuda:999"}, "there is no device 'cuda:999': PyTorch finds "
         f"{torch.cuda.device_count()} CUDA devices here\n  'auto' takes what there is"),
    ],
)  # fmt: skip
def test_messages(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "model": tiny_network(), "data": tiny_data(), "recipe": SHORT, "seed": 0, "device": "cpu",
    }  # fmt: skip
    with pytest.raises(ArchspecError) as caught:
        train(**(given | change))
    assert str(caught.value) == message


# -- the parts -----------------------------------------------------------------------------------


def test_the_learning_rate_rises_and_falls() -> None:
    recipe = Recipe(epochs=10, lr=1.0, min_lr=0.1, warmup_epochs=2)
    rates = [learning_rate(recipe, step, 5) for step in range(1, 51)]
    assert rates[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert rates[29] == pytest.approx(0.55)  # half-way down
    assert rates[-1] == pytest.approx(0.1)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    cold = Recipe(epochs=1, lr=1.0, warmup_epochs=0)
    assert learning_rate(cold, 1, 1) == pytest.approx(cold.min_lr)


def test_norms_and_biases_do_not_decay() -> None:
    decayed, kept = make_optimizer(tiny_network(), SHORT).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.05, 0.0)
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert [p.ndim for p in kept["params"]] == [1, 1, 1, 1]


def test_batches_of_an_epoch() -> None:
    batches = shuffled(10, 4, seed=1, epoch=2)
    assert [len(batch) for batch in batches] == [4, 4]  # two images wait for another epoch
    assert len(set(np.concatenate(batches))) == 8
    again, other = shuffled(10, 4, seed=1, epoch=2), shuffled(10, 4, seed=1, epoch=3)
    assert np.array_equal(batches, again)
    assert not np.array_equal(batches, other)
    assert sorted(shuffled(3, 4, seed=1, epoch=1)[0]) == [0, 1, 2]  # no whole batch: all there is


def test_augmentation() -> None:
    image_CHW = torch.arange(1, 109).float().view(3, 6, 6) / 108
    batch_BCHW = image_CHW.expand(64, 3, 6, 6)
    padded = nn.functional.pad(image_CHW, (2, 2, 2, 2))
    crops = [padded[:, y : y + 6, x : x + 6] for y in range(5) for x in range(5)]
    with seeded(0):
        cropped = Augment(SHORT.model_copy(update={"crop_padding": 2}), tiny_data(flip=False))(
            batch_BCHW
        )
    found = {next(i for i, c in enumerate(crops) if torch.equal(c, one)) for one in cropped}
    assert len(found) > 15
    with seeded(0):
        flipped = Augment(SHORT.model_copy(update={"crop_padding": 0}), tiny_data())(batch_BCHW)
    mirrored = [torch.equal(one, image_CHW.flip(2)) for one in flipped]
    assert all(m or torch.equal(one, image_CHW) for m, one in zip(mirrored, flipped, strict=True))
    assert 16 < sum(mirrored) < 48


@pytest.mark.parametrize(("side", "padding"), [(6, 0), (8, 1), (32, 4)])
def test_the_crop_moves_an_image_by_an_eighth_at_most(side: int, padding: int) -> None:
    ones_BCHW = torch.ones(200, 3, side, side)
    with seeded(0):
        cropped = Augment(Recipe(), tiny_data(flip=False, side=side))(ones_BCHW)
    rows_B = cropped[:, 0].amax(2).sum(1)
    assert rows_B.min() == side - padding


def test_mixup() -> None:
    images_BCHW, labels_B = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 2])
    with seeded(0):
        mixed_BCHW, weight = mix(images_BCHW, 0.8)
    assert 0 < weight < 1
    for one, other in ((0, 2), (1, 1), (2, 0)):
        expected = weight * images_BCHW[one] + (1 - weight) * images_BCHW[other]
        torch.testing.assert_close(mixed_BCHW[one], expected)
    assert mix(images_BCHW, 0)[1] == 1.0
    logits_BK = torch.rand(3, 4)
    targets_BK = weight * torch.eye(4)[labels_B] + (1 - weight) * torch.eye(4)[labels_B.flip(0)]
    targets_BK = 0.9 * targets_BK + 0.1 / 4
    expected = -(targets_BK * logits_BK.log_softmax(1)).sum(1).mean()
    found = mixed_loss(logits_BK, labels_B, labels_B.flip(0), weight, 0.1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs: input should be greater than or equal to 1, found 0"),
        ({"precision": "fp8"}, "precision: input should be 'fp32' or 'bf16', found 'fp8'"),
        ({"lr": float("nan")}, "lr: input should be a finite number, found nan"),
        ({"lr": 1e-6}, "min_lr (1e-05) is above lr (1e-06)"),
        ({"epochs": 2, "warmup_epochs": 2}, "warmup_epochs (2) leaves none of the 2 epochs"),
        ({"weight_decy": 1}, "a recipe has no 'weight_decy'\n  did you mean 'weight_decay'?"),
    ],
)
def test_recipes_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ArchspecError) as caught:
        make_recipe(values)
    assert str(caught.value) == message


def test_what_a_recipe_says_by_rule() -> None:
    assert make_recipe({"batch_size": 32, "lr": None}).peak_lr == pytest.approx(1e-3)
    assert Recipe(epochs=3).warmup == pytest.approx(0.3)
    assert Recipe(epochs=300).warmup == 5
    assert [suited_batch_size(n) for n in (100, 1437, 3000, 50_000)] == [32, 32, 64, 128]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    """bf16, the same bits twice, and no step that waits for the device."""

    def forbid_waiting(step: int, steps: int) -> None:
        torch.cuda.set_sync_debug_mode("error" if 1 < step < steps - 1 else "default")

    results = []
    for _ in range(2):
        model = tiny_network(dropout=0.5)
        try:
            results.append(
                train(model, tiny_data(), SHORT, seed=5, device="cuda", on_step=forbid_waiting)
            )
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert results[0].history == results[1].history
    assert results[0].accuracy == 1.0

"""Which images are held out, and what is known of those trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from archspec.search import data
from archspec.search.data import cache as caching
from archspec.search.data.source import split_of
from archspec.search.data.split import apportion, choose
from tests.search.images import NAMES, folder, load


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache."""
    place = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(caching, "default_folder", lambda: place)
    return place


def test_every_class_is_in_both_splits_by_its_share() -> None:
    labels = np.repeat([0, 1, 2], [100, 11, 2])
    train, held = choose(labels, NAMES, share=0.2, limit=None, seed=0)
    assert np.bincount(labels[held]).tolist() == [20, 2, 1]
    assert sorted([*train, *held]) == list(range(113))


def test_the_seed_chooses_the_held_out_images() -> None:
    labels = np.arange(60) % 3
    chosen = [choose(labels, NAMES, share=0.3, limit=None, seed=seed)[1] for seed in (0, 0, 1)]
    assert np.array_equal(chosen[0], chosen[1])
    assert not np.array_equal(chosen[0], chosen[2])


def test_the_limit_keeps_the_shares_and_the_held_out_images() -> None:
    labels = np.repeat([0, 1, 2], [80, 40, 3])
    _, held = choose(labels, NAMES, share=0.2, limit=None, seed=3)
    small, same_held = choose(labels, NAMES, share=0.2, limit=10, seed=3)
    larger, _ = choose(labels, NAMES, share=0.2, limit=30, seed=3)
    assert np.array_equal(held, same_held)
    assert np.bincount(labels[small]).tolist() == [6, 3, 1]
    assert set(small) < set(larger)
    assert not set(larger) & set(held)


def test_apportion_never_exceeds_what_there_is() -> None:
    counts = np.array([1000, 1, 1, 0])
    assert apportion(5, counts, counts).tolist() == [3, 1, 1, 0]
    assert apportion(2000, counts, counts).tolist() == [1000, 1, 1, 0]
    assert apportion(1, counts, counts).tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("name", "split"),
    [("train-00000-of-00002.parquet", "train"), ("Val", "validation"), ("test_1", "test"),
     ("trainval", None), ("tests", None), ("0.parquet", None)],
)  # fmt: skip
def test_split_of(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_mean_and_deviation_are_those_of_the_training_images(tmp_path: Path) -> None:
    loaded = load(folder(tmp_path / "set"))
    scaled = loaded.train.images_NCHW / 255
    assert loaded.mean == pytest.approx(scaled.mean((0, 2, 3)), rel=1e-12)
    assert loaded.std == pytest.approx(scaled.std((0, 2, 3)), rel=1e-12)


def test_a_channel_without_contrast_can_be_divided_by(tmp_path: Path) -> None:
    for name in "ab":
        for number in range(2):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / name / f"{number}.png")
    assert data.load(tmp_path, size=4).std == (1.0, 1.0, 1.0)

"""Every form of data set becomes the same kind of arrays, the same ones each time."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from archspec.search import data
from archspec.search.data import DataError
from archspec.search.data import cache as caching
from archspec.search.data.source import sources
from tests.search.images import (
    NAMES,
    encoded,
    folder,
    found,
    load,
    parquet,
    picture,
    pixels_of,
    same,
    table,
)

CIFAR10 = Path(__file__).parents[2].parent / "shared" / "data" / "cifar10"
HF_NAMES = json.dumps(
    {"info": {"features": {"image": {"_type": "Image"},
                           "label": {"_type": "ClassLabel", "names": list(NAMES)}}}}
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache."""
    place = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(caching, "default_folder", lambda: place)
    return place


# digits


def test_digits_are_the_default_and_need_no_file() -> None:
    digits = data.load()
    assert digits.describe() == "digits: 1,437 images to train, 360 held out, 10 classes"
    assert digits.train.images_NCHW.shape == (1437, 3, 32, 32)
    assert digits.train.images_NCHW.dtype == np.uint8
    assert digits.train.labels_N.dtype == np.int64
    assert (digits.flip, digits.test, digits.skipped) == (False, None, {})
    assert digits.classes == tuple("0123456789")


def test_digits_keep_their_sixteen_levels_of_grey() -> None:
    digits = data.load("digits", size=8, channels=1)
    grey_N64 = np.rint(load_digits().data * 255 / 16).astype(np.uint8)
    ours = [*digits.train.images_NCHW.reshape(-1, 64), *digits.held_out.images_NCHW.reshape(-1, 64)]
    assert sorted(image.tobytes() for image in ours) == sorted(
        image.tobytes() for image in grey_N64
    )


def test_grey_is_repeated_over_the_channels() -> None:
    images = data.load(size=(8, 16)).train.images_NCHW
    assert images.shape[1:] == (3, 8, 16)
    assert (images == images[:, :1]).all()


# image folders


def test_folder_of_classes(tmp_path: Path) -> None:
    loaded = load(folder(tmp_path / "set"))
    assert loaded.name == str(tmp_path / "set")
    assert loaded.classes == NAMES
    assert (len(loaded.train), len(loaded.held_out), loaded.test) == (12, 3, None)
    assert loaded.flip
    made = {pixels_of(100 * c + n).tobytes(): c for c in range(3) for n in range(5)}
    assert found(loaded) == made


def test_deeper_folders_and_links_count_and_hidden_ones_do_not(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", classes=("ant", "bee"))
    (root / "ant" / "more" / "still").mkdir(parents=True)
    (root / "ant" / "more" / "still" / "x.JPEG").write_bytes(encoded(picture(7), "JPEG"))
    (root / "ant" / "more" / "up").symlink_to(root / "ant")
    (root / "ant" / "notes.txt").write_text("no image")
    for hidden in (".git", "__MACOSX"):
        (root / hidden).mkdir()
        (root / hidden / "x.png").write_bytes(encoded(picture(8)))
    loaded = load(root)
    assert loaded.classes == ("ant", "bee")
    assert len(loaded.train) + len(loaded.held_out) == 11


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_splits_of_its_own_are_kept(tmp_path: Path, name: str) -> None:
    folder(tmp_path / "train", 4)
    folder(tmp_path / name, 2, first=1000)
    folder(tmp_path / "test", 3, first=2000)
    loaded = load(tmp_path)
    assert loaded.test is not None
    assert (len(loaded.train), len(loaded.held_out), len(loaded.test)) == (12, 6, 9)
    assert np.array_equal(loaded.held_out.images_NCHW[0], pixels_of(1000))
    assert np.array_equal(loaded.test.images_NCHW[-1], pixels_of(2202))
    assert loaded.describe().endswith("12 images to train, 6 held out, 9 to test, 3 classes")


def test_without_a_validation_split_images_are_held_out_and_test_is_not_touched(
    tmp_path: Path,
) -> None:
    folder(tmp_path / "train", 5)
    folder(tmp_path / "test", 2, first=2000)
    loaded = load(tmp_path)
    assert loaded.test is not None
    assert (len(loaded.train), len(loaded.held_out), len(loaded.test)) == (12, 3, 6)


def test_a_test_folder_without_classes_is_no_test_split(tmp_path: Path) -> None:
    folder(tmp_path / "train", 5)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "1.png").write_bytes(encoded(picture(1)))
    assert load(tmp_path).test is None


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert load(folder(tmp_path / "set", classes=("bus", "car", "train"))).classes == (
        "bus", "car", "train",
    )  # fmt: skip


# Parquet


@pytest.mark.parametrize(
    "options",
    [{}, {"image": "img", "label": "labels"}, {"raw": True}, {"label": "fine_label"}],
    ids=["struct", "img", "binary", "fine_label"],
)
def test_parquet_file(tmp_path: Path, options: dict[str, Any]) -> None:
    loaded = load(parquet(tmp_path / "x.parquet", [0, 1, 2] * 5, **options))
    assert loaded.classes == ("0", "1", "2")
    assert found(loaded) == {pixels_of(n).tobytes(): n % 3 for n in range(15)}


def test_class_names_come_from_the_metadata(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", [2, 0] * 5, metadata=HF_NAMES)
    loaded = load(path)
    assert loaded.classes == NAMES  # also that which no image has
    assert set(loaded.train.labels_N.tolist()) == {0, 2}


def test_columns_are_found_by_their_kind_where_the_names_are_unusual(tmp_path: Path) -> None:
    told = HF_NAMES.replace('"image"', '"scan"').replace('"label"', '"species"')
    path = parquet(tmp_path / "x.parquet", [0, 1] * 5, image="scan", label="species", metadata=told)
    assert load(path).classes == NAMES


@pytest.mark.parametrize("categories", [False, True])
def test_labels_may_be_words(tmp_path: Path, categories: bool) -> None:
    made = table(["cow", "ant"] * 5)
    if categories:
        made = made.set_column(1, "label", made["label"].dictionary_encode())
    pq.write_table(made, tmp_path / "x.parquet")
    assert load(tmp_path / "x.parquet").classes == ("ant", "cow")


@pytest.mark.parametrize(
    "names",
    [
        ("train.parquet", "test.parquet", "validation.parquet"),
        ("train-00000-of-00001.parquet", "test-0.parquet", "val-00000-of-00001.parquet"),
        ("data/train-0.parquet", "data/test-0.parquet", "data/valid-0.parquet"),
        ("train/0000.parquet", "test/0000.parquet", "validation/0000.parquet"),
    ],
)
def test_folder_of_parquet_files(tmp_path: Path, names: tuple[str, str, str]) -> None:
    for name, count in zip(names, (12, 6, 9), strict=True):
        parquet(tmp_path / name, [0, 1, 2] * (count // 3))
    loaded = load(tmp_path)
    assert loaded.test is not None
    assert (len(loaded.train), len(loaded.held_out), len(loaded.test)) == (12, 9, 6)


def test_the_files_of_a_split_follow_each_other(tmp_path: Path) -> None:
    whole = parquet(tmp_path / "whole.parquet", [0, 1, 2] * 5)
    images = [encoded(picture(number)) for number in range(15)]
    for start, end in ((0, 7), (7, 8), (8, 15)):
        labels = [number % 3 for number in range(start, end)]
        parquet(tmp_path / "parts" / f"train-{start}.parquet", labels, images[start:end])
    (tmp_path / "parts" / "train-8.parquet").rename(tmp_path / "parts" / "train-9.parquet")
    assert same(load(whole), load(tmp_path / "parts"))


@pytest.mark.parametrize("labels", [[-1, -1, -1], [None, None, None]])
def test_a_test_split_with_secret_labels_is_none(tmp_path: Path, labels: list[Any]) -> None:
    parquet(tmp_path / "train.parquet", [0, 1] * 5)
    parquet(tmp_path / "test.parquet", labels)
    assert load(tmp_path).test is None


@pytest.mark.skipif(not CIFAR10.is_dir(), reason=f"{CIFAR10} is not there")
def test_cifar10(own_cache: Path) -> None:
    options: dict[str, Any] = {"limit": 200, "held_out": 0.002}
    loaded = data.load(CIFAR10, **options)
    assert loaded.classes == tuple(
        "airplane automobile bird cat deer dog frog horse ship truck".split()
    )
    assert (len(loaded.train), len(loaded.held_out)) == (200, 100)
    assert loaded.test is not None
    assert len(loaded.test) == 10_000
    assert np.bincount(loaded.train.labels_N).tolist() == [20] * 10
    assert np.bincount(loaded.test.labels_N).tolist() == [1000] * 10
    assert loaded.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=0.03)  # as everyone knows it
    assert loaded.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=0.03)
    assert same(loaded, data.load(CIFAR10, **options))


# Hugging Face


class FakeSet:
    """As much of `datasets.Dataset` as is used."""

    def __init__(self, made: Any) -> None:
        self.made = made
        self.features = types.SimpleNamespace(arrow_schema=made.schema)
        self._fingerprint = "f"

    def with_format(self, kind: str) -> FakeSet:
        assert kind == "arrow"
        return self

    def select_columns(self, names: list[str]) -> FakeSet:
        return FakeSet(self.made.select(names))

    def select(self, rows: Any) -> FakeSet:
        return FakeSet(self.made.take(rows))

    def __getitem__(self, which: slice) -> Any:
        return self.made

    def iter(self, count: int) -> Iterator[Any]:
        for start in range(0, len(self.made), 4):
            yield self.made.slice(start, 4)


def test_hugging_face_data_set_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def load_dataset(*names: str) -> dict[str, FakeSet]:
        asked.append(names)
        return {
            "train": FakeSet(table([0, 1, 2] * 5, metadata=HF_NAMES)),
            "test": FakeSet(table([0, 1, 2])),
            "extra": FakeSet(table([0])),
        }

    module = types.SimpleNamespace(load_dataset=load_dataset)
    monkeypatch.setitem(sys.modules, "datasets", module)
    loaded = load("hf:user/insects:small")
    assert loaded.describe() == (
        "hf:user/insects:small: 12 images to train, 3 held out, 3 to test, 3 classes"
    )
    assert loaded.classes == NAMES
    assert same(loaded, load(parquet(tmp_path / "x.parquet", [0, 1, 2] * 5)))
    load("user/insects")
    assert asked == [("user/insects", "small"), ("user/insects",)]


@pytest.mark.parametrize("one", [True, False])
def test_the_real_package(tmp_path: Path, one: bool) -> None:
    datasets = pytest.importorskip("datasets", reason="the package 'datasets' is not installed")
    columns = {"image": [picture(n) for n in range(15)], "label": [n % 3 for n in range(15)]}
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))}
    made = datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))
    (made if one else datasets.DatasetDict({"train": made})).save_to_disk(tmp_path / "saved")
    loaded = load(tmp_path / "saved")
    assert loaded.classes == NAMES
    assert same(loaded, load(parquet(tmp_path / "x.parquet", [0, 1, 2] * 5)))


# unreadable images


def test_unreadable_images_are_skipped_and_counted(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    (root / "ant" / "1.png").write_bytes((root / "ant" / "1.png").read_bytes()[:200])
    (root / "bee" / "2.png").unlink()
    (root / "bee" / "2.png").symlink_to("nowhere")
    loaded = load(root)
    assert dict(loaded.skipped) == {
        "ant/1.png": "image file is truncated",
        "bee/2.png": "No such file or directory",
    }
    assert loaded.describe().endswith("3 classes, 2 unreadable, skipped")
    assert len(loaded.train) + len(loaded.held_out) == 13


def test_rows_of_a_table_without_an_image_are_skipped(tmp_path: Path) -> None:
    images: list[bytes | None] = [encoded(picture(number)) for number in range(10)]
    images[6] = None
    loaded = load(parquet(tmp_path / "x.parquet", [0, 1] * 5, images))
    assert loaded.skipped == {"x.parquet, row 6": "no image there"}


def test_others_are_held_out_where_all_of_a_class_are_unreadable(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    before = load(root, cache=tmp_path / "a")
    held = before.held_out.images_NCHW[before.held_out.labels_N.tolist().index(1)]
    number = next(n for n in range(5) if np.array_equal(pixels_of(100 + n), held))
    (root / "bee" / f"{number}.png").write_bytes(b"broken")
    loaded = load(root, cache=tmp_path / "b")
    assert np.bincount(loaded.held_out.labels_N).tolist() == [1, 1, 1]
    assert np.bincount(loaded.train.labels_N).tolist() == [4, 3, 4]
    assert list(loaded.skipped) == [f"bee/{number}.png"]


# what the package loads


def test_sources_are_found_and_the_special_ones_are_asked_first() -> None:
    names = [source.__name__ for source in sources()]
    assert names == ["Digits", "HuggingFace", "Parquet", "ImageFolder"]
    assert len({source.rank for source in sources()}) == len(names)


def test_importing_loads_nothing_heavy() -> None:
    heavy = ("torch", "sklearn", "pyarrow", "PIL", "datasets")
    code = f"import sys, archspec.search.data; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_refusals_are_those_of_archspec() -> None:
    from archspec.errors import ArchspecError

    assert issubclass(DataError, ArchspecError)

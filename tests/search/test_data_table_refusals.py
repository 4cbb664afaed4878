"""Parquet files and Hugging Face data sets are refused with one message, word for word."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archspec.search import data
from archspec.search.data import DataError
from archspec.search.data import cache as caching
from tests.search.images import parquet, table

RECOGNISED = """
  recognised:
    digits (comes with scikit-learn)
    the name of a Hugging Face data set (hf:NAME), or a folder made by its save_to_disk
    a Parquet file, or a folder of them (train*.parquet, validation*, test*)
    a folder with one sub-folder of images per class (or train/, val/ and test/ with these)"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in messages are short, and the user's cache is left alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(caching, "default_folder", lambda: tmp_path / "cache")


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        data.load(*arguments, **options)
    return str(caught.value)


def save(name: str, made: pa.Table) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    pq.write_table(made, name)


# Parquet


def test_no_image_column() -> None:
    save("x.parquet", table([0, 1] * 3, image="scan"))
    assert refusal("x.parquet") == (
        "'x.parquet' has no image column, which would be called image or img\n"
        "  its columns are scan (struct<bytes: binary, path: string>), label (int64)"
    )


def test_no_label_column() -> None:
    save("x.parquet", table([0, 1] * 3, label="species"))
    assert refusal("x.parquet") == (
        "'x.parquet' has no label column, which would be called label, labels, fine_label, "
        "class or target\n"
        "  its columns are image (struct<bytes: binary, path: string>), species (int64)"
    )


def test_images_that_are_no_files() -> None:
    save("x.parquet", pa.table({"image": [[1, 2], [3]], "label": [0, 1]}))
    assert refusal("x.parquet") == (
        "'x.parquet': the image column 'image' is of type 'list<element: int64>'\n"
        "  images are encoded files: binary, or a struct with a field 'bytes' of that type"
    )


@pytest.mark.parametrize(
    ("labels", "kind"), [([0.5, 1.0], "double"), ([[0], [1, 2]], "list<element: int64>")]
)
def test_labels_that_are_none(labels: list[Any], kind: str) -> None:
    save("x.parquet", table(labels))
    assert refusal("x.parquet") == (
        f"'x.parquet': the label column 'label' is of type '{kind}'\n"
        "  an image has one label, a whole number or a string"
    )


NAMED = '{"info": {"features": {"label": {"_type": "ClassLabel", "names": ["ant", "bee"]}}}}'


@pytest.mark.parametrize(
    ("labels", "metadata", "message"),
    [
        ([0, 1, None], None,
         "x.parquet, row 2: the label is null\n  every image needs a label"),
        ([0, 1, -1], None,
         "x.parquet, row 2: the label is -1, and labels count from 0\n"
         "  a negative one marks images without a label: leave them out"),
        ([0, 2, 1], NAMED, "x.parquet, row 1: the label is 2, and the labels are 0 to 1"),
        ([0, 1, -1], NAMED, "x.parquet, row 2: the label is -1, and the labels are 0 to 1"),
        (["ant", "bee", "cow"], NAMED,
         "x.parquet, row 2: the label is 'cow', "
         "which is none of the classes that the metadata names"),
    ],
)  # fmt: skip
def test_wrong_labels(labels: list[Any], metadata: str | None, message: str) -> None:
    save("x.parquet", table(labels, metadata=metadata))
    assert refusal("x.parquet") == message


@pytest.mark.parametrize(
    ("train", "validation", "found"), [([0, 1], [0, 7], "7"), (["a", "b"], ["a", "z"], "'z'")]
)
def test_a_label_that_no_training_image_has(
    train: list[Any], validation: list[Any], found: str
) -> None:
    parquet(Path("set/train.parquet"), train * 3)
    parquet(Path("set/validation.parquet"), validation)
    assert refusal("set") == (
        f"validation.parquet, row 1: the label is {found}, and no training image has that label"
    )


def test_words_and_numbers_for_labels() -> None:
    parquet(Path("set/train.parquet"), [0, 1] * 3)
    parquet(Path("set/validation.parquet"), ["0", "1"])
    assert refusal("set") == (
        "validation.parquet, row 0: the label is '0', and no training image has that label"
    )


def test_no_rows() -> None:
    save("x.parquet", table([], label_type=pa.int64()))
    assert refusal("x.parquet") == "'x.parquet' has no training images: the table has no rows"


def test_no_training_file() -> None:
    parquet(Path("set/test-0.parquet"), [0, 1])
    assert refusal("set") == (
        "'set' has no train*.parquet; it has test-0.parquet\n"
        "  give the path of one file to train on that"
    )


def test_files_of_one_split_that_differ() -> None:
    parquet(Path("set/train-0.parquet"), [0, 1])
    parquet(Path("set/train-1.parquet"), ["ant", "bee"])
    assert refusal("set") == (
        "train-1.parquet and train-0.parquet have different columns\n"
        "  the files of one split need the same ones"
    )


def _cut(content: bytes) -> bytes:
    return content[:-20]


def _garbled(content: bytes) -> bytes:
    return content[:4] + bytes(300) + content[304:]


@pytest.mark.parametrize("harm", [lambda _: b"", lambda _: b"no table", _cut, _garbled])
def test_corrupt_parquet(harm: Callable[[bytes], bytes]) -> None:
    path = parquet(Path("x.parquet"), [0, 1] * 10)
    path.write_bytes(harm(path.read_bytes()))
    start, hint = refusal("x.parquet").split("\n")
    assert start.startswith("'x.parquet' cannot be read as Parquet: ")
    assert hint == "  was it copied or downloaded whole?"


def test_a_folder_called_parquet() -> None:
    Path("x.parquet").mkdir()
    assert refusal("x.parquet") == f"'x.parquet' holds no images{RECOGNISED}"


# Hugging Face


@pytest.fixture
def no_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)


@pytest.mark.usefixtures("no_datasets")
@pytest.mark.parametrize("name", ["cifra10", "user/cifar10"])
def test_a_name_that_may_be_a_slip_or_a_data_set(name: str) -> None:
    assert refusal(name) == (
        f"there is no file or folder '{name}'\n"
        "  if a Hugging Face data set is called so: pip install 'archspec-vision[datasets]'"
    )


@pytest.mark.usefixtures("no_datasets")
@pytest.mark.parametrize("name", ["hf:cifar10", "saved"])
def test_the_package_is_missing(name: str) -> None:
    Path("saved").mkdir()
    Path("saved/state.json").write_text("{}")
    assert refusal(name) == (
        f"'{name}' is a Hugging Face data set, and the package 'datasets' is missing\n"
        "  pip install 'archspec-vision[datasets]'"
    )


class Offline:
    """The package where there is no network."""

    @staticmethod
    def load_dataset(name: str) -> None:
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub\nmore lines")

    @staticmethod
    def load_from_disk(path: str) -> None:
        raise FileNotFoundError(2, "No such file", "dataset_info.json")


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", Offline)
    why = (
        "cannot load the Hugging Face data set 'mnist': Couldn't reach 'mnist' on the Hub\n"
        "  is the name right, and is there a network?"
    )
    assert refusal("hf:mnist") == why
    assert refusal("mnist") == f"there is no file or folder 'mnist'; {why}"


def test_a_broken_folder_of_save_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", Offline)
    Path("saved").mkdir()
    Path("saved/state.json").write_text("{}")
    assert refusal("saved") == (
        "cannot load the Hugging Face data set 'saved': [Errno 2] No such file: 'dataset_info.json'"
    )


def test_no_training_split(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        @staticmethod
        def load_dataset(name: str) -> dict[str, None]:
            return {"left": None, "right": None}

    monkeypatch.setitem(sys.modules, "datasets", Module)
    assert refusal("hf:sides") == "'hf:sides' has no split 'train'; it has 'left', 'right'"

"""What cannot be trained on is refused with one message, word for word."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from archspec.search import data
from archspec.search.data import DataError, loading
from archspec.search.data import cache as caching
from tests.search.images import encoded, folder, picture

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


def png(path: str, number: int = 0) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(encoded(picture(number)))


# paths


def test_no_such_path() -> None:
    assert refusal("./nowhere") == f"there is no file or folder './nowhere'{RECOGNISED}"


def test_a_file_that_is_no_data_set() -> None:
    Path("notes.txt").write_text("no data")
    assert refusal("notes.txt") == f"'notes.txt' is no data set{RECOGNISED}"


@pytest.mark.parametrize("inside", [None, "notes.txt", "more/notes.txt"])
def test_a_folder_without_images(inside: str | None) -> None:
    Path("set/more").mkdir(parents=True)
    if inside is not None:
        (Path("set") / inside).write_text("no image")
    assert refusal("set") == f"'set' holds no images{RECOGNISED}"


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_names_that_no_file_can_have(name: str) -> None:
    assert refusal(f"./{name}").startswith("there is no file or folder './")


def test_a_folder_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    folder(Path("set"))
    plain = os.scandir

    def refuse(path: Any) -> Any:
        if str(path) == "set/bee":
            raise PermissionError(13, "Permission denied")
        return plain(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert refusal("set") == "cannot read 'set/bee': Permission denied"


# image folders


def test_images_without_class_folders() -> None:
    png("set/1.png")
    assert refusal("set") == (
        "'set' has images, but no class folders\n"
        "  put the images of each class into a folder of its own, named after the class"
    )


def test_an_empty_class_folder() -> None:
    (folder(Path("set")) / "dog").mkdir()
    assert refusal("set") == (
        "the class folder 'set/dog' holds no images\n  remove it, or put images into it"
    )


def test_a_class_that_is_in_one_split_only() -> None:
    folder(Path("set/train"))
    folder(Path("set/val"), classes=("ant", "zebra"))
    assert refusal("set") == (
        "'set/val' has a class 'zebra' that 'set/train' does not have\n"
        "  each split needs the class folders of the training images"
    )


def test_a_validation_folder_without_classes() -> None:
    folder(Path("set/train"))
    png("set/val/1.png")
    assert refusal("set") == (
        "'set/val' has images, but no class folders\n"
        "  put the images of each class into a folder of its own, named after the class"
    )


def test_two_folders_for_one_split() -> None:
    for name in ("train", "val", "valid"):
        folder(Path("set") / name)
    assert refusal("set") == "'set' has both val/ and valid/\n  one split needs one folder"


# classes


def test_a_single_class() -> None:
    folder(Path("set"), classes=("ant",))
    assert refusal("set") == (
        "all 5 images are of one class, 'ant'\n  training needs at least two classes"
    )


@pytest.mark.parametrize("more", [False, True])
def test_a_class_with_one_image(more: bool) -> None:
    folder(Path("set"))
    png("set/dog/1.png")
    if more:
        png("set/eel/1.png")
    others = " (and 1 more)" if more else ""
    assert refusal("set") == (
        f"the class 'dog' has one image only{others}: it cannot be both trained on and held out\n"
        "  add images, remove the class, or give the data set a validation split"
    )


def test_a_class_with_one_readable_image() -> None:
    for path in folder(Path("set")).glob("bee/[123].png"):
        path.write_bytes(b"broken")
    for seed in range(8):  # whichever is held out: the other is trained on
        assert len(data.load("set", seed=seed).skipped) == 3
    Path("set/bee/4.png").write_bytes(b"broken")
    assert refusal("set") == (
        "the class 'bee' has one readable image only: it cannot be both trained on and held out\n"
        "  add images, remove the class, or give the data set a validation split"
    )


def test_one_class_is_left_of_two() -> None:
    for path in folder(Path("set"), classes=("ant", "bee")).glob("bee/*"):
        path.write_bytes(b"broken")
    assert refusal("set") == (
        "all 5 readable images are of one class, 'ant'\n  training needs at least two classes"
    )


def test_no_readable_image() -> None:
    for path in folder(Path("set")).rglob("*.png"):
        path.write_bytes(b"broken")
    assert refusal("set") == (
        "none of the 12 training images of 'set' can be read; "
        "ant/0.png: no image that Pillow can read"
    )


@pytest.mark.parametrize(("name", "called"), [("val", "held-out"), ("test", "test")])
def test_no_readable_image_in_a_split(name: str, called: str) -> None:
    folder(Path("set/train"))
    for path in folder(Path("set") / name).rglob("*.png"):
        path.write_bytes(b"")
    assert refusal("set") == (
        f"none of the 15 {called} images of 'set' can be read; {name}/ant/0.png: empty"
    )


# options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"held_out": 0},
            "the held-out share must be above 0 and below 1, found 0\n"
            "  0.2 holds out a fifth of the images",
        ),
        (
            {"held_out": float("nan")},
            "the held-out share must be above 0 and below 1, found nan\n"
            "  0.2 holds out a fifth of the images",
        ),
        (
            {"held_out": 1.0},
            "the held-out share must be above 0 and below 1, found 1.0\n"
            "  0.2 holds out a fifth of the images",
        ),
        ({"limit": 0}, "the limit on training images must be 1 or more, found 0"),
        (
            {"limit": 9},
            "the limit on training images is 9, below the 10 classes\n"
            "  every class needs at least one image to train on",
        ),
        ({"seed": -1}, "the seed must be 0 or more, found -1"),
        ({"channels": 4}, "images have 3 channels (RGB) or 1 (grey), found 4"),
        *(
            (
                {"size": size},
                "the image size is one positive whole number, or a height and a width, "
                f"found {size!r}",
            )
            for size in (0, (32, -1), (3, 32, 32), (32.0, 32))
        ),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    assert refusal("digits", **options) == message


# memory


def test_too_large_for_the_memory_and_no_place_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    folder(Path("set"))
    Path("file").write_text("not a folder")
    monkeypatch.setattr(loading, "_memory", lambda: 0)
    assert refusal("set", cache=Path("file")) == (
        "12 images take 0.0 GB, too much for this machine's memory, and cannot be kept on disk: "
        "[Errno 17] File exists: 'file'\n"
        "  train on fewer or smaller images, or name another cache folder"
    )

"""The same data set gives the same arrays, decoded or remembered."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archspec.search.data import cache as caching
from archspec.search.data import decode, loading
from tests.search.images import encoded, folder, load, picture, same


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache."""
    place = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(caching, "default_folder", lambda: place)
    return place


def test_the_order_of_the_file_system_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path / "set")
    before = load(root, cache=tmp_path / "a")
    plain = os.scandir

    class Backwards:
        def __init__(self, path: Any) -> None:
            self.entries = list(plain(path))[::-1]

        def __enter__(self) -> list[Any]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Backwards)
    after = load(root, cache=tmp_path / "b")
    assert same(before, after)
    assert before.digest == after.digest


def test_threads_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "set", 40)
    (root / "bee" / "17.png").write_bytes(b"broken")
    alone = load(root, cache=tmp_path / "a")
    used = set()
    plain = decode.decode

    def watched(*arguments: Any) -> Any:
        used.add(threading.get_ident())
        return plain(*arguments)

    monkeypatch.setattr(decode, "SLOW", 0.0)
    monkeypatch.setattr(decode, "decode", watched)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(3))
    together = load(root, cache=tmp_path / "b")
    assert len(used) > 1
    assert same(alone, together)
    assert (alone.digest, alone.skipped) == (together.digest, together.skipped)


def test_the_digest_tells_pixels_and_labels_apart(tmp_path: Path) -> None:
    one = load(folder(tmp_path / "one"))
    copy = load(folder(tmp_path / "copy"))
    pixel = load(folder(tmp_path / "pixel", first=1))
    (tmp_path / "copy" / "ant").rename(tmp_path / "copy" / "dog")
    label = load(tmp_path / "copy")
    assert one.digest == copy.digest
    assert len({one.digest, pixel.digest, label.digest}) == 3


def decoded_images(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that are decoded from here on."""
    names: list[str] = []
    plain = decode.decode

    def watched(image: Any, *arguments: Any) -> Any:
        names.append(image.name)
        return plain(image, *arguments)

    monkeypatch.setattr(decode, "decode", watched)
    return names


def test_the_second_time_nothing_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path / "set")
    (root / "ant" / "0.png").write_bytes(b"")
    first = load(root)
    names = decoded_images(monkeypatch)
    second = load(root)
    assert names == []
    assert same(first, second)
    assert first.skipped == second.skipped == {"ant/0.png": "empty"}
    assert (first.mean, first.std, first.digest) == (second.mean, second.std, second.digest)


def test_a_changed_image_or_option_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path / "set")
    load(root)
    names = decoded_images(monkeypatch)
    load(root, channels=1)
    assert len(names) == 15
    (root / "ant" / "0.png").write_bytes(encoded(picture(99), "BMP"))
    load(root)
    assert len(names) == 30


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("harm", ["missing", "short", "changed", "no facts", "wrong facts", "list"])
def test_a_broken_cache_only_means_decoding_again(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, harm: str, mapped: bool
) -> None:
    root = folder(tmp_path / "set")
    first = load(root, cache=tmp_path / "other")
    if mapped:
        monkeypatch.setattr(loading, "_memory", lambda: 0)
    load(root)
    names = decoded_images(monkeypatch)
    for file in own_cache.iterdir():
        content = bytearray(file.read_bytes())
        if file.suffix == ".pixels":
            if harm == "missing":
                file.unlink()
            elif harm == "short":
                file.write_bytes(content[:-1])
            elif harm == "changed":
                content[5] ^= 1
                file.write_bytes(content)
        elif harm == "no facts":
            file.write_text("{")
        elif harm == "wrong facts":
            file.write_text('{"mtime_ns": 1, "kept": "many"}')
        elif harm == "list":
            file.write_text('["mtime_ns"]')
    assert same(first, load(root))
    assert len(names) == 15
    load(root)
    assert len(names) == 15  # and it is whole again


def test_a_cache_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert len(load(folder(tmp_path / "set"), cache=tmp_path / "file").train) == 12


def test_what_would_fill_the_memory_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path / "set")
    (root / "bee" / "3.png").write_bytes(b"broken")
    inside = load(root)
    monkeypatch.setattr(loading, "_memory", lambda: 4 * 15 * 3 * 10 * 12 - 1)
    for cache in (tmp_path / "new", tmp_path / "new"):  # written, then found
        mapped = load(root, cache=cache)
        assert isinstance(mapped.train.images_NCHW, np.memmap)
        assert same(inside, mapped)
        assert mapped.digest == inside.digest
        mapped.train.images_NCHW[0, 0, 0, 0] ^= 1  # writable, and only for whoever wrote
    monkeypatch.setattr(loading, "_memory", lambda: 4 * 15 * 3 * 10 * 12)
    assert not isinstance(load(root).train.images_NCHW, np.memmap)


def test_progress_counts_all_images(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    root = folder(tmp_path / "set")
    load(root, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (15, 15)
    assert calls == sorted(calls)
    calls.clear()
    load(root, progress=lambda done, total: calls.append((done, total)))
    assert calls == []

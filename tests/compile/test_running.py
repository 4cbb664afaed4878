"""`archspec run`: pictures in, classes out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from archspec.cli import run as _  # noqa: F401 - registers the command
from archspec.cli.app import app
from archspec.compile import running
from archspec.compile.artefact import load
from archspec.compile.backends.onnx import Onnx
from archspec.compile.errors import CompileError
from archspec.compile.manifest import Preprocessing
from archspec.compile.running import Classified, classify, read_images
from archspec.compile.settings import Batch
from archspec.errors import ArchspecError
from tests.compile.artefacts import COLOURS, make

# Logits are (value / 255 − 0.5) / 0.25: the best class has 1 / (1 + e^−2.980 + e^−3.137) = 91.39 %.
RGB = {"red": (220, 30, 20), "green": (30, 220, 20), "blue": (20, 30, 220)}


def picture(colour: str, size: tuple[int, int] = (9, 7)) -> Image.Image:
    return Image.new("RGB", size, RGB[colour])


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def best(results: Sequence[Classified]) -> list[str]:
    return [str(result.best[0]) for result in results]


def archspec_run(*args: object) -> Result:
    return CliRunner().invoke(app, ["run", *map(str, args)])


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("colours") / "a")


def test_probabilities_are_the_softmax_of_the_logits(colours: Path, tmp_path: Path) -> None:
    file = saved(tmp_path / "p.png", picture("green"))
    (result,) = classify(load(colours), [file])
    logits_K = (torch.tensor(RGB["green"]).double() / 255 - 0.5) / 0.25
    wanted = logits_K.softmax(0)
    assert [str(guess) for guess in result.best] == ["green", "red", "blue"]
    assert [guess.index for guess in result.best] == [1, 0, 2]
    for guess in result.best:
        assert guess.probability == pytest.approx(float(wanted[guess.index]), rel=1e-5)


def test_pixels_are_normalised_as_the_manifest_says(tmp_path: Path) -> None:
    how = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    artefact = load(make(tmp_path / "a", preprocessing=how))
    file = saved(tmp_path / "p.png", picture("red"))
    (read,) = read_images(artefact, [file])
    assert read.files == (file,)
    assert read.images_NCHW.shape == (1, 3, 8, 6)
    wanted = [(v / 255 - m) / s for v, m, s in zip(RGB["red"], how.mean, how.std, strict=True)]
    torch.testing.assert_close(read.images_NCHW[0, :, 3, 2], torch.tensor(wanted))


def test_the_centre_is_cut_out_and_not_squeezed(colours: Path, tmp_path: Path) -> None:
    wide = Image.new("RGB", (60, 8), RGB["red"])
    wide.paste(picture("blue", (6, 8)), (27, 0))
    assert best(classify(load(colours), [saved(tmp_path / "wide.png", wide)])) == ["blue"]


def test_pictures_of_all_kinds_are_seen_as_a_viewer_shows_them(
    colours: Path, tmp_path: Path
) -> None:
    red = picture("red")
    turned = Image.new("RGB", (60, 8), RGB["green"])  # stands upright: blue in the middle
    turned.paste(picture("blue", (20, 8)), (20, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    see_through = Image.new("RGBA", (9, 7), (0, 0, 255, 0))  # blue that nobody sees, over white
    see_through.paste((220, 30, 20, 255), (0, 0, 9, 5))
    files = {
        "red": saved(tmp_path / "a.jpg", red),
        "red ": saved(tmp_path / "b.gif", red.convert("P")),
        "red  ": saved(tmp_path / "c.tif", red.convert("CMYK")),
        "blue": saved(tmp_path / "d.jpg", turned, exif=exif),
        "red   ": saved(tmp_path / "e.png", see_through),
    }
    assert best(classify(load(colours), files.values())) == [name.strip() for name in files]


def test_grey_and_sixteen_bit_pictures_are_equal_in_all_channels(
    colours: Path, tmp_path: Path
) -> None:
    deep = Image.fromarray(np.full((8, 6), 51 * 257, np.uint16))
    files = [
        saved(tmp_path / "grey.png", Image.new("L", (6, 8), 51)),
        saved(tmp_path / "deep.png", deep),
    ]
    for result in classify(load(colours), files):
        assert [guess.probability for guess in result.best] == pytest.approx([1 / 3] * 3)
    (read,) = read_images(load(colours), files)
    torch.testing.assert_close(read.images_NCHW, torch.full((2, 3, 8, 6), (51 / 255 - 0.5) / 0.25))


def test_a_grey_network_takes_coloured_pictures(tmp_path: Path) -> None:
    artefact = load(make(tmp_path / "a", channels=1))
    file = saved(tmp_path / "p.png", Image.new("RGB", (6, 8), (51, 51, 51)))
    (read,) = read_images(artefact, [file])
    torch.testing.assert_close(read.images_NCHW, torch.full((1, 1, 8, 6), (51 / 255 - 0.5) / 0.25))


def test_huge_pictures_are_classified_in_silence_and_bombs_refused(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: Any
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    large = saved(tmp_path / "large.png", picture("red", (15, 10)))
    bomb = saved(tmp_path / "bomb.png", picture("red", (25, 10)))
    one, two = classify(load(colours), [large, bomb])
    assert best([one]) == ["red"]
    assert two.fault == "so many pixels that Pillow takes it for a decompression bomb"
    assert [str(warning.message) for warning in recwarn] == []


def test_folders_are_read_without_what_is_hidden_or_no_image(colours: Path, tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    (root / "deep" / ".git").mkdir(parents=True)
    for name in ("b.png", "A.JPG", "deep/c.png", ".d.png", "deep/.git/e.png"):
        file = saved(root / name.lower(), picture("red"))
        file.rename(root / name)
    (root / "notes.txt").write_text("")
    (root / "deep" / "list.csv").write_text("")
    found = running.find_images([root, root / "b.png"])
    names = [file.relative_to(root).as_posix() for file in found.files]
    assert names == ["A.JPG", "b.png", "deep/c.png"]
    assert found.skipped == 2


def test_a_named_file_needs_no_suffix(colours: Path, tmp_path: Path) -> None:
    file = saved(tmp_path / "p.png", picture("blue")).rename(tmp_path / "picture")
    assert best(classify(load(colours), [file])) == ["blue"]


# -- batches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [Batch(1, 1, 1), Batch(3, 3, 3), Batch(1, 2, 4), Batch(3, 4, 5)])
def test_any_number_of_pictures_fits_any_batch(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artefact = load(make(tmp_path / "a", batch=batch))
    seen: list[int] = []
    plain = artefact._run
    monkeypatch.setattr(
        artefact, "_run", lambda images: (seen.append(len(images)), plain(images))[1]
    )
    names = [COLOURS[number % 3] for number in range(7)]
    files = [saved(tmp_path / f"{n}.png", picture(name)) for n, name in enumerate(names)]
    for count in (1, 2, 5, 7):
        seen.clear()
        assert best(classify(artefact, files[:count])) == names[:count]
        whole, rest = divmod(count, batch.max)
        assert seen == [batch.max] * whole + [max(rest, batch.min)] * bool(rest)


def test_memory_limits_what_a_wide_range_takes_at_once() -> None:
    assert running.most_at_once(Batch(1, 8, 65_536)) == 256
    assert running.most_at_once(Batch(1, 1024, 4096)) == 1024
    assert running.most_at_once(Batch(512, 512, 512)) == 512


def test_broken_pictures_between_blocks_keep_their_names(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archspec.search.data.decode.BLOCK", 2 * 3 * 8 * 6)  # two at a time
    broken = {0, 3, 4, 5, 8}
    files = []
    for number in range(9):
        file = saved(tmp_path / f"{number}.png", picture(COLOURS[number % 3]))
        if number in broken:
            file.write_bytes(b"")
        files.append(file)
    results = classify(load(colours), files)
    assert [result.file for result in results] == files
    for number, result in enumerate(results):
        if number in broken:
            assert (result.fault, result.best) == ("empty", ())
        else:
            assert best([result]) == [COLOURS[number % 3]]


# -- the command -----------------------------------------------------------------------------------


def test_the_command_prints_names_and_probabilities(colours: Path, tmp_path: Path) -> None:
    file = saved(tmp_path / "p.png", picture("green"))
    done = archspec_run(colours, "--image", file, "--top", 2)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"{file}\n   91.39%  green\n    4.64%  red\n"


def test_without_names_classes_have_numbers(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", classes=None, has_trained_weights=False)
    file = saved(tmp_path / "p.png", picture("blue"))
    done = archspec_run(folder, "--image", file, "--top", 1)
    assert done.stdout == f"{file}\n   91.39%  class 2\n"
    assert done.stderr == "note: the weights are random: the classes mean nothing\n"


def test_json_has_every_picture(colours: Path, tmp_path: Path) -> None:
    good = saved(tmp_path / "b.png", picture("red"))
    (tmp_path / "a.png").write_bytes(b"no image")
    (tmp_path / "readme").write_text("")
    done = archspec_run(colours, "-i", tmp_path / "a.png", "-i", tmp_path, "--top", 1, "--json")
    assert done.exit_code == 1
    first, second = json.loads(done.stdout)
    assert second["image"] == str(good)
    (found,) = second["classes"]
    assert (found["index"], found["name"]) == (0, "red")
    assert found["probability"] == pytest.approx(0.9139, abs=1e-4)
    fault = "no image that Pillow can read"
    assert first == {"image": str(tmp_path / "a.png"), "classes": [], "error": fault}
    assert done.stderr == (
        "note: skipped in folders, since no images: 1 file\n"
        f"error: cannot classify {tmp_path}/a.png: {fault}\n"
    )


def test_broken_pictures_do_not_stop_the_others(colours: Path, tmp_path: Path) -> None:
    good = saved(tmp_path / "b.png", picture("red"))
    whole = saved(tmp_path / "a.png", Image.effect_noise((64, 64), 50)).read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    done = archspec_run(colours, "--image", tmp_path, "--image", tmp_path / "c.png", "--top", 1)
    assert done.exit_code == 1
    assert done.stdout == f"{good}\n   91.39%  red\n"
    assert f"error: cannot classify {tmp_path}/a.png: image file is truncated" in done.stderr
    assert f"error: cannot classify {tmp_path}/c.png: No such file or directory" in done.stderr


def refusal(*args: object) -> str:
    done = archspec_run(*args)
    assert isinstance(done.exception, ArchspecError), done.output
    assert done.exception.exit_code == 2
    assert done.stdout == ""
    return str(done.exception)


def test_only_broken_pictures_are_refused(colours: Path, tmp_path: Path) -> None:
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    a.write_bytes(b"")
    b.write_bytes(b"x")
    assert refusal(colours, "-i", a) == f"cannot classify {a}: empty"
    assert refusal(colours, "-i", tmp_path) == (
        f"cannot classify any of the 2 images\n  {a}: empty\n  {b}: no image that Pillow can read"
    )
    for number in range(6):
        shutil.copy(a, tmp_path / f"c{number}.png")
    assert refusal(colours, "-i", tmp_path).endswith(f"{tmp_path}/c2.png: empty\n  and 3 more")


def test_nothing_to_classify(colours: Path, tmp_path: Path) -> None:
    hint = (
        "\n  in folders, images end in .avif, .bmp, .gif, .jfif, .jp2, .jpeg, .jpg, .pgm, .png, "
        ".ppm, .tif, .tiff, .webp"
    )
    assert refusal(colours, "-i", tmp_path) == f"there are no images there{hint}"
    (tmp_path / "a.txt").write_text("")
    assert refusal(colours, "-i", tmp_path) == (
        f"there are no images there, only 1 other file{hint}"
    )


def test_logits_that_are_not_finite_are_told(colours: Path, tmp_path: Path) -> None:
    artefact = load(colours)
    artefact._run = lambda images: torch.full((len(images), 3), float("nan"))
    file = saved(tmp_path / "p.png", picture("red"))
    with pytest.raises(CompileError) as found:
        classify(artefact, [file])
    assert str(found.value) == f"cannot classify {file}: the artefact's logits are not finite"


def test_networks_for_other_than_pictures_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", channels=4)
    file = saved(tmp_path / "p.png", picture("red"))
    assert refusal(folder, "--image", file) == (
        f"{folder} takes images of 4 channels, and pictures have 1 or 3\n"
        "  from Python, archspec.compile.load(FOLDER)(images) takes tensors"
    )


def test_the_user_is_told_of_machine_code_before_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    folder = make(tmp_path / "a", backend=Onnx)
    file = saved(tmp_path / "p.png", picture("red"))
    assert archspec_run(folder, "-i", file).stderr == ""
    monkeypatch.setattr(Onnx, "runs_code", True)
    assert archspec_run(folder, "-i", file, "-i", file).stderr == (
        f"note: {folder} holds machine code, which now runs; run only artefacts you trust\n"
    )


def test_unfit_artefacts_run_when_asked_for(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", fit=False)
    file = saved(tmp_path / "p.png", picture("red"))
    done = archspec_run(folder, "-i", file)
    assert isinstance(done.exception, ArchspecError)
    assert done.exception.exit_code == 1
    done = archspec_run(folder, "-i", file, "--allow-unfit")
    assert done.exit_code == 0
    assert done.stderr == (
        f"note: {folder} is unfit: its logits are not close enough to the network's\n"
    )

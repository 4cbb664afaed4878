"""What comes out of an image file is what a viewer shows, at the size that was asked for."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from archspec.search import data
from archspec.search.data.decode import Unreadable, decode
from archspec.search.data.source import Encoded
from tests.search.images import encoded, folder, picture


def pixels(content: Any, size: tuple[int, int] = (2, 2), channels: int = 3) -> np.ndarray[Any, Any]:
    return decode(Encoded("x", content), size, channels)


def plain(colour: Any, mode: str, kind: str = "PNG", **options: Any) -> bytes:
    """A 2×2 image of one colour."""
    return encoded(Image.new(mode, (2, 2), colour), kind, **options)


@pytest.mark.parametrize(
    ("content", "rgb"),
    [
        (plain((10, 20, 30), "RGB"), (10, 20, 30)),
        (plain(77, "L"), (77, 77, 77)),
        (plain(1, "1"), (255, 255, 255)),
        (plain((10, 20, 30, 255), "RGBA"), (10, 20, 30)),
        (plain((10, 20, 30, 0), "RGBA"), (255, 255, 255)),
        (plain((0, 0, 0, 51), "RGBA"), (204, 204, 204)),
        (plain((0, 0), "LA"), (255, 255, 255)),
        (plain((10, 20, 30), "RGB", transparency=(10, 20, 30)), (255, 255, 255)),
        (encoded(Image.new("RGB", (2, 2), (10, 20, 30)).quantize(2)), (10, 20, 30)),
        (encoded(Image.new("RGB", (2, 2), (9, 8, 7)).quantize(2), transparency=0), (255, 255, 255)),
        (plain(0x8080, "I;16"), (128, 128, 128)),
        (plain(65535, "I;16"), (255, 255, 255)),
        (plain(0x8080, "I;16", "TIFF"), (128, 128, 128)),
        (b"P5 2 2 65535\n" + b"\x80\x80" * 4, (128, 128, 128)),
        (plain((0, 0, 0, 255), "CMYK", "TIFF"), (0, 0, 0)),
        (plain((255, 0, 0, 0), "CMYK", "TIFF"), (0, 255, 255)),
    ],
    ids=(
        "rgb grey bilevel opaque transparent translucent grey_transparent colour_key palette "
        "palette_transparent grey16_half grey16_white tiff16 pgm16 cmyk_black cmyk_cyan"
    ).split(),
)
def test_modes(content: bytes, rgb: tuple[int, int, int]) -> None:
    assert pixels(content)[:, 0, 0].tolist() == list(rgb)


def test_cmyk_jpegs_keep_their_colours() -> None:
    cyan = pixels(plain((255, 0, 0, 0), "CMYK", "JPEG"))[:, 0, 0].astype(int)
    assert np.abs(cyan - [0, 255, 255]).max() <= 2  # JPEG is lossy


def test_grey_when_one_channel_is_asked_for() -> None:
    image = picture(3)
    ours = pixels(encoded(image), (10, 12), channels=1)
    assert np.array_equal(ours, np.asarray(image.convert("L"))[None])


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF", "WEBP"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    ours = pixels(encoded(picture(1), kind, **options), (10, 12))
    assert np.array_equal(ours, np.asarray(picture(1)).transpose(2, 0, 1))


def test_of_an_animation_the_first_frame() -> None:
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels(content)[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exif_orientation(orientation: int, kind: str) -> None:
    upright = Image.new("RGB", (32, 16), "white")
    upright.paste("red", (0, 0, 16, 8))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose, by orientation
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    ours = pixels(encoded(stored, kind, exif=exif), (16, 32)).astype(int)
    assert np.abs(ours - np.asarray(upright).transpose(2, 0, 1)).mean() < 4
    assert ours[1, 2, 2] < 60  # the red corner is where it was
    assert ours[1, 13, 29] > 200


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_cost_the_image() -> None:
    content = encoded(picture(1), "JPEG", exif=b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\xff\x00")
    assert pixels(content, (10, 12)).shape == (3, 10, 12)


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (40, 40), (5, 10)])
def test_the_shorter_side_is_scaled_and_the_centre_cut_out(size: tuple[int, int]) -> None:
    image = picture(5, size)
    width, height = (10 * edge // min(size) for edge in size)
    left, top = (width - 10) // 2, (height - 10) // 2
    scaled = image.resize((width, height), Image.Resampling.BILINEAR)  # as torchvision does it
    wanted = np.asarray(scaled.crop((left, top, left + 10, top + 10))).transpose(2, 0, 1)
    assert np.abs(pixels(encoded(image), (10, 10)).astype(int) - wanted).max() <= 1


def test_a_target_that_is_not_square_is_covered() -> None:
    image = Image.new("RGB", (30, 30), "white")
    image.paste("red", (0, 0, 30, 7))
    ours = pixels(encoded(image), (10, 20))  # scaled to 20×20; rows 5 to 15 are left
    assert ours.shape == (3, 10, 20)
    assert (ours == 255).all()


def test_shrinking_is_antialiased() -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    ours = pixels(encoded(Image.fromarray(board)), (8, 8)).astype(int)
    assert np.abs(ours - 127).max() <= 12


def test_a_large_jpeg_decoded_at_a_fraction_looks_the_same() -> None:
    slope = np.linspace(0, 255, 640).astype(np.uint8)
    image = Image.fromarray(np.stack([np.tile(slope, (640, 1)), np.tile(slope[:, None], (1, 640)),
                                      np.full((640, 640), 90, np.uint8)], -1))  # fmt: skip
    full = np.asarray(ImageOps.fit(image, (32, 32), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    ours = pixels(encoded(image, "JPEG", quality=95), (32, 32))
    assert np.abs(ours.astype(int) - full).max() <= 4


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no image there"),
        (b"", "empty"),
        (b"not an image", "no image that Pillow can read"),
        (encoded(picture(1))[:300], "image file is truncated"),
        (encoded(picture(1, (90, 90)), "JPEG")[:-900], "image file is truncated (*"),
        (plain(0.5, "F", "TIFF"), "32-bit pixels (mode F) do not say what white is"),
        (plain(5, "I", "TIFF"), "32-bit pixels (mode I) do not say what white is"),
        (Path("/nowhere/x.png"), "No such file or directory"),
        (Path("/"), "Is a directory"),
    ],
    ids="none empty text png_cut jpeg_cut float int missing folder".split(),
)
def test_reasons_for_leaving_an_image_out(content: Any, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        pixels(content)
    if reason.endswith("*"):
        assert str(caught.value).startswith(reason[:-1])
    else:
        assert str(caught.value) == reason


def test_a_decompression_bomb_is_skipped_and_a_large_image_is_read_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path / "set")  # of 12 × 10 pixels
    Image.new("RGB", (20, 20)).save(root / "bee" / "1.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 110)  # Pillow warns above, and raises above 220
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = data.load(root, size=8, cache=tmp_path / "cache")
    assert loaded.skipped == {
        "bee/1.png": "so many pixels that Pillow takes it for a decompression bomb"
    }
    assert len(loaded.train) + len(loaded.held_out) == 14

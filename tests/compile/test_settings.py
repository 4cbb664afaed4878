"""What may be asked of a compilation."""

from __future__ import annotations

import pytest

from archspec.compile.errors import CompileError
from archspec.compile.settings import Batch, Settings, as_precision


@pytest.mark.parametrize(
    ("text", "batch", "sizes"),
    [
        ("8", Batch(8, 8, 8), (8,)),
        ("1:8:64", Batch(1, 8, 64), (1, 8, 64)),
        ("1:1:2", Batch(1, 1, 2), (1, 2)),
        ("004", Batch(4, 4, 4), (4,)),
        ("3:3:3", Batch(3, 3, 3), (3,)),
    ],
)
def test_a_batch_is_a_number_or_a_range(text: str, batch: Batch, sizes: tuple[int, ...]) -> None:
    assert Batch.parse(text) == batch
    assert batch.sizes == sizes
    assert batch.is_fixed == (len(set(sizes)) == 1)
    assert Batch.parse(str(batch)) == batch


@pytest.mark.parametrize("text", ["", "0", "-1", "1:2", "1:2:3:4", "a", "1.5", "1:0:2", "١"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(CompileError) as caught:
        Batch.parse(text)
    assert str(caught.value) == (
        f"--batch takes a number of images or min:opt:max, found {text!r}\n"
        "  such as --batch 8, or --batch 1:8:64"
    )


@pytest.mark.parametrize("text", ["8:4:16", "2:8:4", "99999", "1:2:99999"])
def test_a_range_goes_up(text: str) -> None:
    with pytest.raises(CompileError) as caught:
        Batch.parse(text)
    assert str(caught.value) == (
        f"--batch {text}: expected min ≤ opt ≤ max ≤ 65,536\n  such as --batch 1:8:64"
    )


def test_precisions_have_names() -> None:
    assert as_precision("bf16") == "bf16"
    with pytest.raises(CompileError) as caught:
        as_precision("bf61")
    assert str(caught.value) == (
        "there is no precision 'bf61'\n  known: fp32, tf32, bf16, fp16, int8, fp8"
    )


def test_a_device_has_a_kind() -> None:
    assert Settings((3, 8, 8), device="cuda:1").device_kind == "cuda"

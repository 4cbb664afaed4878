"""torch-tensorrt's registry and partitioner take every op of the shipped networks, in one engine.

Networks that compute with complex numbers are refused, in words.

Without TensorRT: beside a stand-in, in a process of its own.
"""

from __future__ import annotations

from pathlib import Path

from tests.compile.trt.running import needs_standin, run

pytestmark = needs_standin


def test_every_op_as_it_is_and_after_rewrites_with_a_dynamic_batch(tmp_path: Path) -> None:
    found = run(tmp_path, "every_op")
    assert found["missing"] == {}, "no network of tests.built.SMALL has these ops; add one"
    refused = 0
    for row in found["rows"]:
        if row["complex"]:
            refused += 1
            assert row["refused"].startswith(
                "torch-tensorrt cannot lower the network: it computes with complex numbers in "
            ), row
            continue
        assert row["unconverted"] == [], row
        assert row["converted"] == row["operators"] > 0, row
        assert (row["engines"], row["breaks"], row["is_complete"]) == (1, 0, True), row
    assert {(row["how"], row["batch"]) for row in found["rows"]} == {
        ("as it is", "8"), ("rewritten", "2:8:64"),
    }  # fmt: skip
    assert len(found["rows"]) > refused + 15


def test_what_is_not_taken_is_said(tmp_path: Path) -> None:
    found = run(tmp_path, "refusals")
    assert found["Fourier"] == (
        "torch-tensorrt cannot lower the network: it computes with complex numbers in "
        "torch.ops.aten.fft_rfft2.default, torch.ops.aten.mul.Tensor\n"
        "  other backends take it: --backend inductor, --backend aoti"
    )
    assert found["Bessel"] == (
        "torch-tensorrt has no converter for torch.ops.aten.i0.default (2 times)\n"
        "  other backends take it: --backend inductor, --backend aoti"
    )
    assert found["OnlyBessel"] == (
        "torch-tensorrt has no converter for torch.ops.aten.i0.default\n"
        "  other backends take it: --backend inductor, --backend aoti"
    )
    mixer = found["baddbmm"]
    assert mixer["unconverted"] == [
        {
            "operator": "torch.ops.aten.baddbmm.default", "count": 2,
            "places": ["stage1.layers.0.token_mlp.up", "stage1.layers.0.token_mlp.down"],
        }
    ]  # fmt: skip
    assert (mixer["engines"], mixer["breaks"], mixer["is_complete"]) == (3, 2, False)

"""torch-tensorrt's own registry and partitioner take every shipped network, in one engine.

Without TensorRT: beside a stand-in, in a process of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archspec import catalog
from archspec.spec import load
from tests.compile.trt.running import needs_standin, run

pytestmark = needs_standin


def assert_whole(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert row["unconverted"] == [], row
        assert row["converted"] == row["operators"] > 0, row
        assert (row["engines"], row["breaks"], row["is_complete"]) == (1, 0, True), row


def test_every_shipped_network(tmp_path: Path) -> None:
    """One spec of each set of ops that shipped specs have, with a static batch."""
    found = run(tmp_path, "every_structure")
    assert_whole(found["rows"])
    specs = [load(name) for name in catalog.shipped()]
    networks = [spec.name for spec in specs if spec.is_network and not spec.holes]
    assert sorted(found["specs"]) == sorted(networks)
    assert len(found["rows"]) > 15


def test_every_op_with_a_dynamic_batch_and_after_rewrites(tmp_path: Path) -> None:
    rows = run(tmp_path, "every_op")
    assert_whole(rows)
    assert {row["how"] for row in rows} == {"as it is", "rewritten"}
    assert {row["batch"] for row in rows} == {"2:8:64"}


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

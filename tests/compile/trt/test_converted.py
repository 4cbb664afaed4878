"""What torch-tensorrt's converters make of networks computes the same, as our backend builds it.

Without TensorRT: a stand-in records the layers that all the real converters add, torch evaluates
them. That says nothing of speed, of fusion, or of what TensorRT's builder accepts.
"""

from __future__ import annotations

from pathlib import Path

from tests.compile.trt.running import needs_standin, run

pytestmark = needs_standin

CASES = {
    "smlpnet_t 2:2:4 fp32 as it is": 2e-6,
    "mixer_s16 3 fp32 rewritten": 2e-6,
    "swin_t 1 fp32 rewritten": 2e-6,
    "deit_s 1:2:3 bf16 as it is": 2e-2,
}
"""What is built, small and with a layer of each kind → the largest relative error against eager."""


def test_converted_networks_compute_the_same(tmp_path: Path) -> None:
    artefacts = tmp_path / "artefacts"
    artefacts.mkdir()
    rows = run(tmp_path, "converted", str(artefacts), *CASES)
    # torch-tensorrt takes a smallest batch of 2 for one of 1
    assert [row["engine_batch"] for row in rows] == [[1, 2, 4], [3, 3, 3], [1, 1, 1], [1, 2, 3]]
    assert [row["cleared"] for row in rows] == [["TF32"], ["TF32"], ["TF32"], []]
    for row in rows:
        # what torch-tensorrt would do otherwise is wrong for us
        assert row["attn_bias_is_causal"] == "False"
        assert row["cache_built_engines"] == row["reuse_cached_engines"] == "False"
        assert row["require_full_compilation"] == "True"
    assert rows[0]["known_timings"] == 0 < rows[1]["known_timings"] < rows[2]["known_timings"]

    errors = run(tmp_path, "loaded", str(artefacts))
    assert len(errors) == len(CASES)
    for (case, bound), error in zip(CASES.items(), errors.values(), strict=True):
        assert 0 < error <= bound, case


def test_faults(tmp_path: Path) -> None:
    said = run(tmp_path, "faults", str(tmp_path))
    assert said.pop("known") == "compiled"
    known = said["ours"].partition("known: ")[2].split(", ")
    assert {"optimization_level", "workspace_size", "sparse_weights"} <= set(known)
    assert "cache_built_engines" not in known
    assert said.pop("ours").splitlines()[0] == (
        "the option 'cache_built_engines' of the backend 'tensorrt' is not to be changed"
    )
    assert said == {
        "misspelt": "the backend 'tensorrt' has no option 'optimisation_level'\n"
        "  did you mean 'optimization_level'?",
        "of another type": "the option 'optimization_level' of the backend 'tensorrt' takes a "
        "whole number, found 'high'",
        "narrowed": "the engine takes batches of 1 to 15 images, asked for were 1 to 64: "
        "torch-tensorrt narrowed the range\n  ask for --batch 64, or for a range inside 1:15",
        "refused": "TensorRT cannot build the engine: [optimizer] no implementation for node x\n"
        "  '--dry-run' says what torch-tensorrt makes of the network",
        "no engine": f"{tmp_path}/model.pt2 cannot be loaded: zipfile.BadZipFile: File is not a "
        "zip file\n  an engine runs on the GPU model and TensorRT version that built it",
    }

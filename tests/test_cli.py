"""The commands, as their users run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import archspec
from tests import processes

SMALL = ["--input", "3x64x64", "--set", "depths=[1,1,2,1]", "--set", "dim=16"]


def run(*args: str | Path, cwd: Path | None = None, code: int = 0) -> processes.Done:
    with TemporaryDirectory() as printed:
        done = processes.archspec(
            *map(str, args), folder=cwd or Path.cwd(), output=Path(printed),
            environment={"COLUMNS": "120"},
        )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def small_model() -> torch.nn.Module:
    spec = archspec.load("smlpnet_t")
    return archspec.build(
        spec.with_values({"dim": 16, "depths": [1, 1, 2, 1], "input.height": 64, "input.width": 64})
    )


def test_build_prints_the_checked_table() -> None:
    out = run("build", "specs/smlpnet_t.yaml", cwd=Path(__file__).parent.parent).stdout
    for text in (
        "24,123,584", "5,011,528,960", "9,978,903,040", "56×56×80",
        "Beside the total: 80.75 M operations that fvcore leaves out: gelu 61.15 M, linear bias",
        "24.1M (ours 24.12 M: rounds to it)", "✓ parameters and FLOPs agree",
    ):  # fmt: skip
        assert text in out


def test_build_json_has_everything(tmp_path: Path) -> None:
    facts: dict[str, Any] = json.loads(run("build", "smlpnet_t", "--json", cwd=tmp_path).stdout)
    assert facts["name"] == "smlpnet_t"
    assert facts["params"] == facts["measured_params"] == 24_123_584
    assert facts["flops"] == facts["fvcore_flops"] == 5_011_528_960
    assert facts["torch_flops"] == 2 * facts["macs"]
    assert facts["published"]["params"]["printed"] == "24.1M"
    assert facts["published"]["top1"] == 81.9
    assert [stage["name"] for stage in facts["stages"]] == [
        "stage1", "stage2", "stage3", "stage4", "head",
    ]  # fmt: skip
    assert sum(stage["params"] for stage in facts["stages"]) == facts["params"]
    assert sum(stage["flops"] for stage in facts["stages"]) == facts["flops"]
    assert all(stage["activation_bytes"] > 0 for stage in facts["stages"])
    for rows in (facts["stages"], facts["ops"]):
        assert sum(row["other_operations"] for row in rows) == facts["other_operations"]
    assert facts["fvcore_uncounted"] == {"add": 52, "gelu": 78, "mean": 1}
    assert facts["agrees"] is True


def test_overrides() -> None:
    facts = json.loads(run("build", "smlpnet_t", "--json", *SMALL, "--set", "alpha=2").stdout)
    assert facts["input"] == [3, 64, 64]
    assert [stage["layers"] for stage in facts["stages"]] == [1, 1, 2, 1, 0]
    assert facts["agrees"]
    assert facts["stages"][0]["output"] == {"channels": 16, "height": 16, "width": 16}
    plain = json.loads(run("cost", "smlpnet_t", "--json", *SMALL, "--set", "alpha=2").stdout)
    assert {key: facts[key] for key in plain} == plain


def test_a_difference_is_exit_code_1(tmp_path: Path) -> None:
    """With a cost rule that is off by one, the table says where and the command fails."""
    code = (
        "import sys; from archspec.ops.linear import Linear; right = Linear.flops\n"
        "Linear.flops = lambda self, x: right(self, x) + 1\n"
        f"sys.argv = ['archspec', 'build', 'smlpnet_t', *{SMALL!r}]\n"
        "from archspec.cli import main; main()"
    )
    done = processes.python(code, tmp_path, tmp_path)
    assert done.returncode == 1
    assert "✗ the figures differ" in done.stdout
    assert "stage1.layers.0.cross.row (linear): 65,537 FLOPs by rule, 65,536" in done.stdout


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights(suffix: str, tmp_path: Path) -> None:
    model = small_model()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(model.state_dict(), path)
    else:
        save_file(model.state_dict(), path)
    facts = json.loads(run("build", "smlpnet_t", "--json", *SMALL, "--weights", path).stdout)
    assert facts["weights"] == {"file": str(path), "naming": "archspec", "resized": []}


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(small_model().state_dict(), path)
    done = run("build", "mixer_s32", "--weights", path, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {path}: does not fit mixer_s32")
    assert "missing: stem.embed.weight" in done.stderr
    assert "surplus: stage1.patches.embed.weight" in done.stderr


def test_emit_writes_the_same_network(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    run("build", "smlpnet_t", *SMALL, "--emit", path)
    code = "import model, json; m = model.SmlpnetT(); print(json.dumps(list(m.state_dict())))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == list(small_model().state_dict())


def test_specs_lists_all_with_figures() -> None:
    rows = {row["name"]: row for row in json.loads(run("specs", "--json").stdout)}
    assert rows["smlpnet_b"]["params"] == 65_880_408
    assert rows["table3_sum"]["folder"] == "ablations"
    assert "smlpnet_b" in run("specs").stdout


def test_remembered_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of a fresh count, go stale with a file, and a broken memory is no harm."""
    from archspec import figures

    file = tmp_path / "cache" / "figures.json"
    monkeypatch.setattr(figures, "_cache_file", lambda: file)
    fresh = figures.shipped_figures()
    assert json.loads(file.read_text())["rows"] == fresh
    monkeypatch.setattr(figures, "_row", lambda path, folder: {"name": path.stem})
    assert figures.shipped_figures() == fresh
    monkeypatch.setattr(figures, "_state", lambda: "changed")
    assert figures.shipped_figures()[0] == {"name": fresh[0]["name"]}
    file.write_text("{")
    assert figures.shipped_figures()[0] == {"name": fresh[0]["name"]}


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf", "mmd", "md"])
def test_show(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"block.{suffix}"
    done = run("show", "smlpnet_t", "--block", "cross", "--output", path)
    assert done.stdout == f"wrote {path}\n"
    assert path.stat().st_size > 300


def test_formula_and_schema(tmp_path: Path) -> None:
    assert "H·W·C·(H + W)" in run("formula", "smlpnet_t", "--block", "cross").stdout
    run("schema", "--output", tmp_path / "schema.json")
    assert json.loads((tmp_path / "schema.json").read_text())["$schema"]


def test_no_arguments_shows_help() -> None:
    done = subprocess.run([sys.executable, "-m", "archspec"], capture_output=True, text=True)
    assert "build" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_training_checkpoints_are_opened(tmp_path: Path) -> None:
    """Our names, wrapped as training loops and DistributedDataParallel wrap them."""
    state = small_model().state_dict()
    path = tmp_path / "last.pth"
    for content in (
        {"model": state, "epoch": 3},
        {"state_dict": {f"module.{key}": value for key, value in state.items()}},
    ):
        torch.save(content, path)
        facts = json.loads(run("build", "smlpnet_t", "--json", *SMALL, "--weights", path).stdout)
        assert facts["weights"]["naming"] == "archspec"


def test_what_is_no_plain_file_is_not_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    link.symlink_to(target)
    run("schema", "--output", link)
    assert link.is_symlink()
    assert json.loads(target.read_text())["$schema"]
    run("schema", "--output", "/dev/null")
    assert Path("/dev/null").is_char_device()
    own = tmp_path / "own.yaml"
    own.write_text("extends: smlpnet_t\n")
    done = run("build", own, "--emit", own, code=2)
    assert done.stderr == f"error: --emit takes a file that ends in .py, found {str(own)!r}\n"
    assert own.read_text() == "extends: smlpnet_t\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "smlpnet_t", *SMALL, "--weights", "w" * 300 + ".pth"),
        ("build", "smlpnet_t", *SMALL, "--emit", "m" * 300 + ".py"),
        ("show", "smlpnet_t", "--block", "cross", "--output", "b" * 300 + ".svg"),
        ("cost", "smlpnet_t", "--set", "vars.alhpa=2"),
        ("cost", "smlpnet_t", "--set", "stages.stage1.vars.alhpa=2"),
    ],
)
def test_refused_in_one_message(arguments: tuple[str, ...]) -> None:
    done = run(*arguments, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")


def test_narrow_and_closed_outputs() -> None:
    """A terminal without ×, a reader that goes away, a full disk."""
    command = f"{sys.executable} -m archspec cost smlpnet_t"
    plain = subprocess.run(
        command.split(), capture_output=True, text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (plain.returncode, plain.stderr) == (0, "")
    assert "56?56?80" in plain.stdout
    piped = subprocess.run(
        ["bash", "-c", f"{command} | true; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True
    )
    assert (piped.returncode, piped.stderr) == (0, "")
    if Path("/dev/full").exists():
        full = subprocess.run(
            ["bash", "-c", f"{command} > /dev/full"], capture_output=True, text=True
        )
        assert full.returncode == 2
        assert full.stderr == "error: cannot write the output: No space left on device\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.to(torch.int8), "1 of another kind: head.classifier.weight (int8)"),
        (lambda t: t[None], "1 of another shape: head.classifier.weight 1×1000×128"),
    ],
)
def test_entries_that_only_look_alike(change: Any, message: str, tmp_path: Path) -> None:
    state = small_model().state_dict()
    state["head.classifier.weight"] = change(state["head.classifier.weight"])
    torch.save(state, tmp_path / "w.pth")
    done = run("build", "smlpnet_t", *SMALL, "--weights", tmp_path / "w.pth", code=2)
    assert message in done.stderr

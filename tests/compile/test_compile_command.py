"""`archspec compile`, as its users run it, and all that it refuses, word for word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import archspec
from archspec.compile.backends.base import Job
from archspec.compile.backends.eager import Eager
from archspec.compile.backends.onnx import Onnx
from archspec.compile.backends.tensorrt import packages_missing
from archspec.compile.errors import CompileError
from archspec.search.storage import locked
from tests.compile import small
from tests.compile.conftest import NETWORK, Command
from tests.search import searches

NOTE = "note: the weights are random: 'archspec train net.yaml' makes a checkpoint for --weights\n"
QUICK = ("--backend", "eager", "--no-benchmark")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text(NETWORK)
    Path("space.yaml").write_text(
        NETWORK.replace("dim: 4", "dim: {choice: [4, 8]}").replace("name: net", "name: space")
    )
    return tmp_path


def trained(network: str = "net.yaml", file: str = "net.safetensors") -> str:
    torch.manual_seed(1)
    save_file(small.enliven(archspec.build(network)).state_dict(), file)
    return file


def only(text: str) -> dict[str, Any]:
    """The one entry of a JSON list."""
    (row,) = json.loads(text)
    found: dict[str, Any] = row
    return found


def left_behind() -> list[str]:
    """What stands here beside the specs, hidden files too."""
    return sorted({path.name for path in Path().iterdir()} - {"net.yaml", "space.yaml"})


# -- what it prints --------------------------------------------------------------------------------


def test_it_prints_what_it_made(command: Command) -> None:
    said = command("compile", "net.yaml", "--backend", "eager", "--seconds", 0.05, "-o", "a")
    assert said.err == NOTE + (
        "eager: rewriting the network\n"
        "eager: compiling with eager\n"
        "eager: loading it again\n"
        "eager: comparing its logits with the float64 network's\n"
        "eager: timing at batch 1\n"
    )
    for text in (
        "net by eager, fp32, batch 1, image 3×8×6, on ", "\n  spec net.yaml\n", "compiled in ",
        "relative error against float64 ≤ 2 × that of eager fp32 (or 8 ε), and cosine ≥ 0.9999",
        "× eager fp32", "✓ a\n", "Use: archspec run a --image FILE\n",
    ):  # fmt: skip
        assert text in said.out
    assert sorted(path.name for path in Path("a").iterdir()) == ["manifest.json", "model.pt2"]
    assert left_behind() == ["a"]


def test_json_is_the_manifest_and_all_of_it(command: Command) -> None:
    said = command(
        "compile", "net.yaml", "--backend", "eager", "--precision", "bf16", "--batch", "1:2:2",
        "--weights", trained(), "--seconds", 0.05, "--json", "--output", "a",
    )  # fmt: skip
    facts = only(said.out)
    assert {"folder": facts.pop("folder"), "from_cache": facts.pop("from_cache")} == {
        "folder": "a", "from_cache": False,
    }  # fmt: skip
    assert facts == json.loads(Path("a/manifest.json").read_text())
    assert facts["fit"] is True
    assert facts["spec_sha256"] == archspec.load("net.yaml").digest
    assert len(facts["weights_sha256"]) == 64
    assert facts["has_trained_weights"] is True
    assert (facts["class_count"], facts["classes"]) == (4, None)
    assert facts["versions"] == {"torch": torch.__version__}
    assert facts["device"]["kind"] == "cpu"
    assert facts["seconds"] > 0
    (file,) = facts["files"].values()
    assert file["size"] == Path("a/model.pt2").stat().st_size
    cases = facts["parity"]["cases"]
    assert [(case["inputs"], case["batch"]) for case in cases] == [
        (kind, size) for kind in ("random", "photographs") for size in (1, 2)
    ]
    assert all(0 < case["relative_error"] <= case["bound"] for case in cases)
    assert [(row["runner"], row["batch"]) for row in facts["speed"]] == [
        (name, size) for size in (1, 2) for name in ("artefact", "eager fp32", "eager bf16")
    ]
    assert all(row["median_ms"] > 0 and row["ratio"] > 0 for row in facts["speed"])
    assert "peak_memory" in facts["speed"][0]


def test_without_an_output_the_name_says_what_it_is(command: Command) -> None:
    said = command("compile", "net.yaml", *QUICK, "--batch", "1:2:4")
    assert "✓ runs/compiled/net-eager-fp32-b1-2-4\n" in said.out
    assert Path("runs/compiled/net-eager-fp32-b1-2-4/manifest.json").is_file()


def test_several_backends(command: Command) -> None:
    said = command(
        "compile", "net.yaml", "-b", "eager, onnx,eager", "--no-benchmark", "-o", "all", "--json"
    )
    assert [row["folder"] for row in json.loads(said.out)] == ["all/eager", "all/onnx"]
    assert sorted(path.name for path in Path("all").iterdir()) == ["eager", "onnx"]
    assert said.err.count("note:") == 1


def test_a_backend_that_fails_does_not_stop_the_others(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(job: Job) -> dict[str, Any]:
        (job.folder / "half").write_text("half")
        raise CompileError("it has no patience", hint="ask again")

    monkeypatch.setattr(Eager, "compile", refuse)
    words = ("compile", "net.yaml", "--no-benchmark", "-o", "all", "--json", "-b")
    said = command(*words, "eager,onnx", code=2)
    assert "error: eager: it has no patience\n  ask again\n" in said.err
    assert only(said.out)["backend"] == "onnx"
    assert [path.name for path in Path("all").iterdir()] == ["onnx"]
    alone = command("compile", "net.yaml", *QUICK, "-o", "alone", code=2)
    assert alone.err.endswith("\nerror: it has no patience\n  ask again\n")
    assert left_behind() == ["all"]


# -- artefacts that are not exact ------------------------------------------------------------------


right = Eager.compile


def with_weights(job: Job, change: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, Any]:
    weights = {
        node: {name: change(value) for name, value in tensors.items()}
        for node, tensors in job.network.weights.items()
    }
    return right(replace(job, network=replace(job.network, weights=weights)))


def other_weights(job: Job) -> dict[str, Any]:
    """Another network of the same shape."""
    return with_weights(job, lambda value: value + 0.1)


def not_finite(job: Job) -> dict[str, Any]:
    return with_weights(job, lambda value: value * float("nan"))


@pytest.mark.parametrize("wrong", [other_weights, not_finite])
def test_what_computes_something_else_is_marked_unfit(
    wrong: Any, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Eager, "compile", wrong)
    words = ("compile", "net.yaml", "-w", trained(), *QUICK, "-o", "a")
    said = command(*words, code=1)
    assert "✗ marked unfit: a\n" in said.out
    assert "Use:" not in said.out
    assert ("not finite" in said.out) is (wrong is not_finite)
    facts = only(command(*words, "--json", code=1).out)
    assert facts["fit"] is False
    assert facts["from_cache"] is False  # it may be made well the next time
    assert not any(case["passed"] for case in facts["parity"]["cases"])
    image = Path(__file__).parent.parent.parent / "docs/demo/seven.png"
    refused = command("run", "a", "--image", image, code=1)
    assert (refused.out, refused.err) == (
        "",
        "error: a is marked unfit: its logits were not close enough to the network's\n"
        "  compile it again in a higher precision, or see parity in its manifest.json\n",
    )
    monkeypatch.setattr(Eager, "compile", right)
    assert command(*words).out.count("✓ a\n") == 1


def test_one_unfit_artefact_of_several(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Eager, "compile", other_weights)
    words = ("compile", "net.yaml", "-b", "eager,onnx", "--no-benchmark", "-o", "a")
    said = command(*words, code=1)
    assert "✗ marked unfit: a/eager\n" in said.out
    assert "✓ a/onnx\n" in said.out


# -- what is refused -------------------------------------------------------------------------------


def no_work(*_: object) -> None:
    pytest.fail("nothing may be built")


TENSORRT = "; ".join(["a device of kind cuda (this is cpu)", *packages_missing()])
REFUSED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no winner": ((), 2,
        "there is nothing to compile: no search in runs\n"
        "  'archspec search --budget 5GFLOPs' finds a network, or name one: archspec compile SPEC"),
    "no study": (("--study", "s1"), 2,
        "there is no study 's1': no search in runs\n"
        "  'archspec search --budget 5GFLOPs' finds a network, or name one: archspec compile SPEC"),
    "holes": (("space.yaml",), 2,
        "space is a space, not one network; it leaves open: dim\n"
        "  'archspec search --space space.yaml --budget …' finds the best network of it"),
    "holes left": (("space.yaml", "--set", "classes=5"), 2,
        "space is a space, not one network; it leaves open: dim\n"
        "  'archspec search --space space.yaml --budget …' finds the best network of it"),
    "both": (("net.yaml", "--study", "s1"), 2,
        "a spec (net.yaml) and a study (s1) are given: expected one of them\n"
        "  leave one of them out"),
    "both, with values": (("net.yaml", "--study", "s1", "--set", "dim=8"), 2,
        "a spec (net.yaml) and a study (s1) are given: expected one of them\n"
        "  leave one of them out"),
    "a folder with values": ((".", "--set", "dim=8"), 2,
        "--input and --set change a spec, and this network was trained as it is\n"
        "  give the spec's file, such as runs/STUDY/winner.yaml"),
    "a winner with an input": (("--input", "3x9x9"), 2,
        "--input and --set change a spec, and this network was trained as it is\n"
        "  give the spec's file, such as runs/STUDY/winner.yaml"),
    "a long name": (("x" * 300, "--set", "dim=8"), 2,
        f"there is no spec '{'x' * 79}… (302 characters): no such file, and none shipped under "
        "that name\n  'archspec specs' lists the shipped ones"),
    "no checkpoint": (("net.yaml", "-w", "none.pt"), 2,
        "none.pt: there is no such checkpoint\n  --weights takes a .safetensors, .pth or .pt file"),
    "backend": (("net.yaml", "-b", "onix"), 2,
        "there is no backend 'onix'\n  did you mean 'onnx'?"),
    "one backend of several": (("net.yaml", "-b", "eager,tensort"), 2,
        "there is no backend 'tensort'\n  did you mean 'tensorrt'?"),
    "a comma too many": (("net.yaml", "-b", "eager,"), 2,
        "there is no backend ''\n  known: aoti, eager, inductor, onnx, openvino, tensorrt"),
    "unavailable": (("net.yaml", "-b", "tensorrt", "--device", "cpu"), 3,
        f"the backend 'tensorrt' cannot be used here: it needs {TENSORRT}\n"
        "  pip install 'archspec-vision[tensorrt]'"),
    "one unavailable of several": (("net.yaml", "-b", "eager,tensorrt", "--device", "cpu"), 3,
        f"the backend 'tensorrt' cannot be used here: it needs {TENSORRT}\n"
        "  pip install 'archspec-vision[tensorrt]'"),
    "precision": (("net.yaml", "-p", "fp31"), 2,
        "there is no precision 'fp31'\n  known: fp32, tf32, bf16, fp16, int8, fp8"),
    "a precision that it lacks": (("net.yaml", "-p", "tf32", "-b", "eager", "--device", "cpu"), 2,
        "the backend 'eager' has no tf32 on cpu\n  it has fp32, bf16, fp16"),
    "the same, explained": (
        ("net.yaml", "-p", "tf32", "-b", "eager", "--device", "cpu", "--explain"), 2,
        "the backend 'eager' has no tf32 on cpu\n  it has fp32, bf16, fp16"),
    "batch": (("net.yaml", "--batch", "0"), 2,
        "--batch takes a number of images or min:opt:max, found '0'\n"
        "  such as --batch 8, or --batch 1:8:64"),
    "batches": (("net.yaml", "--batch", "8:1:4"), 2,
        "--batch 8:1:4: expected min ≤ opt ≤ max ≤ 65,536\n  such as --batch 1:8:64"),
    "rewrite": (("net.yaml", "--rewrites", "fold-bach-norm"), 2,
        "there is no rewrite 'fold-bach-norm'\n  did you mean 'fold-batch-norm'?"),
    "option": (("net.yaml", "-b", "eager", "--option", "level=5"), 2,
        "the backend 'eager' has no options, found 'level'"),
    "option without a value": (("net.yaml", "--option", "level"), 2,
        "--option takes NAME=VALUE, found 'level'"),
    "device": (("net.yaml", "--device", "gpu"), 2,
        "there is no device 'gpu'\n  known: auto, cpu, cuda, cuda:0, cuda:1, …"),
    "explain and dry run": (("net.yaml", "--explain", "--dry-run"), 2,
        "--explain and --dry-run are given: expected one of them"),
    "the folder here": (("net.yaml", "-b", "eager", "-o", "empty/../empty/../empty/.."), 2,
        "empty/../empty/../empty/.. is there already and is no artefact\n"
        "  --output names another folder"),
    "a folder of others": (("net.yaml", "-b", "eager", "-o", "mine"), 2,
        "mine is there already and is no artefact\n  --output names another folder"),
    "one of several": (("net.yaml", "-b", "onnx,eager", "-o", "theirs"), 2,
        "theirs/eager is there already and is no artefact\n  --output names another folder"),
    "a file": (("net.yaml", "-b", "eager", "-o", "net.yaml"), 2,
        "net.yaml is there already and is no artefact\n  --output names another folder"),
    "below a file": (("net.yaml", "-b", "eager", "-o", "net.yaml/a/b"), 2,
        "cannot write net.yaml/a/b: net.yaml is a file, not a folder"),
    "a mount point": (("net.yaml", "-b", "eager", "-o", "mount"), 2,
        "cannot write mount: it is a mount point\n  --output names a folder inside it"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_before_any_work(
    case: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("empty", "mount", "mine/thesis", "theirs/eager/thesis"):
        Path(folder).mkdir(parents=True)
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "mount")
    monkeypatch.setattr("archspec.compile.job.Bench.of", no_work)
    words, code, message = REFUSED[case]
    before = sorted(Path().rglob("*"))
    said = command("compile", *words, code=code)
    assert (said.out, said.err) == ("", f"error: {message}\n")
    assert sorted(Path().rglob("*")) == before


def test_the_folder_one_is_in_is_not_replaced(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("empty").mkdir()
    monkeypatch.chdir("empty")
    assert command("compile", "../net.yaml", *QUICK, "-o", ".", code=2).err == (
        "error: cannot write .: it is the folder that you are in\n"
        "  --output names a folder inside it\n"
    )


def test_weights_of_another_network(command: Command) -> None:
    Path("other.yaml").write_text(NETWORK.replace("classes: 4", "classes: 5"))
    said = command("compile", "net.yaml", *QUICK, "-w", trained("other.yaml"), code=2)
    assert said.err.startswith("error: net.safetensors: does not fit net")
    assert "head.classifier.weight" in said.err
    assert left_behind() == ["net.safetensors", "other.yaml"]


def test_dry_runs(command: Command) -> None:
    said = command("compile", "net.yaml", "-b", "onnx", "--dry-run", code=2)
    assert said.err == NOTE + "error: the backend 'onnx' has no dry run\n  tensorrt has one\n"
    if missing := packages_missing():
        said = command("compile", "net.yaml", "-b", "tensorrt", "--dry-run", code=3)
        assert said.err == NOTE + (
            f"error: a dry run of 'tensorrt' cannot be made here: it needs {'; '.join(missing)}\n"
            "  pip install 'archspec-vision[tensorrt]'\n"
        )
    assert left_behind() == []


def test_a_network_without_logits(command: Command) -> None:
    Path("net.yaml").write_text(NETWORK[: NETWORK.index("head:")])
    said = command("compile", "net.yaml", *QUICK, "-o", "a", code=2)
    assert said.err == NOTE + (
        "error: net gives C4 H8 W6 for an image, expected a number for each class\n"
        "  a 'head:' with global_pool and a linear ends a network in classes; 'archspec export' "
        "writes any network\n"
    )
    assert left_behind() == []


# -- output ----------------------------------------------------------------------------------------


def test_a_full_disk(command: Command) -> None:
    """As the system says it: no file may grow beyond a kilobyte."""
    import resource

    command("compile", "net.yaml", *QUICK, "-o", "a", "--no-cache")
    before = Path("a/manifest.json").read_text()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        said = [
            command("compile", "net.yaml", "-b", name, "--no-benchmark", "-o", "a", code=2).err
            for name in ("eager", "onnx")
        ]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for text in said:
        assert text.endswith("\nerror: cannot write a: File too large\n")
    assert Path("a/manifest.json").read_text() == before
    assert left_behind() == ["a"]


def test_an_output_that_may_not_be_written(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    said = command("compile", "net.yaml", *QUICK, "-o", "deep/a", code=2)
    assert said.err == NOTE + "error: cannot write deep/a: Permission denied\n"


def test_a_killed_compilation_leaves_no_artefact(command: Command) -> None:
    code = (
        "import os, sys; from archspec.compile.backends.eager import Eager\n"
        "def stop(job):\n"
        "    (job.folder / 'model.pt2').write_text('half'); os.kill(os.getpid(), 9)\n"
        "Eager.compile = stop\n"
        "from archspec.cli import main; main()"
    )
    words = ["compile", "net.yaml", *QUICK, "-o", "a"]
    killed = subprocess.run(
        [sys.executable, "-c", code, *words], check=False, capture_output=True, text=True
    )
    assert killed.returncode == -9, killed.stderr
    (unfinished,) = left_behind()
    assert unfinished.endswith(".unfinished")
    assert command("run", "a", "--image", "net.yaml", code=2).err == (
        "error: a is no artefact: there is no such folder\n  'archspec compile' makes one\n"
    )
    command(*words)
    assert left_behind() == ["a"]


def test_ctrl_c_leaves_nothing(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(job: Job) -> dict[str, Any]:
        (job.folder / "half").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Eager, "compile", stop)
    command("compile", "net.yaml", *QUICK, "-o", "a", code=130)
    assert left_behind() == []


# -- the cache -------------------------------------------------------------------------------------


def test_the_same_is_copied(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    command("compile", "net.yaml", *QUICK, "-o", "a")
    monkeypatch.setattr(Eager, "compile", no_work)
    said = command("compile", "net.yaml", *QUICK, "-o", "b")
    assert said.err == NOTE + "eager: copying from the cache\n"
    assert "\n  copied from the cache, " in said.out
    assert Path("a/model.pt2").read_bytes() == Path("b/model.pt2").read_bytes()
    assert only(command("compile", "net.yaml", *QUICK, "-o", "b", "--json").out)["from_cache"]
    Path("same.yaml").write_text(NETWORK.replace("name: net", "name: same"))
    monkeypatch.setattr(Eager, "compile", right)
    command("compile", "same.yaml", *QUICK, "-o", "c")
    assert json.loads(Path("c/manifest.json").read_text())["name"] == "same"


def test_no_cache_compiles_anew(command: Command) -> None:
    for _ in range(2):
        said = command("compile", "net.yaml", *QUICK, "-o", "a", "--no-cache", "--json")
        assert only(said.out)["from_cache"] is False
    assert not list(Path(os.environ["ARCHSPEC_CACHE"]).rglob("*"))


# -- winners ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search on digits that came to its end."""
    from archspec.search.data import load

    folder = tmp_path_factory.mktemp("runs")
    digits = load("digits", size=(6, 6), channels=3)
    searches.search(
        folder, study="s1", trials=1, epochs=1, finalists=1, data=digits, batch_size=256
    )
    return folder


def test_the_winner_of_the_last_search(
    searched: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("runs").symlink_to(searched)
    said = command("compile", "--backend", "onnx", "--no-benchmark", "-o", "a", "--json")
    facts = only(said.out)
    known = json.loads((searched / "s1/winner.json").read_text())
    assert facts["name"] == "winner-s1"
    assert facts["origin"].startswith("the winner of the search s1 (runs/s1/winner")
    assert facts["classes"] == [str(digit) for digit in range(10)] == known["classes"]
    assert facts["class_count"] == 10
    assert facts["preprocessing"] == {"mean": known["mean"], "std": known["std"]}
    assert facts["has_trained_weights"] is True
    accuracy = facts["parity"]["accuracy"]
    assert accuracy["images"] == 256
    assert accuracy["artefact"] == pytest.approx(accuracy["eager fp32"], abs=1 / 256)
    assert {case["inputs"] for case in facts["parity"]["cases"]} == {"random", "digits, held out"}
    table = command(
        "compile", "--study", "s1", "--backend", "onnx", "--no-benchmark", "-o", "a"
    ).out
    assert "\n  accuracy on 256 held-out images: eager fp32 " in table
    assert command("compile", "runs/s1", *QUICK, "-o", "b").err.startswith("note: compiled at 6×6")


def test_a_search_that_goes_on(searched: Path, command: Command) -> None:
    Path("runs").symlink_to(searched)
    with locked(Path("runs/s1")):
        assert command("compile", *QUICK, "-o", "a").err.startswith(
            "note: the search s1 goes on: this is its winner so far\n"
        )


def test_holes_that_are_filled(command: Command) -> None:
    facts = only(command("compile", "space.yaml", "--set", "dim=8", *QUICK, "--json").out)
    spec = archspec.load("space.yaml").with_values({"dim": 8})
    assert facts["spec_sha256"] == spec.digest
    assert facts["folder"] == "runs/compiled/space-eager-fp32-b1"


def test_a_shipped_spec_goes_before_a_folder_of_its_name(command: Command) -> None:
    Path("smlpnet_t").mkdir()
    said = command("compile", "smlpnet_t", "-b", "eager", "--explain", "--set", "depths=[1,1,1,1]",
                   "--input", "3x32x32", "--json")  # fmt: skip
    assert only(said.out)["backend"] == "eager"


# -- what it explains ------------------------------------------------------------------------------


def test_list(command: Command) -> None:
    said = command("compile", "--list", "--device", "cpu")
    rows = {row["name"]: row for row in json.loads(command("compile", "--list", "--json").out)}
    assert list(rows) == ["aoti", "eager", "inductor", "onnx", "openvino", "tensorrt"]
    for row in rows.values():
        assert set(row) == {"name", "about", "usable", "missing", "precisions", "install"}
        assert row["usable"] is not bool(row["missing"])
        assert row["name"] in said.out
    assert rows["eager"]["usable"]
    assert rows["eager"]["precisions"] == ["fp32", "bf16", "fp16"]
    assert "\ntensorrt: pip install 'archspec-vision[tensorrt]'\n" in said.out
    assert "needs a device of kind cuda" in said.out


def test_explain_where_nothing_is_rewritten(command: Command) -> None:
    said = command("compile", "net.yaml", "-b", "eager", "--explain")
    assert said.out == "eager, fp32, batch 1\n  nothing is rewritten\n"
    row = only(command("compile", "net.yaml", "-b", "eager", "--explain", "--json").out)
    assert (row["fired"], row["by_rewrite"]) == ([], {})
    assert row["before"] == row["after"]
    assert left_behind() == []


def test_explain_says_what_the_rewrites_say(command: Command) -> None:
    from archspec.compile.job import Bench
    from archspec.compile.rewriting import find_all, rewrite
    from archspec.compile.subject import find

    words = ("compile", "net.yaml", "-b", "onnx", "--batch", "1:4:8", "--explain")
    row = only(command(*words, "--rewrites", "all", "--json").out)
    network = Bench.of(find("net.yaml")).network
    told = rewrite(network, tuple(find_all()), batch=4)
    assert row["by_rewrite"] == {
        name: {"times": one.times, "flops": one.flops, "bytes": one.traffic.total}
        for name, one in told.by_rewrite.items()
    }
    assert row["before"]["flops"] - row["after"]["flops"] == sum(
        one["flops"] for one in row["by_rewrite"].values()
    )
    assert sum(one["times"] for one in row["fired"]) == len(told.fired)
    assert row["by_rewrite"]["fold-batch-norm"]["times"] == 1
    usual = only(command(*words, "--json").out)
    assert list(usual["by_rewrite"]) == [
        name for name in find_all() if name in Onnx.form(small_settings()).rewrites
    ]
    table = command(*words).out
    assert table.startswith("onnx, fp32, batch 4\n")
    assert "fold-batch-norm" in table
    assert "merge-linears" not in table  # which did not fire
    assert "\nFLOPs " in table


def small_settings() -> Any:
    from archspec.compile.settings import Settings

    return Settings((3, 8, 6))


def test_explain_needs_no_backend_that_can_be_used(command: Command) -> None:
    said = command("compile", "net.yaml", "-b", "tensorrt", "--explain", "--device", "cpu")
    assert said.out.startswith("tensorrt, fp32, batch 1\n")

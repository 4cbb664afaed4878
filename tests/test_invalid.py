"""Every kind of wrong input is refused with one message, word for word.

Each file in `tests/invalid` starts with the message that it must give:

    # expect: FILE:LINE:COLUMN: what is wrong
    # expect:   what to do

Files that cannot be kept in a repository (huge, not UTF-8, truncated) are made here.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from archspec.counting import count
from archspec.errors import ArchspecError, SpecError
from archspec.expansion import expand
from archspec.ops import registry
from archspec.spec import load, loads
from archspec.steps import CONTROL
from tests import processes

FOLDER = Path(__file__).parent / "invalid"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))
EXPECT = "# expect: "

SMALL = """
input: {height: 8, width: 8}
classes: 10
stem: [{conv: {id: embed, out: 4, kernel: 3}}]
head: [global_pool, {linear: {id: classifier, out: classes}}]
"""


def expected(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line[len(EXPECT) :] for line in lines if line.startswith(EXPECT))


def refusal(name: str | Path) -> ArchspecError:
    with pytest.raises(ArchspecError) as caught:
        count(expand(load(name)))
    return caught.value


@pytest.mark.parametrize("name", FILES)
def test_message(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    error = refusal(name)
    assert str(error) == expected(FOLDER / name)
    assert error.mark is not None
    assert error.mark.line > 0
    assert error.mark.column > 0
    assert error.exit_code == 2


def test_every_file_expects_something() -> None:
    assert len(FILES) > 100
    assert all(expected(FOLDER / name) for name in FILES)


# -- files that cannot be kept ---------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_missing_file() -> None:
    assert str(refusal("nets/smlpnet_x.yaml")) == (
        "there is no spec 'nets/smlpnet_x.yaml': no such file, and none shipped under that name\n"
        "  did you mean 'smlpnet_t'? ('archspec specs' lists them)"
    )


def test_folder() -> None:
    Path("nets.yaml").mkdir()
    assert str(refusal("nets.yaml")) == "'nets.yaml' is a folder, not a spec"
    assert str(refusal(".")) == "'.' is a folder, not a spec"


def test_other_file() -> None:
    Path("notes").write_text("hello")
    assert str(refusal("notes")) == "'notes' is not a spec: their files end in .yaml"


def test_name_that_no_file_can_have() -> None:
    text = str(refusal("x" * 5000 + ".yaml"))
    assert text.startswith("there is no spec 'xxx")
    assert len(text) < 300
    assert "no such file" in str(refusal("x\0.yaml"))


def test_huge_file_is_not_read() -> None:
    with Path("huge.yaml").open("wb") as file:
        file.truncate(100_000_000)
    assert str(refusal("huge.yaml")) == (
        "huge.yaml: is larger than 1,000,000 bytes, which no spec needs"
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"stem: [gelu]\nname: caf\xe9\n", "f.yaml:2:10: is not UTF-8: byte 0xe9"),
        (b"\xff\xfes\x00", "f.yaml:1:1: is not UTF-8: byte 0xff"),
        (b"\x89PNG\r\n", "f.yaml:1:1: is not UTF-8: byte 0x89"),
        (b"stem:\n- ge\x00lu\n", "f.yaml:2:5: holds a character that YAML does not allow: U+0000"),
        (b"", "f.yaml:1:1: is empty"),
        (
            b"stem: [gelu",
            "f.yaml:1:12: is not valid YAML: did not find expected ',' or ']'\n"
            "  check brackets and indentation; text with any of : , # [ ] { } needs quotes",
        ),
        (b"[" * 500_000, "f.yaml:1:62: is nested more than 60 levels deep"),
    ],
)
def test_bytes(raw: bytes, message: str) -> None:
    Path("f.yaml").write_bytes(raw)
    assert str(refusal("f.yaml")) == message


def test_text_that_no_file_can_hold() -> None:
    with pytest.raises(SpecError, match=r"^<text>:1:8: holds a character .*: U\+D800$"):
        loads("name: x\ud800")


def test_extends_in_a_long_line() -> None:
    Path("a0.yaml").write_text(SMALL)
    for i in range(1, 30):
        Path(f"a{i}.yaml").write_text(f"extends: a{i - 1}.yaml\n")
    count(expand(load("a15.yaml")))
    assert str(refusal("a29.yaml")) == "a9.yaml:1:10: more than 20 specs extend one another"


def test_imports_that_define_one_block_differently() -> None:
    Path("shared.yaml").write_text("blocks: {mix: [gelu]}")
    Path("a.yaml").write_text("import: shared.yaml\nblocks: {own: [relu]}")
    Path("b.yaml").write_text("import: shared.yaml\nblocks:\n  mix: [tanh]")
    Path("same.yaml").write_text("import: [a.yaml, shared.yaml]\nstem: [mix, own]")
    count(expand(load("same.yaml")))  # it comes by two ways, and is one block
    Path("over.yaml").write_text("import: shared.yaml\nblocks: {mix: [relu]}\nstem: [mix]")
    assert [leaf.node.op.name for leaf, _ in expand(load("over.yaml")).walk()] == ["relu"]
    Path("net.yaml").write_text("import: [a.yaml, b.yaml]\nstem: [mix]")
    assert str(refusal("net.yaml")) == (
        "net.yaml:1:18: two imports define block 'mix' differently: "
        "at shared.yaml:1:15 and at b.yaml:3:8\n"
        "  give one of the two another name"
    )


# -- overrides -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "alhpa",
            2,
            "--set alhpa: there is no variable 'alhpa' in smlpnet_t\n  did you mean 'alpha'?",
        ),
        ("alpha", 0, "smlpnet_t.yaml:13:29: 'linear' out: expected a whole number from 1 to "),
        ("depths[7]", 2, "no entry 7 in a list of 4"),
        ("depths[x]", 2, "--set depths[x]: is not the name of a value, such as alpha or depths[0]"),
        ("dim.x", 2, "'x' cannot be set inside 80"),
        ("a." * 100 + "b", 2, "is not the name of a value, such as alpha or depths[0]"),
        ("depths[" + "9" * 5000 + "]", 2, "is not the name of a value, such as alpha or depths[0]"),
        ("extends", "smlpnet_s", "--set extends: 'extends' can be set in a file only"),
        ("input.height", 10**9, "--set input.height: input.height: expected at most 1,048,576, "),
        ("input.depth", 3, "--set input.depth: unknown key 'depth'"),
        ("stages.stage9.repeat", 3, "stage 'stage9' has neither 'enter' nor 'body'"),
        ("classes", "ten", "--set classes: classes: expected a whole number, found 'ten'"),
    ],
)
def test_override(name: str, value: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        expand(load("smlpnet_t").with_values({name: value}, origin="--set"))
    assert message in str(caught.value)


# -- checkpoints -----------------------------------------------------------------------------------


class Malicious:
    """Unpickling this would create a file."""

    def __reduce__(self) -> Any:
        return (os.mkdir, ("gotcha",))


def weights_refusal(path: str) -> str:
    from archspec.api import build
    from archspec.errors import WeightsError

    with pytest.raises(WeightsError) as caught:
        build(loads(SMALL), weights=path)
    assert caught.value.mark is not None
    return str(caught.value)


def save(entries: Any, path: str) -> None:
    import torch
    from safetensors.torch import save_file

    if path.endswith(".safetensors"):
        save_file(entries, path)
    else:
        torch.save(entries, path)


def good() -> dict[str, Any]:
    from archspec.api import build

    return dict(build(loads(SMALL)).state_dict())


def test_missing_checkpoint() -> None:
    assert weights_refusal("no.pth") == "no.pth: there is no such checkpoint"
    Path("folder.pth").mkdir()
    assert weights_refusal("folder.pth") == "folder.pth: is a folder, not a checkpoint"


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_truncated_checkpoint(suffix: str) -> None:
    path = Path(f"w.{suffix}")
    save(good(), str(path))
    whole = path.read_bytes()
    for length in (0, 1, 8, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert weights_refusal(str(path)).startswith(
            f"w.{suffix}: is not a checkpoint, or is cut short"
        )


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize(
    "raw", [b"hello", b"\x80\x02.", b"\x80\x04K\x01.", b"PK\x03\x04" + b"x" * 99]
)
def test_file_that_is_no_checkpoint(suffix: str, raw: bytes) -> None:
    Path(f"w.{suffix}").write_bytes(raw)
    assert weights_refusal(f"w.{suffix}").startswith(f"w.{suffix}: ")


@pytest.mark.parametrize("protocol", [2, 4])
def test_malicious_pickle_is_not_run(protocol: int) -> None:
    import torch

    Path("old.pth").write_bytes(pickle.dumps({"a": Malicious()}, protocol=protocol))
    torch.save({"a": Malicious()}, "new.pth")
    for name in ("old.pth", "new.pth"):
        assert weights_refusal(name).startswith(f"{name}: ")
        assert not Path("gotcha").exists()
    assert weights_refusal("new.pth") == (
        f"new.pth: holds a Python object that is no tensor ({os.name}.mkdir) and was not opened\n"
        "  save its state dict alone: torch.save(model.state_dict(), FILE)"
    )


def test_checkpoint_of_another_network() -> None:
    import torch

    entries = good()
    del entries["head.classifier.bias"]
    entries["stem.embed.weight"] = torch.zeros(4, 3, 5, 5)
    entries["other.weight"] = torch.zeros(1)
    save(entries, "w.pth")
    assert weights_refusal("w.pth") == (
        "w.pth: does not fit network (read with the names of 'archspec'):\n"
        "  1 missing: head.classifier.bias\n"
        "  1 surplus: other.weight\n"
        "  1 of another shape: stem.embed.weight 4×3×5×5, expected 4×3×3×3"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: [1, 2], "w.pth: holds a list, expected a state dict (name → tensor)"),
        (lambda: {1: 2}, "w.pth: holds an entry called 1, expected a state dict (name → tensor)"),
        (lambda: {**good(), "epoch": 3}, "1 surplus: epoch (int)"),
        (lambda: {"ema": good()}, "1 surplus: ema (dict)"),
    ],
)
def test_checkpoint_that_holds_something_else(make: Any, message: str) -> None:
    save(make(), "w.pth")
    assert message in weights_refusal("w.pth")


def test_checkpoint_of_other_kinds_of_tensors() -> None:
    import torch

    entries = good()
    entries["head.classifier.bias"] = torch.zeros(10, dtype=torch.complex64)
    entries["stem.embed.bias"] = torch.zeros(4).to_sparse()
    save(entries, "w.pth")
    text = weights_refusal("w.pth")
    assert "2 of another kind: " in text
    assert "head.classifier.bias (complex64)" in text
    assert "stem.embed.bias (sparse or nested)" in text


# -- the command line ------------------------------------------------------------------------------


def run(*arguments: str) -> processes.Done:
    with TemporaryDirectory() as printed:
        return processes.archspec(*arguments, folder=Path.cwd(), output=Path(printed))


def assert_refused(done: processes.Done, message: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"error: {message}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cost", "nosuch.yaml"], "there is no spec 'nosuch.yaml': no such file, and none shipped"
         " under that name\n  'archspec specs' lists the shipped ones"),
        (["cost", "smlpnet_t", "--set", "alpha"], "--set takes NAME=VALUE, found 'alpha'"),
        (["cost", "smlpnet_t", "--set", "alpha=[2"],
         "--set alpha:1:3: is not valid YAML: did not find expected ',' or ']'"),
        (["cost", "smlpnet_t", "--input", "3x224"],
         "--input takes channels x height x width, found '3x224'\n"
         "  such as --input 3x224x224: channels come first"),
        (["cost", "smlpnet_t", "--input", "3x224x99999999"],
         "--input input.width: input.width: expected at most 1,048,576, found 99999999"),
        (["cost", "smlpnet_t", "--input", "3x225x224"],
         "height 225 does not divide into patches of 4"),
        (["cost", "smlpnet_space"], "has no value yet"),
    ],
)  # fmt: skip
def test_command_line(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert message in done.stderr
    assert_refused(done, done.stderr.removeprefix("error: ").rstrip("\n"))
    assert "Traceback" not in done.stderr


def test_command_line_names_the_place() -> None:
    name = os.path.relpath(FOLDER / "op_unknown.yaml")
    message = expected(FOLDER / "op_unknown.yaml").replace("op_unknown.yaml", name)
    assert_refused(run("cost", name), message)


def test_build_writes_nothing_when_it_refuses() -> None:
    Path("small.yaml").write_text(SMALL)
    Path("w.pth").write_bytes(b"x")
    done = run("build", "small.yaml", "--weights", "w.pth", "--emit", "model.py")
    assert_refused(done, "w.pth: is not a checkpoint, or is cut short")
    assert not Path("model.py").exists()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no/model.py", "cannot write no/model.py: No such file or directory"),
        (".", "--emit takes a file that ends in .py, found '.'"),
    ],
)
def test_build_emits_nowhere(target: str, message: str) -> None:
    Path("small.yaml").write_text(SMALL)
    assert_refused(run("build", "small.yaml", "--emit", target), message)
    assert sorted(path.name for path in Path().iterdir()) == ["small.yaml"]


@pytest.mark.parametrize(
    ("input_", "out", "message"),
    [
        ("{height: 1, width: 1}", 1_000_000, "big.yaml:2:28: the parameters take 4,000 GB, and"),
        ("{height: 500000, width: 500000}", 1, "big.yaml:2:9: one image takes 4,000 GB, and"),
    ],
)
def test_network_that_no_memory_holds(input_: str, out: int, message: str) -> None:
    stem = f"[{{linear: {out}}}, {{linear: {out}}}]"
    Path("big.yaml").write_text(f"input: {input_}\nstem: {stem}\n")
    done = run("build", "big.yaml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.endswith("\n  'archspec cost' counts without building\n")


def test_far_from_every_op() -> None:
    with pytest.raises(SpecError) as caught:
        loads("stem: [xyzzy]")
    known = sorted({*registry(), *CONTROL})
    assert str(caught.value) == (
        f"<text>:1:8: unknown op or block 'xyzzy'\n  known: {', '.join(known)}"
    )

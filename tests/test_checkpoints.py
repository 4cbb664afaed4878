"""Public checkpoints: what is said of them, what is kept, and what `--weights NAME` means."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import archspec
from archspec import checkpoints as module
from archspec.checkpoints import checkpoints, fetch, resolve
from archspec.cli.app import _load_commands, app
from archspec.compile.subject import find
from archspec.download import Downloaded, DownloadError, Progress, download
from archspec.errors import ArchspecError, WeightsError
from archspec.files import sha256
from archspec.spec import Spec, load
from archspec.weights import check_fit
from tests.web import Web, sending, serving

SPEC = """
name: tiny
published: {top1: 71.5}
input: {height: 8, width: 8}
classes: 3
stem: {conv: {id: embed, out: 4, kernel: 4, stride: 4}}
head: [global_pool, {linear: {id: classifier, out: classes}}]
weights:
  theirs:
    source: https://example.org/theirs
    license: MIT
    url: https://example.org/tiny.pth
    SHA
    names: {"patch.*": stem.embed.*, "fc.*": head.classifier.*}
  others: {source: "https://example.org/others", names: {"a.*": stem.embed.*}}
"""
_load_commands()


@pytest.fixture(autouse=True)
def web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Web]:
    """example.org is a server on this machine."""
    monkeypatch.setenv("ARCHSPEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:

        def from_here(
            url: str, path: Path, *, digest: str | None, progress: Progress | None
        ) -> Downloaded:
            there = url.replace("https://example.org", server.address)
            return download(there, path, digest=digest, progress=progress)

        monkeypatch.setattr(module, "download", from_here)
        yield server


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Theirs, with names of their own."""
    own = archspec.build(spec_of(tmp_path)).state_dict()
    entries = {
        name.replace("stem.embed", "patch").replace("head.classifier", "fc"): value + 1
        for name, value in own.items()
    }
    torch.save(entries, tmp_path / "theirs.pth")
    return tmp_path / "theirs.pth"


def spec_of(folder: Path, digest: str | None = None) -> Spec:
    file = folder / "tiny.yaml"
    file.write_text(SPEC.replace("SHA", "" if digest is None else f"sha256: '{digest}'"))
    return load(file)


def run(*args: str | Path) -> str:
    done = CliRunner().invoke(app, list(map(str, args)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_shipped_address_is_one() -> None:
    """https, of a file that a checkpoint can be, with its accuracy; each from a repository."""
    from archspec import catalog

    seen = 0
    for path in catalog.shipped().values():
        for each in checkpoints(load(path)):
            assert each.mapping.source, (path, each.name)
            if each.file is not None:
                seen += 1
                assert str(each.mapping.url).startswith("https://")
                assert Path(str(each.mapping.url)).suffix in module.SUFFIXES, each.mapping.url
                assert each.top1 is not None, (path, each.name)
    assert seen > 20


def test_what_a_spec_says(tmp_path: Path) -> None:
    theirs, others = checkpoints(spec_of(tmp_path))
    assert theirs.top1 == 71.5
    assert theirs.file is not None
    assert theirs.file.parent == tmp_path / "cache" / "weights"
    assert theirs.file.name.startswith("tiny-theirs-")
    assert theirs.known is None
    assert (others.file, others.top1, others.known) == (None, None, None)


def test_it_is_downloaded_once(web: Web, checkpoint: Path, tmp_path: Path) -> None:
    web.put("/tiny.pth", sending(checkpoint.read_bytes()))
    spec = spec_of(tmp_path)
    first, again = fetch(spec), fetch(spec, "theirs")
    assert (first.is_new, again.is_new) == (True, False)
    assert first.file == again.file
    assert (
        first.download
        == again.download
        == Downloaded(sha256(checkpoint), checkpoint.stat().st_size, None)
    )
    assert len(web.asked) == 1
    assert checkpoints(spec)[0].known == first.download
    assert check_fit(spec, archspec.expand(spec), first.file).naming == "theirs"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(b"x" * file.stat().st_size),
        lambda file: file.write_bytes(b""),
        lambda file: file.unlink(),
        lambda file: file.with_name(f"{file.name}.json").write_text("{}"),
        lambda file: file.with_name(f"{file.name}.json").unlink(),
    ],
)
def test_a_kept_file_that_was_spoilt_comes_again(
    spoil: Callable[[Path], object], web: Web, checkpoint: Path, tmp_path: Path
) -> None:
    web.put("/tiny.pth", sending(checkpoint.read_bytes()))
    spec = spec_of(tmp_path)
    spoil(fetch(spec).file)
    again = fetch(spec)
    assert again.is_new
    assert again.file.read_bytes() == checkpoint.read_bytes()


def test_a_kept_file_is_not_taken_for_another_hash(
    web: Web, checkpoint: Path, tmp_path: Path
) -> None:
    web.put("/tiny.pth", sending(checkpoint.read_bytes()))
    fetch(spec_of(tmp_path))
    with pytest.raises(DownloadError, match="and the spec says 0123abcd"):
        fetch(spec_of(tmp_path, "0123abcd"))


def test_a_name_or_a_file(web: Web, checkpoint: Path, tmp_path: Path) -> None:
    web.put("/tiny.pth", sending(checkpoint.read_bytes()))
    spec = spec_of(tmp_path)
    assert resolve(spec, checkpoint) == checkpoint
    assert resolve(spec, "theirs") == checkpoints(spec)[0].file
    assert resolve(spec, "missing.pth") == Path("missing.pth")


def test_a_file_goes_before_a_name(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint.rename("theirs")
    assert resolve(spec_of(tmp_path), "theirs") == Path("theirs")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "their",
            "there is no file 'their', and tiny has no weights of that name\n"
            "  did you mean 'theirs'?",
        ),
        (
            "others",
            "tiny does not say where its weights 'others' can be downloaded\n"
            "  their names are those of https://example.org/others",
        ),
    ],
)
def test_other_names_are_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        archspec.build(spec_of(tmp_path), weights=name)
    assert str(caught.value) == message


def test_a_spec_without_any() -> None:
    with pytest.raises(WeightsError) as caught:
        fetch(load("fnet"))
    assert str(caught.value) == "fnet says of no checkpoint where it can be downloaded"
    with pytest.raises(WeightsError, match="fnet has no weights called 'timm'\n  it says of no"):
        fetch(load("fnet"), "timm")


def test_python_takes_a_name(web: Web, checkpoint: Path, tmp_path: Path) -> None:
    web.put("/tiny.pth", sending(checkpoint.read_bytes()))
    model = archspec.build(spec_of(tmp_path), weights="theirs")
    expected = torch.load(checkpoint)["patch.weight"]
    assert torch.equal(model.state_dict()["stem.embed.weight"], expected)


def test_the_table(web: Web, checkpoint: Path, tmp_path: Path) -> None:
    spec_of(tmp_path)
    shown = run("weights", tmp_path / "tiny.yaml")
    for text in (
        "71.5", "≈ 0.0 MB in fp32", "MIT", "no", "theirs: names as in https://example.org/theirs",
        "https://example.org/tiny.pth", "no address to download from",
    ):  # fmt: skip
        assert text in shown
    assert web.asked == []
    (row,) = json.loads(run("weights", tmp_path / "tiny.yaml", "theirs", "--json"))
    assert row == {
        "name": "theirs", "source": "https://example.org/theirs", "license": "MIT",
        "url": "https://example.org/tiny.pth", "top1": 71.5, "sha256": None, "size": None,
        "expected_size": 4 * (3 * 16 * 4 + 4 + 4 * 3 + 3), "file": None,
    }  # fmt: skip


def test_the_command_downloads(web: Web, checkpoint: Path, tmp_path: Path) -> None:
    web.put("/tiny.pth", sending(checkpoint.read_bytes()))
    file, copy = tmp_path / "tiny.yaml", tmp_path / "copy.pth"
    spec_of(tmp_path)
    shown = run("weights", file, "theirs", "--download", "--output", copy)
    for text in (
        "downloaded from https://example.org/tiny.pth",
        f"SHA-256 {sha256(checkpoint)}, but nothing vouches for it",
        "✓ every name and every shape is this network's",
        f"Copy: {copy}", f"Use: archspec build {file} --weights theirs",
    ):  # fmt: skip
        assert text in shown
    assert copy.read_bytes() == checkpoint.read_bytes()
    assert "downloaded before" in run("weights", file, "--download")
    facts = json.loads(run("weights", file, "--download", "--json"))
    assert facts["vouched_by"] is None
    assert facts["naming"] == "theirs"
    assert "yes" in run("weights", file)
    assert json.loads(run("build", file, "--weights", "theirs", "--json"))["weights"] == {
        "file": str(checkpoints(load(file))[0].file), "naming": "theirs", "resized": [],
    }  # fmt: skip
    assert len(web.asked) == 1


def test_a_checkpoint_of_another_network_is_told(
    web: Web, checkpoint: Path, tmp_path: Path
) -> None:
    entries = torch.load(checkpoint)
    torch.save(entries | {"extra": torch.zeros(1)}, checkpoint)
    web.put("/tiny.pth", sending(checkpoint.read_bytes()))
    spec_of(tmp_path)
    with pytest.raises(WeightsError, match="1 surplus: extra"):
        run("weights", tmp_path / "tiny.yaml", "--download")


def test_output_alone_is_refused(tmp_path: Path) -> None:
    spec_of(tmp_path)
    with pytest.raises(ArchspecError, match="--output needs --download"):
        run("weights", tmp_path / "tiny.yaml", "--output", tmp_path / "x.pth")


def test_compile_and_export_take_a_name(web: Web, checkpoint: Path, tmp_path: Path) -> None:
    web.put("/tiny.pth", sending(checkpoint.read_bytes()))
    spec_of(tmp_path)
    told: list[int] = []
    subject = find(
        tmp_path / "tiny.yaml", weights="theirs", progress=lambda here, total: told.append(here)
    )
    assert subject.weights == checkpoints(subject.spec)[0].file
    assert told[-1] == checkpoint.stat().st_size


@pytest.mark.parametrize("command", ["build", "train", "compile"])
def test_interpolate_without_weights_is_refused(command: str, tmp_path: Path) -> None:
    spec_of(tmp_path)
    with pytest.raises(ArchspecError, match="--interpolate resizes what --weights loads: give"):
        run(command, tmp_path / "tiny.yaml", "--interpolate")

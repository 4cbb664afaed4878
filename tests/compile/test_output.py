"""A folder is written whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from archspec.compile.errors import CompileError
from archspec.compile.manifest import MANIFEST
from archspec.compile.output import filling


def fill(output: Path, text: str) -> None:
    with filling(output) as folder:
        (folder / MANIFEST).write_text(text)


def test_it_appears_when_it_is_whole(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "artefact"
    with filling(output) as folder:
        (folder / MANIFEST).write_text("{}")
        assert not output.exists()
    assert [path.name for path in output.parent.iterdir()] == ["artefact"]


def test_an_artefact_is_replaced(tmp_path: Path) -> None:
    output = tmp_path / "artefact"
    fill(output, "old")
    (output / "more").write_text("of the old one")
    fill(output, "new")
    assert [path.name for path in output.iterdir()] == [MANIFEST]
    assert (output / MANIFEST).read_text() == "new"
    assert list(tmp_path.iterdir()) == [output]


def test_a_fault_leaves_what_was_there(tmp_path: Path) -> None:
    output = tmp_path / "artefact"
    fill(output, "old")
    with pytest.raises(ZeroDivisionError), filling(output) as folder:
        (folder / "half").write_text(str(1 // 0))
    assert (output / MANIFEST).read_text() == "old"
    assert list(tmp_path.iterdir()) == [output]


def test_other_folders_and_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("!")
    (tmp_path / "file").write_text("!")
    for name in ("mine", "file"):
        with pytest.raises(CompileError) as caught, filling(tmp_path / name):
            pytest.fail("nothing may be compiled")
        assert str(caught.value) == (
            f"{tmp_path / name} is there already and is no artefact\n"
            "  --output names another folder"
        )
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "!"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "empty", "new")
    assert (tmp_path / "empty" / MANIFEST).read_text() == "new"


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("!")
    output = tmp_path / "file" / "artefact"
    with pytest.raises(CompileError) as caught, filling(output):
        pytest.fail("nothing may be compiled")
    assert str(caught.value) == (f"cannot write {output}: {output.parent} is a file, not a folder")


def test_a_killed_compilation_leaves_no_artefact(tmp_path: Path) -> None:
    output = tmp_path / "artefact"
    code = (
        "import os, sys; from pathlib import Path; from archspec.compile.output import filling\n"
        "with filling(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').write_text('half'); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(output)], check=False)
    assert killed.returncode == -9
    assert not output.exists()
    assert len(list(tmp_path.iterdir())) == 1  # what it had begun …
    fill(output, "new")
    assert list(tmp_path.iterdir()) == [output]  # … the next one takes away


def test_what_another_process_has_begun_is_left_alone(tmp_path: Path) -> None:
    begun = tmp_path / f".artefact.{os.getppid()}.unfinished"
    begun.mkdir()
    fill(tmp_path / "artefact", "new")
    assert begun.exists()

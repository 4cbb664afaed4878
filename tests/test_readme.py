"""The README and the documents run as they are printed.

A ```yaml block is saved under the file name that the text before it gives. A ```console block is
run; what it shows must be in the output, in that order, with … for what is left out. A ```python
block is run, and a comment after print(…) is what it prints.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from archspec.compile import backends, rewriting
from tests import processes

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_console(block: str, folder: Path, printed: Path) -> None:
    for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, _, shown = command.partition("\n")
        words = shlex.split(line, comments=True)
        assert words[0] == "archspec", f"only archspec commands are run, found {line!r}"
        environment = {"COLUMNS": "120", "ARCHSPEC_CACHE": str(printed / "cache")}
        done = processes.archspec(
            *words[1:], folder=folder, output=printed, environment=environment
        )
        expected = [part for part in shown.split("…") if part.strip()]
        wanted = (1, 2) if any("error:" in part for part in expected) else (0,)
        assert done.returncode in wanted, f"$ {line}\n{done.stdout}{done.stderr}"
        output, at = done.stdout + done.stderr, 0
        for part in expected:
            text = "\n".join(row.rstrip() for row in part.strip("\n").splitlines())
            squeezed = "\n".join(row.rstrip() for row in output.splitlines())
            found = squeezed.find(text.strip(), at)
            assert found >= 0, f"$ {line}\ndoes not print\n{text}\nbut\n{squeezed}"
            at = found


def run_python(block: str, folder: Path, printed: Path) -> None:
    done = processes.python(block, folder, printed)
    assert done.returncode == 0, f"{block}\n{done.stderr}"
    promised = re.findall(r"print\(.*\)\s+# (\d+)", block)
    for value in promised:
        assert value in done.stdout.split()


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what commands print, and for a cache that all documents share."""
    return tmp_path_factory.mktemp("printed")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_document(document: Path, tmp_path: Path, printed: Path) -> None:
    text = document.read_text()
    blocks = list(FENCE.finditer(text))
    assert blocks, "a document without an example"
    shutil.copytree(ROOT / "docs" / "demo", tmp_path / "docs" / "demo")
    for block in blocks:
        kind, body = block[1], block[2]
        if kind == "yaml":
            before = text[: block.start()].splitlines()
            names = re.findall(r"`([\w/]+\.yaml)`", " ".join(before[-4:]))
            if names:
                (tmp_path / names[-1]).write_text(body)
        elif kind == "console":
            run_console(body, tmp_path, printed)
        elif kind == "python":
            run_python(body, tmp_path, printed)


def backend_rows() -> list[str]:
    """The table of docs/compile.md, as the backends themselves say it."""
    rows = []
    for name, kind in sorted(backends.find_all().items()):
        precisions = (", ".join(kind.precisions.get(on, ("–",))) for on in ("cpu", "cuda"))
        files = ", ".join(f"`{file}`" for file in kind.files)
        extra = f"`{kind.extra}`" if kind.extra else "–"
        marks = ("yes" if so else "no" for so in (kind.is_bound, kind.runs_code))
        rows.append(
            f"| {' | '.join((f'`{name}`', kind.about, *precisions, files, extra, *marks))} |"
        )
    return rows


def rewrite_rows() -> list[str]:
    return [
        f"| `{name}` | {cls.about} | {cls.precondition} |"
        for name, cls in rewriting.find_all().items()
    ]


@pytest.mark.parametrize("rows", [backend_rows(), rewrite_rows()], ids=["backends", "rewrites"])
def test_the_tables_are_the_registries(rows: list[str]) -> None:
    table = "\n".join(["", *rows, "", ""])  # no row more, and none less
    text = (ROOT / "docs" / "compile.md").read_text()
    assert "| --- |" + table in text, f"docs/compile.md should have{table}"


def test_the_check_can_fail(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="does not print"):
        run_console("$ archspec --version\narchspec 99\n", tmp_path, tmp_path)
    with pytest.raises(AssertionError):
        run_python("raise SystemExit(1)", tmp_path, tmp_path)

"""The wheel holds what an installed archspec needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from archspec import catalog

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tree, so that nothing is left behind in it."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "tree"
    ignore = shutil.ignore_patterns(".venv", ".git", "*.egg-info", "__pycache__", "build", "runs")
    shutil.copytree(ROOT, copy, symlinks=True, ignore=ignore)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
         "-w", str(folder), str(copy)],
        check=True, capture_output=True,
    )  # fmt: skip
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_is_complete(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in catalog.shipped().values():
        assert f"archspec/specs/{path.relative_to(catalog.FOLDER)}" in names
    for source in (ROOT / "archspec").rglob("*.py"):
        assert str(source.relative_to(ROOT)) in names
    for source in (ROOT / "search").rglob("*"):  # archspec/search is a link to it
        if source.suffix in (".py", ".jinja"):
            assert f"archspec/{source.relative_to(ROOT)}" in names
    assert "archspec/py.typed" in names


def test_wheel_runs_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "import archspec; print(archspec.__file__, archspec.cost('smlpnet_b').flops)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {_paths(tmp_path)!r}; {code}"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(tmp_path) in done.stdout
    assert "14028487424" in done.stdout


def _paths(tmp_path: Path) -> list[str]:
    """The wheel's own folder, then the dependencies', and not the tree's."""
    site = [path for path in sys.path if path.endswith("site-packages")]
    return [str(tmp_path / "site"), *site]

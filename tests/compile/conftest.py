"""What the tests of compiling share: a cache of their own, and the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

import archspec.cli.app as command_line

NETWORK = """
name: net
input: {channels: 3, height: 8, width: 6}
classes: 4
vars: {dim: 4}
stages:
  only:
    enter: [{conv: {out: dim, kernel: 3, id: embed}}]
    body: [batch_norm, {linear: {id: row, axis: height}}, gelu]
head: [global_pool, {linear: {id: classifier, out: classes}}]
"""
"""A network that is compiled in a fraction of a second."""


@pytest.fixture(autouse=True, scope="session")
def _shared_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    """For fixtures that live longer than a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHSPEC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHSPEC_CACHE", str(tmp_path_factory.mktemp("cache")))


@dataclass(frozen=True)
class Said:
    """What a command printed."""

    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`command("compile", …, code=2)` runs archspec as its user would, in this process."""
    monkeypatch.setenv("COLUMNS", "120")

    def run(*words: object, code: int = 0) -> Said:
        monkeypatch.setattr("sys.argv", ["archspec", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        said = Said(*capsys.readouterr())
        assert (ended.value.code or 0) == code, said
        return said

    return run

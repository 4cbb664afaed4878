"""Passwords in a database's URL are seen nowhere; files are the user's own; names lead nowhere."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
from pathlib import Path
from typing import Any

import pytest

import archspec
from archspec.cli.app import _load_commands, app
from archspec.errors import ArchspecError, SpecError
from archspec.search.addresses import concealed, shown, url_of
from archspec.search.listener import Listener
from archspec.search.storage import connect, load_study
from archspec.spec import Spec, loads
from benchmarks import postgres
from tests.search import searches
from tests.search.searches import search
from tests.search.test_status import rows

_load_commands()


def refused(call: Any) -> str:
    with pytest.raises(ArchspecError) as caught:
        call()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__  # no traceback
    return str(caught.value)


# -- passwords -------------------------------------------------------------------------------------

REFUSED = (
    'cannot be reached: connection failed: connection to server at "127.0.0.1", port 1 failed: '
    "Connection refused\n"
    "  does it run, and may this machine connect to it? Finished trials are kept"
)
TOO_MANY = (
    "--storage: cannot be read as the URL of a database: it has an @ too many\n"
    "  in a password, %40 stands for @, %3A for :, %2F for /"
)
NO_URL = (
    "--storage: cannot be read as the URL of a database\n"
    "  such as study.db (SQLite) or postgresql+psycopg://user@host/name"
)


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("me:s3cr3t@127.0.0.1:1/x", f"postgresql+psycopg://me:***@127.0.0.1:1/x: {REFUSED}"),
        ("me:s3%40cr3t@127.0.0.1:1/x", f"postgresql+psycopg://me:***@127.0.0.1:1/x: {REFUSED}"),
        ("me:{s3cr3t}@127.0.0.1:1/x", f"postgresql+psycopg://me:***@127.0.0.1:1/x: {REFUSED}"),
        ("me@127.0.0.1:1/x?password=s3cr3t",
         f"postgresql+psycopg://me@127.0.0.1:1/x: {REFUSED}"),
        ("me:s3cr3t@127.0.0.1:1/x?sslmode=s3cr3t",
         "postgresql+psycopg://me:***@127.0.0.1:1/x: the storage failed: connection is bad: "
         'invalid sslmode value: "***"'),
        ("me:top@s3cr3t@127.0.0.1:1/x", TOO_MANY),
        ("me:top@s3cr3t/word@127.0.0.1:1/x", TOO_MANY),
        ("me:top@s3?cr3t@127.0.0.1:1/x", TOO_MANY),
        ("me@127.0.0.1:s3cr3t/x", NO_URL),
    ],
)  # fmt: skip
def test_a_database_out_of_reach(storage: str, message: str) -> None:
    url = f"postgresql+psycopg://{storage}"
    assert refused(lambda: connect(url, shared=True)) == message
    assert refused(lambda: load_study("study", url)) == message


@pytest.mark.parametrize(
    "storage",
    [
        "postgresql:me:s3cr3t@host/x",
        "postgresql:/me:s3cr3t@host/x",
        "me:s3cr3t@host/x",
        "host=h user=me password=s3cr3t",
    ],
)
def test_what_is_meant_as_an_address_becomes_no_file(storage: str, tmp_path: Path) -> None:
    assert refused(lambda: url_of(storage, tmp_path)) == NO_URL
    for path in ("runs/host.db", "C:/a@b/host.db", "me@home/a:b.db"):
        assert url_of(path, tmp_path) == f"sqlite:///{path}"


def test_a_file_s_path_without_options() -> None:
    assert shown("sqlite:///runs/x.db?password=s3cr3t") == "runs/x.db"
    assert refused(lambda: connect("sqlite:///runs/x.db?password=s3cr3t")) == (
        "runs/x.db: the path of a study's file cannot have a ?"
    )


@pytest.mark.parametrize("said", ["p%40ss/w", "p%40ss%2Fw", "p@ss/w", "k3y", "t0ken"])
def test_whatever_a_driver_says(said: str) -> None:
    url = "postgresql+psycopg://me:p%40ss%2Fw@host/x?sslpassword=k3y&token=t0ken&sslmode=require"
    assert (
        concealed(f"no: {said.replace('p%40ss/w', 'p@ss/w')}, require", url) == "no: ***, require"
    )


class Overhearing(Listener):
    """Keeps what is told of the storage, and how the workers' processes are called."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.titles: dict[int, str] = {}

    def note(self, text: str) -> None:
        self.told.append(text)

    def planned(self, plan: Any) -> None:
        self.told.append(json.dumps(plan.to_dict()))

    def of_worker(self, worker: int, event: str, *given: Any) -> None:
        super().of_worker(worker, event, *given)
        for child in multiprocessing.active_children():
            for name in ("cmdline", "environ", "comm"):
                path = Path(f"/proc/{child.pid}/{name}")
                if child.pid is not None and path.exists():
                    self.titles[child.pid] = self.titles.get(child.pid, "") + path.read_text(
                        errors="replace"
                    )


def test_a_whole_search_on_a_database_with_a_password(
    server: postgres.Server, tmp_path: Path
) -> None:
    """Two workers: their processes, what is told, every file, the study and the commands."""
    url = server.database().replace("postgres@", "postgres:s3cr3t%40word@") + "&sslpassword=0ther"
    heard = Overhearing()
    more = {"storage": url, "listener": heard, "report": True, "workers": 2, "trials": 3}
    outcome = search(tmp_path, **more, epochs=1, finalists=1)
    assert outcome.weights is not None
    assert len(heard.titles) >= 2
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"report.html", "winner.json", "winner.yaml"} <= {path.name for path in files}
    texts = [path.read_bytes().decode(errors="replace") for path in files]
    texts += [*heard.told, *heard.titles.values(), json.dumps(rows(url))]
    texts.append(json.dumps(outcome.record.to_dict()))
    where = ["--storage", url, "--runs", str(tmp_path)]
    from typer.testing import CliRunner

    for command in (["status", "study"], ["status", "study", "--json"], ["report", "study"],
                    ["report", "study", "--json"]):  # fmt: skip
        done = CliRunner().invoke(app, ["search", *command, *where])
        assert done.exit_code == 0
        texts.append(done.output)
    for text in texts:
        for secret in ("s3cr3t", "0ther"):
            assert secret not in text
    assert any("postgresql+psycopg://postgres:***@/" in text for text in texts)


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o077, 0o022, 0o027])
def test_permissions_are_those_of_the_umask(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        search(tmp_path / "own", trials=2, epochs=1, finalists=1, report=True)
        shared = {"storage": str(tmp_path / "data" / "shared.db"), "trials": 2, "epochs": 1}
        search(tmp_path / "several", **shared, finalists=1)
    finally:
        os.umask(before)
    made = [path for top in ("own", "data", "several") for path in (tmp_path / top).rglob("*")]
    names = {path.name for path in made}
    assert {"study.db", "shared.db", "winner.json", "winner.safetensors", "report.html"} <= names
    for path in made:
        usual = (0o777 if path.is_dir() else 0o644) & ~mask  # SQLite's own files are 0o644 at most
        found = stat.S_IMODE(path.stat().st_mode)
        assert found in (usual, 0o666 & ~mask), f"{path} has {found:o}"


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["search", "report", "status", "status --study"])
@pytest.mark.parametrize("name", ["..", ".", "a\0b", "", "-x", "a b", "ü"])
def test_names_that_are_none(
    command: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    words = {
        "search": ["search", "--budget", searches.BUDGET, "--study", name],
        "report": ["search", "report", "--", name],
        "status": ["search", "status", "--", name],
        "status --study": ["search", "status", "--study", name],
    }[command]
    assert refused(lambda: app(words, standalone_mode=False)).startswith(
        "a study's name has letters, digits and . _ + - (at most 100, the first no sign), found "
    )
    assert [path.name for path in tmp_path.rglob("*")] == ["inner"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/b", "a/../../x", "link/../x"])
def test_a_search_is_not_led_out_of_its_folder(name: str, tmp_path: Path) -> None:
    chosen = searches.options(tmp_path / "runs", study=name)
    assert refused(lambda: archspec.search.run(searches.space(), searches.BUDGET, **chosen)) == (
        "a study's name has letters, digits and . _ + - (at most 100, the first no sign), found "
        f"{name!r}"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["..", ".", "a\0b"])
def test_compile_is_not_led_out_of_the_runs(name: str, tmp_path: Path) -> None:
    from archspec.compile.studies import study_folder

    for folder in (tmp_path, tmp_path / "runs"):
        folder.mkdir(exist_ok=True)
        (folder / "lock").touch()  # both look like searches
    with pytest.raises(ArchspecError, match="there is no study"):
        study_folder(name, tmp_path / "runs")


def test_what_a_database_says_is_no_path(tmp_path: Path) -> None:
    """Nothing is opened where a worker claims to be."""
    from archspec.search.status import _state
    from archspec.search.workers import parted

    trap = tmp_path / "trap"
    trap.mkdir()
    os.mkfifo(trap / "lock")  # whoever opens it waits for ever
    machine = os.uname().nodename
    assert parted(f"{machine}:{trap}#12") == (machine, str(trap), 12)
    assert _state(f"{machine}:{trap}", None, tmp_path / "study") == "unknown"


# -- the report ------------------------------------------------------------------------------------

EVIL = "</text></svg></script><script>alert(1)</script><img src=x onerror=alert(2)>"


def evil(spec: Spec) -> float:
    if archspec.cost(spec).params < 300:
        raise SpecError(EVIL)  # which its trial keeps
    return float(archspec.cost(spec).params)


def test_the_report_escapes_what_a_spec_or_a_study_says(tmp_path: Path) -> None:
    from html.parser import HTMLParser

    space = loads(searches.SPACE.replace("For tests.", EVIL), "evil.yaml")
    evil.__name__ = EVIL
    chosen = searches.options(tmp_path, objective=evil, trials=6, finalists=0, report=True)
    outcome = archspec.search.run(space, searches.BUDGET, **chosen)
    assert outcome.report is not None
    page = outcome.report.read_text(encoding="utf-8")
    tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            assert not any(name.startswith("on") for name, _ in attrs)

    Reader().feed(page)
    assert tags.count("script") == 1  # its own
    assert "img" not in tags
    assert "alert(1)" in page
    assert "<script>alert" not in page
    for picture in (outcome.folder / "plots").glob("*.svg"):
        assert "<script" not in picture.read_text(encoding="utf-8")

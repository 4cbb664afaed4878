"""What a search refuses, word for word, before anything is trained."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from PIL import Image

import archspec
from archspec.cli.app import _load_commands, app
from archspec.errors import ArchspecError
from archspec.search import run
from archspec.search.storage import shown
from archspec.spec import Spec, loads
from tests.search import searches
from tests.search.searches import search

_load_commands()
TOO_LOW = """no network of little is inside 1..2 FLOPs
  the cheapest: 3.9K FLOPs (dim=4, depth=1, mixer=skip)
  the dearest: 14.712K FLOPs (dim=8, depth=3, mixer=rows)
  choose a budget between them"""
NAME = "a study's name has letters, digits and . _ + - (at most 100, the first no sign), found "


UNSENDABLE = functools.partial(max, (each for each in ()))
"""An objective that no pipe takes."""


def parameters(spec: Spec) -> float:
    return float(archspec.cost(spec).params)


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(ArchspecError) as caught:
        call()
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": "1..2"}, TOO_LOW),
        ({"budget": "5 apples"},
         "--budget: expected a budget, found '5 apples'\n"
         "  such as 5GFLOPs, 600M, 30Mparams, 4.5G..5G, or a spec that is not to be exceeded"),
        ({"budget": ()},
         "a search needs a budget\n  such as --budget 5GFLOPs, or --budget smlpnet_t"),
        ({"trials": 0}, "the number of trials must be 1 or more, found 0"),
        ({"finalists": -1}, "the number of finalists must be 0 or more, found -1"),
        ({"seed": -1}, "the seed must be 0 or more, found -1"),
        ({"time_limit": -1.5}, "the time limit must be 0 or more, found -1.5"),
        ({"time_limit": float("nan")}, "the time limit must be 0 or more, found nan"),
        ({"time_limit": float("inf")}, "the time limit must be finite\n  leave it out for none"),
        ({"resolution": 0}, "the resolution must be 1 or more, found 0"),
        ({"limit": 0}, "the limit on training images must be 1 or more, found 0"),
        ({"epochs": 0}, "the number of epochs must be 1 or more, found 0"),
        ({"batch_size": 0}, "the batch size must be 1 or more, found 0"),
        ({"precision": "fp8"}, "precision: input should be 'fp32' or 'bf16', found 'fp8'"),
        ({"sampler": "tpee"}, "there is no sampler 'tpee'\n  did you mean 'tpe'?"),
        ({"objective": "acuracy"},
         "there is no objective 'acuracy'\n  did you mean 'accuracy'?"),
        ({"objective": "naswot,naswot"}, "an objective is named twice in 'naswot,naswot'"),
        ({"objective": "flops"},
         "nothing needs to be searched for 'flops': the cheapest network is known\n"
         "  name something to be good at too: --objective accuracy,flops"),
        ({"objective": 3}, "an objective is a name or a function of a Spec, found 3"),
        ({"workers": 0}, "the number of workers must be 1 or more, found 0"),
        ({"workers": 2, "objective": "accuracy, latency"},
         "latency cannot be measured beside other workers of the same machine, which slow each "
         "other down\n"
         "  leave out --workers; other machines may share the study with --storage"),
        ({"workers": 2, "objective": UNSENDABLE},
         "the objective cannot be sent to other processes: cannot pickle 'generator' object\n"
         "  define it at the top of a module, or search with workers=1"),
        ({"device": "tpu"},
         "there is no device 'tpu'\n  known: auto, cpu, cuda, cuda:0, cuda:1, …"),
        ({"study": "../x"}, f"{NAME}'../x'"),
        ({"study": ".."}, f"{NAME}'..'"),
        ({"study": "a/b"}, f"{NAME}'a/b'"),
        ({"study": ""}, f"{NAME}''"),
    ],
)  # fmt: skip
def test_wrong_input(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    budget = options.pop("budget", searches.BUDGET)
    chosen = searches.options(tmp_path) | options
    assert refused(lambda: run(searches.space(), budget, **chosen)) == message
    assert list(tmp_path.iterdir()) == []


def test_a_budget_is_refused_before_the_data_are_looked_at(tmp_path: Path) -> None:
    chosen = searches.options(tmp_path, data="nowhere")
    assert refused(lambda: run(searches.space(), "1..2", **chosen)) == TOO_LOW


def test_a_spec_without_holes(tmp_path: Path) -> None:
    path = Path(archspec.load("smlpnet_t").file or "")
    assert refused(lambda: run("smlpnet_t", "5GFLOPs", folder=tmp_path)) == (
        f"{path}:2:1: smlpnet_t leaves nothing open: there is one network only\n"
        "  let {choice: […]} or {int: […, …]} stand for a value, or take --space smlpnet_space"
    )


def test_a_size_that_no_network_has(tmp_path: Path) -> None:
    chosen = {"data": None, "resolution": 30, "folder": tmp_path}
    assert refused(lambda: run("smlpnet_space", "5GFLOPs", **chosen)) == (
        "--resolution: smlpnet_space has no networks for images of 30×30: "
        "height 30 does not divide into patches of 4\n"
        "  at 'stage1.patches.embed', which reads 'input' (C3 H30 W30)\n"
        "  its own size is 224×224"
    )


# -- data ------------------------------------------------------------------------------------------


def image_folder(root: Path, classes: int, broken: int = 0) -> Path:
    random = np.random.default_rng(0)
    for label in range(classes):
        (root / f"class{label}").mkdir(parents=True)
        for number in range(12):
            pixels = random.integers(0, 255, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"class{label}" / f"{number}.png")
    for number in range(broken):
        (root / "class0" / f"broken{number}.png").write_bytes(b"no image")
    return root


def on(data: Path | str, folder: Path, listener: Any = None) -> Any:
    return search(folder, data=str(data), trials=1, epochs=1, finalists=0, listener=listener)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_data_that_cannot_be_trained_on(tmp_path: Path) -> None:
    one = image_folder(tmp_path / "one", classes=1)
    assert "class" in refused(lambda: on(one, tmp_path / "runs"))
    (tmp_path / "none" / "a").mkdir(parents=True)
    assert str(tmp_path / "none") in refused(lambda: on(tmp_path / "none", tmp_path / "runs"))
    assert refused(lambda: on("nowhere", tmp_path / "runs")).startswith(
        "there is no file or folder 'nowhere'\n"
    )
    assert not (tmp_path / "runs").exists()


def test_unreadable_images_are_told(tmp_path: Path) -> None:
    from tests.search.test_faults import Ears

    heard = Ears()
    outcome = on(image_folder(tmp_path / "data", 3, broken=2), tmp_path / "runs", heard)
    ((note,),) = heard.of("note")
    assert note.startswith("left out, unreadable: 2 images, such as ")
    assert "broken" in note
    assert outcome.record.data.endswith("3 classes, 2 unreadable, skipped")


# -- studies and storages --------------------------------------------------------------------------


def searched_in(folder: Path, **more: Any) -> Any:
    """A search that trains nothing."""
    return search(folder, **({"objective": parameters, "trials": 2} | more))


def test_a_study_of_something_else(tmp_path: Path) -> None:
    """Each setting that differs is told, as it was and as it is."""
    search(tmp_path, trials=1, finalists=0)
    other = loads(searches.SPACE.replace("[1, 3]", "[1, 2]"), "little.yaml")
    chosen = searches.options(
        tmp_path, seed=4, epochs=2, data=searches.images(60), sampler="uniform"
    )
    found = refused(lambda: run(other, "1k..40k", **chosen)).splitlines()
    space = (searches.space().digest[:12], other.digest[:12])
    assert found == [
        "the study 'study' is another one",
        f"  the space's content: {space[0]}… there, {space[1]}… now",
        "  the budget: 1K..50K FLOPs there, 1K..40K FLOPs now",
        "  the sampler: tpe there, uniform now",
        "  the seed: 3 there, 4 now",
        "  the data's images: digest of 72… there, digest of 60… now",
        "  epochs: 4 there, 2 now",
        "  choose another name with --study, or the same settings to go on",
    ]
    assert len(search(tmp_path, trials=1, finalists=0).record.trials) == 1


def test_a_study_with_other_objectives(tmp_path: Path) -> None:
    search(tmp_path, objective="naswot", trials=1, finalists=0)
    assert refused(lambda: search(tmp_path, objective="naswot,flops", finalists=0)) == (
        "the study 'study' is another one: it has other objectives\n"
        "  choose another name with --study"
    )


def test_a_study_of_plain_optuna(tmp_path: Path) -> None:
    path = tmp_path / "plain.db"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=f"sqlite:///{path}", study_name="study", direction="maximize"
    )
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert refused(lambda: searched_in(tmp_path, storage=str(path))) == (
        "the study 'study' was not made by archspec\n  choose another name with --study"
    )
    report = ["search", "report", "study", "--storage", str(path)]
    assert refused(lambda: app(report, standalone_mode=False)) == (
        "the study 'study' was not made by archspec"
    )


DAMAGED = (
    "is no study's database, or is damaged; it was left as it is\n"
    "  move it away to begin anew; --storage names another"
)


@pytest.mark.parametrize("kind", ["garbage", "truncated", "overwritten", "foreign"])
def test_files_that_are_no_study(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "study" / "study.db"
    searched_in(tmp_path)
    content = bytearray(path.read_bytes())
    expected = f"{path}: {DAMAGED}"
    if kind == "garbage":
        content = bytearray(b"garbage" * 100)
    elif kind == "truncated":
        del content[len(content) // 2 :]
    elif kind == "overwritten":
        content[4096:20000] = b"\xa5" * (20000 - 4096)
    path.write_bytes(content)
    if kind == "foreign":
        path.unlink()
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE letters (text)")
        content = bytearray(path.read_bytes())
        expected = (
            f"{path}: is another program's database, not a study's; it was left as it is\n"
            "  move it away to begin anew; --storage names another"
        )
    assert refused(lambda: searched_in(tmp_path)) == expected
    assert path.read_bytes() == content
    report = ["search", "report", str(tmp_path / "study")]
    assert refused(lambda: app(report, standalone_mode=False)) == expected
    assert path.read_bytes() == content


def test_an_empty_file_is_taken(tmp_path: Path) -> None:
    """`touch study.db`, or a disk that was full."""
    path = tmp_path / "new.db"
    path.touch()
    assert len(searched_in(tmp_path, storage=str(path)).record.trials) == 2


SUCH = "\n  such as study.db (SQLite) or postgresql+psycopg://user@host/name"


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("foo://me:secret@host/x", f"--storage: there is no kind of database 'foo'{SUCH}"),
        ("://", f"--storage: cannot be read as the URL of a database{SUCH}"),
        ("sqlite://",
         "--storage: a study is kept in a file or a database, and this is neither"),
        ("mysql+nodriver://me:secret@host/x?password=secret",
         "--storage: there is no kind of database 'mysql+nodriver'" + SUCH),
        ("/proc/nowhere/study.db",
         "/proc/nowhere/study.db: cannot be written: No such file or directory"),
        (".", ".: is a folder, not a database"),
    ],
)  # fmt: skip
def test_storages_that_cannot_be_opened(storage: str, message: str, tmp_path: Path) -> None:
    assert refused(lambda: searched_in(tmp_path, storage=storage)) == message


def test_a_missing_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "psycopg2", None)
    storage = "postgresql+psycopg2://me:secret@127.0.0.1:1/x?password=secret"
    assert refused(lambda: searched_in(tmp_path, storage=storage)) == (
        "postgresql+psycopg2://me:***@127.0.0.1:1/x: needs a driver that is not installed: "
        "psycopg2\n"
        "  pip install 'psycopg[binary]' for postgresql+psycopg://…, PyMySQL for mysql+pymysql://…"
    )


def test_a_database_that_cannot_be_reached() -> None:
    """What a driver says, as psycopg does; no server is needed to test it."""
    import sqlalchemy.exc

    from archspec.search.storage import messages

    said = 'connection to server at "127.0.0.1", port 1 failed: Connection refused\n\tIs it there?'

    def fail() -> None:
        with messages(shown("postgresql+psycopg://me:secret@127.0.0.1:1/x")):
            raise sqlalchemy.exc.OperationalError("SELECT 1", {}, RuntimeError(said))

    assert refused(fail) == (
        "postgresql+psycopg://me:***@127.0.0.1:1/x: cannot be reached: (builtins.RuntimeError) "
        'connection to server at "127.0.0.1", port 1 failed: Connection refused\n'
        "  does it run, and may this machine connect to it? Finished trials are kept"
    )


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("sqlite:///runs/x/study.db", "runs/x/study.db"),
        (
            "postgresql://me:secret@host:5432/x?sslpassword=secret",
            "postgresql://me:***@host:5432/x",
        ),
        ("postgresql://me:secret@host:port/x", "--storage"),
        ("nonsense", "--storage"),
    ],
)
def test_no_message_shows_a_password(url: str, text: str) -> None:
    assert shown(url) == text


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refused(lambda: searched_in(tmp_path / "file")) == (
        f"{tmp_path}/file/study: cannot be written: Not a directory"
    )
    assert refused(lambda: searched_in(Path("/proc/nowhere"))) == (
        "/proc/nowhere/study: cannot be written: No such file or directory"
    )


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search"], "a search needs a budget\n  such as --budget 5GFLOPs, or --budget smlpnet_t"),
        (["search", "--budget", "5G", "--time-limit", "soon"],
         "--time-limit takes a time such as 90s, 30m or 2h, found 'soon'"),
        (["search", "--budget", "5G", "--time-limit", "-1"],
         "--time-limit takes a time such as 90s, 30m or 2h, found '-1'"),
        (["search", "report", "nothing"], "runs/nothing/study.db: there is no such study\n"
            "  --storage names its database, if that is elsewhere"),
        (["search", "report", ".."], f"{NAME}'..'"),
    ],
)  # fmt: skip
def test_wrong_commands(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(lambda: app(arguments, standalone_mode=False)) == message
    assert list(tmp_path.iterdir()) == []


def test_the_report_of_a_study_that_a_storage_has_not(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    searched_in(tmp_path, storage=str(path))
    command = ["search", "report", "other", "--storage", str(path), "--runs", str(tmp_path)]
    assert refused(lambda: app(command, standalone_mode=False)) == (
        f"{path}: there is no study 'other'\n  known: study"
    )

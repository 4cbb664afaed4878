"""The winner's weights: what is left of them, whatever happens to the search on its way."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import archspec
from archspec.cli import tables_search
from archspec.errors import ArchspecError
from archspec.search.kept import Facts, is_running
from archspec.search.listener import Listener
from archspec.search.storage import locked
from archspec.search.train.tensors import read_facts, write_tensors
from archspec.spec import Spec, loads
from tests.processes import run_to
from tests.search import searches
from tests.search.searches import images, search
from tests.search.test_faults import Ears, left_behind, parameters

KILLED = -signal.SIGKILL
LEFT = ["winner.json", "winner.safetensors", "winner.yaml"]
OTHER_SIZE = searches.SPACE.replace("height: 6, width: 6", "height: 12, width: 9").replace(
    "classes: 3", "classes: 7"
)


def left(folder: Path) -> dict[str, bytes]:
    """The winner's files of a search, and all others that ought not to be there."""
    study = folder / "study"
    names = ("winner*", ".*", "finalists", "finalists/*", "trials/*")
    found = sorted({path for name in names for path in study.glob(name)})
    return {path.name: path.read_bytes() if path.is_file() else b"" for path in found}


def facts_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "study" / "winner.json").read_text())
    return found


def accuracy_of(model: torch.nn.Module, facts: Mapping[str, Any]) -> float:
    """On the held-out images, with nothing but what winner.json says."""
    held_out = images().held_out
    mean, std = (torch.tensor(facts[name]).view(1, -1, 1, 1) for name in ("mean", "std"))
    images_NCHW = (torch.from_numpy(held_out.images_NCHW).float() / 255 - mean) / std
    with torch.no_grad():
        found_N = model.eval()(images_NCHW).argmax(1).numpy()
    return float(np.mean(found_N == held_out.labels_N))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that nobody cuts."""
    folder = tmp_path_factory.mktemp("whole")
    outcome = search(folder)
    assert outcome.weights == folder / "study" / "winner.safetensors"
    return folder


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same search before any finalist was trained."""
    folder = tmp_path_factory.mktemp("before")
    search(folder, finalists=0)
    return folder


@pytest.fixture
def cut(before: Path, tmp_path: Path) -> Path:
    """A copy of it, in which processes are killed."""
    shutil.copytree(before, tmp_path / "cut")
    return tmp_path / "cut"


@pytest.fixture
def ended(whole: Path, tmp_path: Path) -> Path:
    """A copy of the whole search, to be changed."""
    shutil.copytree(whole, tmp_path / "ended")
    return tmp_path / "ended"


# -- what is left ----------------------------------------------------------------------------------


def test_the_weights_reach_the_recorded_accuracy(whole: Path) -> None:
    assert sorted(left(whole)) == LEFT
    facts = facts_of(whole)
    folder = whole / "study"
    spec = archspec.load(folder / facts["spec"])
    assert (facts["spec"], facts["spec_digest"]) == ("winner.yaml", spec.digest)
    assert facts["winner_digest"] == facts["spec_digest"]
    assert (facts["resolution"], facts["classes"]) == ([6, 6], ["red", "green", "blue"])
    assert (facts["images"], facts["seed"], facts["epochs"]) == ("noise", 1003, 4)
    model = archspec.build(spec, weights=folder / facts["weights"])
    assert accuracy_of(model, facts) == facts["accuracy"] > 1 / 3


def test_the_facts_are_those_of_the_record(tmp_path: Path) -> None:
    outcome = search(tmp_path)
    facts = Facts.model_validate_json((tmp_path / "study" / "winner.json").read_bytes())
    winner = next(f for f in outcome.record.finalists if f.number == outcome.record.winner)
    assert (facts.trial, facts.study) == (winner.number, "study")
    assert winner.accuracy == {facts.seed: facts.accuracy}
    assert facts.data == "noise: 72 images to train, 40 held out, 3 classes"
    assert facts.data_digest == images().digest
    assert (facts.mean, facts.std) == (images().mean, images().std)
    assert read_facts(outcome.weights) == {
        "network": facts_network(outcome), "settings": settings_digest(outcome), "seed": 1003,
        "epochs": 4, "accuracy": facts.accuracy, "loss": facts.loss,
    }  # fmt: skip


def facts_network(outcome: Any) -> str:
    from archspec.search.space import Space

    space = Space(searches.space())
    return space.spec_of(space.row(outcome.record.trial(outcome.record.winner).choices)).digest


def settings_digest(outcome: Any) -> str:
    from archspec.search.settings import Settings
    from archspec.search.storage import SETTINGS, load_study

    study = load_study("study", f"sqlite:///{outcome.folder}/study.db")
    return Settings.model_validate(study.user_attrs[SETTINGS]).digest


def test_a_network_that_is_trained_at_another_size_stands_in_a_spec_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(searches, "space", lambda: loads(OTHER_SIZE, "little.yaml"))
    monkeypatch.setenv("COLUMNS", "300")
    outcome = search(tmp_path, finalists=1)
    assert sorted(left(tmp_path)) == sorted([*LEFT, "winner-trained.yaml"])
    facts = facts_of(tmp_path)
    folder = tmp_path / "study"
    winner, own = archspec.load(folder / "winner.yaml"), archspec.load(folder / facts["spec"])
    assert facts["spec"] == "winner-trained.yaml"
    assert (facts["winner_digest"], facts["spec_digest"]) == (winner.digest, own.digest)
    assert own.header.about == f"{winner.header.about} As it was trained: 6×6, 3 classes."
    same = winner.to_dict() | {
        "input": {"channels": 3, "height": 6, "width": 6}, "classes": 3, "about": "",
    }  # fmt: skip
    assert own.to_dict() | {"about": ""} == same
    model = archspec.build(own, weights=outcome.weights)
    assert accuracy_of(model, facts) == facts["accuracy"]

    tables_search.show_outcome(outcome)
    shown = capsys.readouterr().out.splitlines()
    assert shown[-4:] == [
        f"Its spec: {folder}/winner.yaml",
        f"Its weights: {folder}/winner.safetensors ({facts['accuracy']:.1%} on held-out images), "
        f"of {folder}/winner-trained.yaml: 6×6, 3 classes",
        f"Check it: archspec build {folder}/winner.yaml",
        f"Compile it: archspec compile {folder} --backend aoti",
    ]


@pytest.mark.parametrize("objective", [parameters, "latency", "naswot"])
def test_without_a_fresh_training_there_are_no_weights(
    objective: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", "300")
    outcome = search(tmp_path, objective=objective, finalists=0, trials=2)
    assert outcome.weights is None
    assert sorted(left(tmp_path)) == ["winner.yaml"]
    tables_search.show_outcome(outcome)
    assert "Its weights" not in capsys.readouterr().out


def test_a_front_keeps_the_weights_of_its_winner(tmp_path: Path) -> None:
    outcome = search(tmp_path, objective="accuracy,params", trials=4)
    assert sorted(left(tmp_path)) == LEFT
    facts = facts_of(tmp_path)
    assert facts["trial"] == outcome.record.winner
    model = archspec.build(tmp_path / "study" / "winner.yaml", weights=outcome.weights)
    assert accuracy_of(model, facts) == facts["accuracy"]


def test_finalists_that_fail_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from archspec.search.candidate import Workshop
    from archspec.search.train.outcomes import Diverged

    train = Workshop.train

    def fail(self: Any, spec: Spec, seed: int, *rest: Any) -> Any:
        if seed > 1000:
            raise Diverged("diverged, for a test")
        return train(self, spec, seed, *rest)

    search(tmp_path)  # of an earlier winner
    (tmp_path / "study" / "study.db").unlink()
    monkeypatch.setattr(Workshop, "train", fail)
    outcome = search(tmp_path)
    assert outcome.winner is not None
    assert outcome.weights is None
    assert sorted(left(tmp_path)) == ["winner.yaml"]


def test_another_winner_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """Also where its weights had been thrown away when it had not won."""
    for trials in (2, 5, 9):
        outcome = search(tmp_path, trials=trials)
        facts = facts_of(tmp_path)
        assert facts["trial"] == outcome.record.winner
        model = archspec.build(tmp_path / "study" / "winner.yaml", weights=outcome.weights)
        assert accuracy_of(model, facts) == facts["accuracy"]
        assert sorted(left(tmp_path)) == LEFT


# -- kill -9 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "nth"),
    [("finalist", 2), ("finalist_ended", 1), ("finalist_ended", 2),
     ("busy checking the winner", 1), ("won", 1)],
)  # fmt: skip
def test_killed_between_two_steps(event: str, nth: int, cut: Path, whole: Path) -> None:
    assert run_to(searches.killed_at, cut, event, nth, {}) == KILLED
    search(cut)
    assert left(cut) == left(whole)


@pytest.mark.parametrize(
    ("name", "nth"), [(".safetensors", 1), (".safetensors", 2), ("winner", 1), ("winner", 2)]
)
def test_killed_while_writing(name: str, nth: int, cut: Path, whole: Path) -> None:
    """Weights of either finalist, winner.json and winner.yaml."""
    assert run_to(searches.killed_while_writing, cut, name, nth, {}) == KILLED
    assert len([name for name in left_behind(cut) if name[0] == "."]) == 1
    search(cut)
    assert left(cut) == left(whole)


def killed_around_a_move(folder: Path, to: str, after: bool) -> None:
    """Die before or after a file first gets a place with `to` in its path."""
    replace = Path.replace

    def half(path: Path, target: Any) -> Path:
        if to not in str(target):
            return replace(path, target)
        if after:
            replace(path, target)
        searches.die()
        return path

    Path.replace = half  # type: ignore[method-assign, assignment]
    search(folder)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("to", ["finalists/", *LEFT])
def test_killed_around_a_move(to: str, after: bool, cut: Path, whole: Path) -> None:
    """Between a training and its weights, these and its result, and all that is written last."""
    assert run_to(killed_around_a_move, cut, to, after) == KILLED
    heard = Ears()
    search(cut, listener=heard)
    assert left(cut) == left(whole)
    assert heard.of("note") == []
    # no training is done twice
    assert heard.events.count("step") == (9 * 4 if to == "finalists/" else 0)


# -- what is missing is trained once more ----------------------------------------------------------

NOTE = "the weights of the winner, trial {}, are not here: it is trained once more"


def test_a_study_from_before_weights_were_kept(ended: Path, whole: Path) -> None:
    for name in ("winner.json", "winner.safetensors"):
        (ended / "study" / name).unlink()
    heard = Ears()
    outcome = search(ended, listener=heard)
    assert heard.of("note") == [(NOTE.format(outcome.record.winner),)]
    assert heard.of("finalist") == [(outcome.record.winner, 1, 1, 1003)]
    assert left(ended) == left(whole)


def test_changed_weights_are_replaced(ended: Path, whole: Path) -> None:
    path = ended / "study" / "winner.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    search(ended)
    assert left(ended) == left(whole)


@pytest.mark.parametrize("content", [b"", b"no tensors", None])
def test_broken_weights_are_replaced(content: bytes | None, ended: Path, whole: Path) -> None:
    path = ended / "study" / "winner.safetensors"
    path.write_bytes(path.read_bytes()[:-1] if content is None else content)
    search(ended)
    assert left(ended) == left(whole)


def test_broken_facts_are_written_anew(ended: Path, whole: Path) -> None:
    (ended / "study" / "winner.json").write_text("{")
    heard = Ears()
    search(ended, listener=heard)
    assert "finalist" not in heard.events
    assert left(ended) == left(whole)


def test_an_ended_search_trains_nothing(ended: Path, whole: Path) -> None:
    heard = Ears()
    search(ended, listener=heard)
    assert "step" not in heard.events
    assert left(ended) == left(whole)


def test_a_result_that_does_not_come_out_again(ended: Path) -> None:
    """On another machine: winner.json has what these weights reach, the study what decided."""
    import sqlite3

    number = facts_of(ended)["trial"]
    with sqlite3.connect(ended / "study" / "study.db") as database:
        database.execute(
            "UPDATE study_user_attributes SET value_json = ? WHERE key = ?",
            (json.dumps(json.dumps({"accuracy": 0.99, "loss": 0.1})),
             f"archspec:finalist:{number}:1003"),
        )  # fmt: skip
    (ended / "study" / "winner.safetensors").unlink()
    heard = Ears()
    outcome = search(ended, listener=heard)
    reached = facts_of(ended)["accuracy"]
    assert heard.of("note") == [
        (NOTE.format(number),),
        (f"the winner reached {reached:.2%} this time, and 99.00% when it was chosen: another "
         "machine or version; winner.json has what its weights reach",),
    ]  # fmt: skip
    model = archspec.build(ended / "study" / "winner.yaml", weights=outcome.weights)
    assert accuracy_of(model, facts_of(ended)) == reached


def test_that_training_may_fail(ended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from archspec.search.candidate import Workshop
    from archspec.search.train.outcomes import OutOfMemory

    def fail(self: Any, spec: Spec, seed: int, *rest: Any) -> Any:
        raise OutOfMemory("out of memory, for a test")

    number = facts_of(ended)["trial"]
    (ended / "study" / "winner.safetensors").unlink()
    monkeypatch.setattr(Workshop, "train", fail)
    heard = Ears()
    assert search(ended, listener=heard).weights is None
    assert heard.of("note") == [
        (NOTE.format(number),),
        ("the winner has no weights, since that training failed: out of memory, for a test",),
    ]
    assert sorted(left(ended)) == ["winner.yaml"]


# -- disks and files -------------------------------------------------------------------------------


def test_a_full_disk_under_the_weights(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, content: Any) -> int:
        if path.suffix == ".safetensors":
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ArchspecError) as caught:
        search(tmp_path)
    monkeypatch.undo()
    (file,) = [str(caught.value).split(": ")[0].removeprefix("cannot write ")]
    assert str(caught.value) == f"cannot write {file}: No space left on device"
    assert Path(file).parent == tmp_path / "study" / "finalists"
    search(tmp_path)
    assert left(tmp_path) == left(whole)


def test_facts_in_a_header(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.ones(2)}, {"accuracy": 0.1 + 0.2})
    assert read_facts(path) == {"accuracy": 0.1 + 0.2}
    write_tensors(path, {"a": torch.ones(2)})
    assert read_facts(path) is None
    assert read_facts(tmp_path / "none") is None


def test_whether_a_search_is_running(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    with locked(tmp_path):
        assert is_running(tmp_path)
    assert not is_running(tmp_path)


def test_the_newest_winner_is_that_of_the_search_that_ended_last(ended: Path) -> None:
    path = ended / "study" / "winner.yaml"
    before = path.stat().st_mtime_ns
    search(ended, listener=Listener())
    assert path.stat().st_mtime_ns > before

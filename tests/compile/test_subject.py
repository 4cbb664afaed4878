"""What is found to compile, and what is refused, word for word."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import archspec
from archspec.compile.errors import CompileError
from archspec.compile.subject import Subject, find
from archspec.search.storage import locked
from archspec.spec import loads
from tests.search import searches
from tests.search.test_faults import parameters

NETWORK = searches.SPACE.replace("{choice: [4, 6, 8]}", "4").replace("{int: [1, 3]}", "1").replace(
    "{choice: [rows, skip]}", "rows"
)  # fmt: skip
COLOURS = ("red", "green", "blue")
AGAIN = "the same 'archspec search' command writes it anew"
TRAIN_AGAIN = "the same 'archspec train' command writes it anew"
START = "'archspec search --budget 5GFLOPs' finds a network, or name one: archspec compile SPEC"


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """runs/ with a search trained at its own size (s1), and one at another size (s2)."""
    folder = tmp_path_factory.mktemp("searched")
    little = searches.space()
    larger = loads(
        searches.SPACE.replace("height: 6, width: 6", "height: 12, width: 9")
        .replace("classes: 3", "classes: 7"),
        "little.yaml",
    )  # fmt: skip
    for name, space in (("s1", little), ("s2", larger)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(searches, "space", lambda space=space: space)
            searches.search(folder, study=name, trials=2, epochs=1, finalists=1)
    return folder


@pytest.fixture
def here(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them under runs/ here, s2 the newer one."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(searched, tmp_path / "runs")
    ended(s1=1, s2=2)
    Path("net.yaml").write_text(NETWORK)
    return tmp_path


def ended(**when: int) -> None:
    for study, second in when.items():
        os.utime(f"runs/{study}/winner.yaml", (second, second))


def refused(**given: Any) -> str:
    with pytest.raises(CompileError) as caught:
        find(**given)
    assert caught.value.exit_code == 2
    return str(caught.value)


def edited(file: str, change: Callable[[dict[str, Any]], Any]) -> None:
    facts = json.loads(Path(file).read_text())
    change(facts)
    Path(file).write_text(json.dumps(facts))


# -- winners ---------------------------------------------------------------------------------------


def test_the_winner_of_the_last_search_as_it_was_trained(here: Path) -> None:
    folder = Path("runs/s2")
    facts = json.loads((folder / "winner.json").read_text())
    found = find()
    spec = found.spec
    assert found == Subject(
        spec=spec,
        weights=folder / "winner.safetensors",
        origin="the winner of the search s2 (runs/s2/winner-trained.yaml)",
        classes=COLOURS,
        mean=(0.4, 0.4, 0.4),
        std=(0.2, 0.2, 0.2),
        images="noise",
        notes=(
            "compiled at 6×6 with 3 classes, as the search trained it; 'archspec train "
            "runs/s2/winner.yaml' makes a checkpoint at 12×9 for --weights",
        ),
    )
    assert spec.digest == facts["spec_digest"]
    assert (dict(spec.input), spec.classes) == ({"channels": 3, "height": 6, "width": 6}, 3)
    archspec.build(spec, weights=found.weights)


@pytest.mark.parametrize("given", [{"study": "s1"}, {"study": "runs/s1"}, {"spec": "runs/s1"},
                                   {"spec": Path("runs/s1")}])  # fmt: skip
def test_the_winner_of_a_search(given: dict[str, Any], here: Path) -> None:
    found = find(**given)
    assert found.origin == "the winner of the search s1 (runs/s1/winner.yaml)"
    assert found.spec.digest == archspec.load("runs/s1/winner.yaml").digest
    assert (found.weights, found.notes) == (Path("runs/s1/winner.safetensors"), ())
    archspec.build(found.spec, weights=found.weights)


def test_the_search_that_ended_last(here: Path) -> None:
    ended(s1=3)
    assert find().origin.startswith("the winner of the search s1 ")
    ended(s2=3)
    assert find().notes == (
        "2 searches ended last, at the same time: s1 was taken, not s2 (--study chooses)",
    )
    assert find(runs=here / "runs").weights == here / "runs/s1/winner.safetensors"


def test_a_winner_without_weights(here: Path) -> None:
    found = searches.search(Path("runs"), study="s3", objective=parameters, trials=2).folder
    subject = find()
    assert subject.spec.digest == archspec.load(found / "winner.yaml").digest
    assert (subject.weights, subject.classes, subject.mean, subject.images) == (None,) * 4
    assert subject.notes == (
        "the weights are random: the search s3 kept none of its winner, since it ended without "
        "training it again or by an earlier version; 'archspec train runs/s3/winner.yaml' makes a "
        "checkpoint for --weights",
    )


def test_other_weights_for_a_winner(here: Path) -> None:
    """The network is then that of winner.yaml, unless they are its own."""
    Path("own.safetensors").write_bytes(b"not opened here")
    found = find(study="s2", weights=Path("own.safetensors"))
    assert found.origin == "the winner of the search s2 (runs/s2/winner.yaml)"
    assert (found.spec.classes, found.weights) == (7, Path("own.safetensors"))
    assert (found.classes, found.notes) == (None, ())
    own = find(study="s2", weights=here / "runs/s2/winner.safetensors")
    assert (own.spec.digest, own.notes) == (find().spec.digest, find().notes)


def test_a_winner_that_may_still_change(here: Path) -> None:
    with locked(Path("runs/s1")):
        assert find(study="s1").notes == ("the search s1 goes on: this is its winner so far",)


@pytest.mark.parametrize("runs", ["runs", "net.yaml"])
def test_there_is_no_search(runs: str, here: Path) -> None:
    shutil.rmtree("runs")
    assert (
        refused(runs=Path(runs)) == f"there is nothing to compile: no search in {runs}\n  {START}"
    )
    message = f"there is no study 's1': no search in {runs}\n  {START}"
    assert refused(study="s1", runs=Path(runs)) == message


def test_there_is_no_winner_yet(here: Path) -> None:
    stopped = (
        "the search s1 has no winner: it was stopped before its end, or no trial came to its own "
        "(runs/s1)\n  the same 'archspec search' command goes on with it"
    )
    Path("runs/s1/winner.yaml").unlink()
    assert refused(study="s1") == refused(spec="runs/s1") == stopped
    with locked(Path("runs/s1")):
        assert refused(study="s1") == (
            "the search s1 has no winner yet: it is still running (runs/s1)\n"
            "  wait for its end, or compile a spec: archspec compile SPEC"
        )
    assert find().origin.startswith("the winner of the search s2 ")
    Path("runs/s2/winner.yaml").unlink()
    assert refused() == (
        "no search in runs has a winner yet: s1, s2\n"
        "  the same 'archspec search' command goes on with one; or: archspec compile SPEC"
    )
    shutil.rmtree("runs/s2")
    assert refused() == stopped


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("s11", "there is no study 's11' in runs\n  did you mean 's1'?"),
        ("other", "there is no study 'other' in runs\n  known: s1, s2"),
        ("../x", "there is no study '../x' in runs\n  known: s1, s2"),
        (".", "there is no study '.' in runs\n  known: s1, s2"),
        ("", "there is no study '' in runs\n  known: s1, s2"),
        ("x" * 300, f"there is no study '{'x' * 79}… (302 characters) in runs\n  known: s1, s2"),
    ],
)
def test_there_is_no_such_study(name: str, message: str, here: Path) -> None:
    assert refused(study=name) == message


# -- what was changed since ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("classes"), "lacks 'classes'"),
        (lambda f: f.update(accuracy="high"), "accuracy: expected a number, found 'high'"),
        (lambda f: f.update(classes="red"), "classes: expected a list, found 'red'"),
        (lambda f: f.update(classes=[]), "classes: expected at least 1 entries, found []"),
        (lambda f: f.update(std=[0.2, 0, 0.2]), "std.1: expected more than 0, found 0"),
        (lambda f: f.update(std=[0.2]), "mean has 3 channels, and std 1"),
        (lambda f: f.update(seed=1.5), "seed: expected a whole number, found 1.5"),
        (lambda f: f.update(weights="/etc/passwd"),
         "weights: expected 'winner.safetensors', found '/etc/passwd'"),
        (lambda f: f.update(spec="../x.yaml"),
         "spec: expected 'winner.yaml' or 'winner-trained.yaml', found '../x.yaml'"),
        (lambda f: f.update(format=2), "format: expected 1, found 2"),
        (lambda f: f.update(more=1), "has an entry 'more', which is not known"),
        (lambda f: f.update(classes=["a", "b"]),
         "tells of 3×6×6 images and 2 classes, and winner.yaml has 3×6×6 and 3"),
        (lambda f: f.update(resolution=[7, 6]),
         "tells of 3×7×6 images and 3 classes, and winner.yaml has 3×6×6 and 3"),
        (lambda f: f.update(mean=[0.4], std=[0.2]),
         "tells of 1×6×6 images and 3 classes, and winner.yaml has 3×6×6 and 3"),
        (lambda f: f.update(spec="winner-trained.yaml"),
         "tells of winner-trained.yaml, which is not there"),
    ],
)  # fmt: skip
def test_facts_that_were_edited(change: Any, message: str, here: Path) -> None:
    edited("runs/s1/winner.json", change)
    assert refused(study="s1") == f"runs/s1/winner.json: {message}\n  {AGAIN}"


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_facts_that_are_broken(content: str, here: Path) -> None:
    Path("runs/s1/winner.json").write_text(content)
    what = "is not JSON, or is cut short" if content != "[]" else "expected an object, found []"
    assert refused(study="s1") == f"runs/s1/winner.json: {what}\n  {AGAIN}"


@pytest.mark.parametrize("file", ["winner.yaml", "winner-trained.yaml"])
def test_a_network_that_was_edited(file: str, here: Path) -> None:
    path = Path("runs/s2") / file
    path.write_text(path.read_text().replace("kernel: 3", "kernel: 5"))
    assert refused(study="s2") == (
        f"{path}: is another network than the one that winner.json tells of: it was changed since "
        f"the search wrote it\n  {AGAIN}; 'archspec compile {path}' takes it as it is"
    )
    assert find(str(path)).spec.digest == archspec.load(path).digest


def test_files_that_are_gone(here: Path) -> None:
    Path("runs/s2/winner-trained.yaml").unlink()
    assert refused(study="s2") == (
        "runs/s2/winner.json: tells of winner-trained.yaml, which is not there\n  " + AGAIN
    )
    Path("runs/s1/winner.json").unlink()
    assert refused(study="s1") == (
        f"runs/s1: there is no winner.json beside winner.safetensors\n  {AGAIN}"
    )


def test_weights_that_were_changed(here: Path) -> None:
    path = Path("runs/s1/winner.safetensors")
    expected = json.loads(Path("runs/s1/winner.json").read_text())["weights_sha256"]
    path.write_bytes(b"x")
    changed = (
        f"{path}: was changed since winner.json was written for it (SHA-256 2d711642b726…, "
        f"expected {expected[:12]}…)\n  "
    )
    once = "the same 'archspec search' command trains the winner once more"
    assert refused(study="s1") == changed + once
    elsewhere = "copy it elsewhere to compile it all the same"
    assert refused(spec="net.yaml", weights=path) == changed + elsewhere
    path.unlink()
    assert refused(study="s1") == f"{path}: cannot be read: No such file or directory\n  {once}"


# -- specs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["smlpnet_t", "specs/smlpnet_t.yaml"])
def test_a_shipped_spec(given: str, here: Path) -> None:
    Path("smlpnet_t").mkdir()  # is not meant
    found = find(given)
    assert found.spec.digest == archspec.load("smlpnet_t").digest
    assert (found.weights, found.origin) == (None, f"spec {given}")
    assert found.notes == (
        f"the weights are random: 'archspec train {given}' makes a checkpoint for --weights",
    )


def test_a_spec_from_python(here: Path) -> None:
    spec = archspec.load("net.yaml").with_values({"dim": 6})
    assert find(spec).spec is spec
    assert find(spec).origin == "spec little"


def test_the_spec_of_a_winner_has_random_weights(here: Path) -> None:
    assert find("runs/s1/winner.yaml").notes == (
        "the weights are random: 'archspec compile runs/s1' takes those that were trained for "
        "this spec",
    )


def test_weights_of_a_winner_for_a_spec(here: Path) -> None:
    """Where the numbers of classes agree, all that is known of them holds."""
    weights = Path("runs/s2/winner.safetensors")
    found = find("net.yaml", weights=weights)
    assert (found.weights, found.classes, found.images) == (weights, COLOURS, "noise")
    assert (found.mean, found.std, found.notes) == ((0.4,) * 3, (0.2,) * 3, ())
    larger = find(archspec.load("net.yaml").with_values({"input.height": 12}), weights=weights)
    assert larger.notes == (
        "the weights were trained on images of 6×6, and the network is compiled for 12×6",
    )
    other = find(archspec.load("net.yaml").with_values({"classes": 7}), weights=weights)
    assert (other.classes, other.mean) == (None, None)


def test_what_cannot_be_compiled(here: Path) -> None:
    Path("space.yaml").write_text(searches.SPACE)
    Path("empty").mkdir()
    assert refused(spec="space.yaml") == (
        "little is a space, not one network; it leaves open: dim, depth, mixer\n"
        "  'archspec search --space space.yaml --budget …' finds the best network of it"
    )
    assert refused(spec="smlpnet_space") == (
        "smlpnet_space is a space, not one network; it leaves open: dim, depths[0], depths[1], "
        "depths[2], depths[3], stages.stage1.vars.alpha and 3 more\n"
        "  'archspec search --space smlpnet_space --budget …' finds the best network of it"
    )
    assert refused(spec="smlpnet_t", study="s1") == (
        "a spec (smlpnet_t) and a study (s1) are given: expected one of them\n"
        "  leave one of them out"
    )
    for folder in ("empty", "runs"):
        assert refused(spec=folder) == (
            f"{folder} is neither of a search (winner.yaml) nor of a training (spec.yaml)\n"
            "  name a YAML file, a shipped spec ('archspec specs'), or such a folder"
        )
    with pytest.raises(archspec.SpecError, match="there is no spec 'smlpnet_x'"):
        find("smlpnet_x")


@pytest.mark.parametrize("given", [{"spec": "smlpnet_t"}, {"study": "s1"}, {}])
def test_weights_that_are_not_there(given: dict[str, Any], here: Path) -> None:
    for name in ("none.pt", "x" * 300):
        assert refused(weights=Path(name), **given) == (
            f"{name}: there is no such checkpoint\n"
            "  --weights takes a .safetensors, .pth or .pt file"
        )
    assert refused(weights=Path("runs/s1"), **given) == (
        "runs/s1: is a folder, not a checkpoint\n"
        "  'archspec compile runs/s1' takes a folder of a training or a search"
    )


# -- trainings -------------------------------------------------------------------------------------


@pytest.fixture
def trained(here: Path) -> Path:
    """What `archspec train` leaves, of one epoch."""
    from archspec.search.train.device import open_fabric
    from archspec.search.train.fitting import fitted
    from archspec.search.train.folder import open_folder
    from archspec.search.train.job import train_in_folder
    from archspec.search.train.recipe import make_recipe

    data, recipe = searches.images(), make_recipe({"epochs": 1, "batch_size": 36})
    with open_folder(Path("runs/train/little")) as folder:
        train_in_folder(
            fitted(archspec.load("net.yaml"), data, 6), data, recipe, folder, open_fabric("cpu")
        )
    return Path("runs/train/little")


def test_a_training(trained: Path) -> None:
    found = find(str(trained))
    assert found.spec.digest == archspec.load(trained / "spec.yaml").digest
    assert (found.weights, found.origin) == (trained / "model.safetensors", str(trained))
    assert (found.classes, found.images) == (COLOURS, "noise")
    assert (found.mean, found.std, found.notes) == ((0.4,) * 3, (0.2,) * 3, ())
    archspec.build(found.spec, weights=found.weights)
    assert find().origin.startswith("the winner of the search s2 ")  # trainings are not searched
    for name in ("model.safetensors", "checkpoint.pt"):
        other = find("net.yaml", weights=trained / name)
        assert (other.classes, other.mean, other.images) == (COLOURS, (0.4,) * 3, "noise")
    mine = find(str(trained), weights=trained / "checkpoint.pt")
    assert (mine.weights, mine.origin) == (trained / "checkpoint.pt", str(trained))
    assert find(str(trained / "spec.yaml")).notes == (
        f"the weights are random: 'archspec compile {trained}' takes those that were trained for "
        "this spec",
    )


def test_a_training_by_an_earlier_version(trained: Path) -> None:
    edited(f"{trained}/result.json", lambda f: [f.pop(n) for n in ("mean", "std", "images")])
    found = find(str(trained))
    assert (found.classes, found.mean, found.std, found.images) == (COLOURS, None, None, None)
    assert found.notes == (
        f"by which mean and deviation the images of {trained} were normalised is not known, since "
        f"it is of an earlier version; delete its result.json, and {TRAIN_AGAIN}",
    )


@pytest.mark.parametrize("name", ["result.json", "model.safetensors"])
def test_a_training_that_has_not_ended(name: str, trained: Path) -> None:
    (trained / name).unlink()
    assert refused(spec=str(trained)) == (
        f"{trained} holds a training that has not come to its end: there is no {name}\n"
        "  the same 'archspec train' command goes on; --weights takes its checkpoint.pt"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("resolution"), "lacks 'resolution'"),
        (lambda f: f.update(mean=0.4), "mean: expected a list, found 0.4"),
        (lambda f: f.update(mean=[0.4]), "mean and std are not of as many channels"),
    ],
)
def test_results_that_were_edited(change: Any, message: str, trained: Path) -> None:
    edited(f"{trained}/result.json", change)
    again = f"delete it, and {TRAIN_AGAIN}"
    assert refused(spec=str(trained)) == f"{trained}/result.json: {message}\n  {again}"
    elsewhere = "copy the weights elsewhere to compile them without"
    weights = trained / "checkpoint.pt"
    assert refused(spec="net.yaml", weights=weights) == (
        f"{trained}/result.json: {message}\n  {elsewhere}"
    )


def test_a_training_whose_classes_differ(trained: Path) -> None:
    edited(f"{trained}/result.json", lambda f: f.update(classes=["red"]))
    assert refused(spec=str(trained)) == (
        f"{trained}/result.json: names 1 class, and spec.yaml beside it has 3\n"
        "  one of them was changed since the training wrote them"
    )

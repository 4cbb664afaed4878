"""`archspec plot`: what is drawn on which axes, where names stand, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import archspec
from archspec import plot
from archspec.cli.app import _load_commands, app
from archspec.errors import ArchspecError
from archspec.figures import shipped_figures
from archspec.plot.labels import Label, place
from archspec.plot.picture import picture
from archspec.plot.points import IMAGENET, Point, Series
from archspec.written import to_yaml
from tests.search import searches

_load_commands()
SUCH = "such as 'mine: params=27M, flops=4.5G, top1=82.1', or with spec=mine.yaml for the figures"


def family(name: str, *figures: tuple[int, int, float], group: str = "mlp") -> Series:
    return Series(name, tuple(Point(f"{n}", *f) for n, f in enumerate(figures)), group)


FEW = [
    family("swin", (28_000_000, 4_500_000_000, 81.3), (50_000_000, 8_700_000_000, 83.0)),
    family("resnet", (25_600_000, 4_100_000_000, 76.2), (60_000_000, 11_500_000_000, 78.3)),
]


# -- what is drawn ---------------------------------------------------------------------------------


def test_families_of_the_zoo() -> None:
    series = {entry.name: entry for entry in plot.of_rows(shipped_figures())}
    rows = {row["name"]: row for row in shipped_figures()}
    assert [(point.label, point.accuracy) for point in series["swin"].points] == [
        ("t", 81.3), ("s", 83.0), ("b", 83.4),
    ]  # fmt: skip
    assert [point.label for point in series["smlpnet"].points] == ["t_alpha2", "t", "s", "b"]
    for point in series["resnet"].points:
        row = rows[f"resnet{point.label}"]
        assert (point.params, point.flops, point.accuracy) == (
            row["params"],
            row["flops"],
            row["top1"],
        )
    # an ablation is not a size
    assert [point.label for point in series["table4_parallel"].points] == ["table4_parallel"]
    assert "mixer_s32" not in str(series)  # without a published accuracy


def test_points_and_axes_are_the_figures() -> None:
    drawn = picture(FEW).figure
    flops, params = drawn.axes
    assert (flops.get_ylabel(), params.get_ylabel()) == ("ImageNet-1k top-1 (%)", "")
    assert (flops.get_xlabel(), params.get_xlabel()) == (
        "FLOPs (multiply-adds of one image)", "parameters",
    )  # fmt: skip
    for axes, figure in ((flops, "flops"), (params, "params")):
        lines = [line for line in axes.lines if line.get_marker() not in ("None", "")]
        assert len(lines) == 2
        for line, entry in zip(lines, FEW, strict=True):
            assert np.asarray(line.get_xdata()).tolist() == [
                getattr(point, figure) for point in entry.points
            ]
            assert np.asarray(line.get_ydata()).tolist() == [
                point.accuracy for point in entry.points
            ]
        names = {text.get_text() for text in axes.texts}
        assert {"swin", "resnet"} <= names
    (only,) = picture(FEW, costs=("params",)).figure.axes
    assert only.get_xlabel() == "parameters"


def test_other_data_have_axes_of_their_own() -> None:
    own = Series("mine (2 epochs)", (Point("mine", 1_000, 20_000, 52.0),), kind="run", data="noise")
    figure = picture([*FEW, own]).figure
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == ["ImageNet-1k top-1 (%)", "", "noise, held-out accuracy (%)", ""]
    for axes in figure.axes[:2]:
        assert not axes.collections
        assert axes.get_ylim()[0] > 52
    assert [text.get_text() for text in figure.axes[2].texts] == ["mine (2 epochs)"]


def test_names_lie_on_nothing_in_the_whole_zoo() -> None:
    """Measured on what matplotlib has drawn: no name on another, or out of the axes."""
    rows = [row for row in shipped_figures() if row["folder"] not in ("ablations", "blocks")]
    figure = picture(plot.of_rows(rows)).figure
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert len(axes.texts) > 30
        boxes = [text.get_window_extent() for text in axes.texts]
        frame = axes.get_window_extent()
        for index, box in enumerate(boxes):
            assert frame.x0 <= box.x0 < box.x1 <= frame.x1 + 1
            assert frame.y0 - 1 <= box.y0 < box.y1 <= frame.y1 + 1
            for other in boxes[:index]:
                across = min(box.x1, other.x1) - max(box.x0, other.x0)
                up = min(box.y1, other.y1) - max(box.y0, other.y0)
                # boxes are as high as the font's highest letters: lines of text may nearly touch
                assert across <= 0.5 or up <= 2.5


def test_the_same_series_give_the_same_file(tmp_path: Path) -> None:
    for suffix, start in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF")):
        files = [tmp_path / f"{n}{suffix}" for n in range(2)]
        for file in files:
            plot.draw(FEW, file)
        one, other = (file.read_bytes() for file in files)
        assert one == other
        assert one.startswith(start)
    assert "swin</text>" in (tmp_path / "0.svg").read_text()


# -- where names stand -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_places(seed: int) -> None:
    random = np.random.default_rng(seed)
    points = [(float(x), float(y)) for x, y in random.uniform(20, 380, (30, 2))]
    labels = [Label(45, 8, (point,), is_optional=n > 20) for n, point in enumerate(points)]
    found = place(labels, (400, 400), points, [])
    boxes = [
        (at.x, at.y, at.x + 45, at.y + 8) for at in found if at is not None
    ]  # fmt: skip
    assert all(at is not None for at in found[:21])
    for index, (left, bottom, right, top) in enumerate(boxes):
        assert left >= 0 <= bottom
        assert right <= 400 >= top
        for x, y in points:
            assert not (left < x < right and bottom < y < top)
        for other in boxes[:index]:
            assert left > other[2] or right < other[0] or bottom > other[3] or top < other[1]


def test_an_optional_name_without_room_is_left_out() -> None:
    wall = [(x, y) for x in np.arange(0, 100, 4.0) for y in np.arange(0, 100, 4.0)]
    needed, optional = (Label(20, 8, ((50.0, 50.0),), is_optional=o) for o in (False, True))
    assert place([optional], (100, 100), wall, []) == [None]
    assert place([needed], (100, 100), wall, [])[0] is not None
    assert place([], (100, 100), [], []) == []


# -- the user's own --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plotted")
    searches.search(folder, study="s1", trials=2, epochs=1, finalists=0)
    (folder / "mine").mkdir()
    spec = searches.space().with_values({"dim": 4, "depth": 1, "mixer": "rows"})
    (folder / "mine" / "spec.yaml").write_text(to_yaml(spec))
    facts = {"accuracy": 0.525, "data": "noise: 72 images to train, 3 classes", "epochs": [{}, {}]}
    (folder / "mine" / "result.json").write_text(json.dumps(facts))
    return folder


def test_a_training(runs: Path) -> None:
    found = plot.of_run(runs / "mine")
    cost = archspec.cost(runs / "mine" / "spec.yaml")
    assert found == Series(
        "mine (2 epochs)", (Point("mine", cost.params, cost.flops, 52.5),), kind="run", data="noise"
    )


def test_a_search(runs: Path) -> None:
    from archspec.search.reading import find_record

    record = find_record("s1", runs)
    trials, winner = plot.of_study("s1", runs)
    assert plot.of_study(str(runs / "s1"), Path("elsewhere")) == [trials, winner]
    complete = [trial for trial in record.trials if trial.state == "complete"]
    assert trials.name == "s1 (1 epoch)"
    assert {point.accuracy for point in trials.points} >= {100 * t.values[0] for t in complete}
    best = record.trial(record.winner or 0)
    assert [(p.params, p.flops) for p in winner.points] == [(best.params, best.flops)]
    assert (trials.data, winner.data) == ("noise", "noise") != (IMAGENET, IMAGENET)


def test_added(tmp_path: Path) -> None:
    expected = Series("mine", (Point("mine", 27_000_000, 4_500_000_000, 82.1),), kind="own")
    assert plot.added("mine: params=27M, flops=4.5G, top1=82.1") == [expected]
    assert plot.added("mine:params = 27Mparams,flops=4.5GFLOPs,top1=82.1%") == [expected]
    (tmp_path / "small.yaml").write_text("extends: smlpnet_t\nvars: {alpha: 2}\n")
    exact = Series("a b", (Point("a b", 19_175_584, 3_967_868_160, 81.3),), kind="own")
    assert plot.added(f"a b: spec={tmp_path / 'small.yaml'}, top1=81.3") == [exact]
    yaml, csv = tmp_path / "points.yaml", tmp_path / "points.csv"
    yaml.write_text(
        "mine: {params: 27M, flops: 4.5G, top1: 82.1}\na b: {spec: small.yaml, top1: 81.3}\n"
    )
    csv.write_text("name,top1,params,flops,spec\nmine,82.1,27M,4.5G,\na b,81.3,,,small.yaml\n")
    assert plot.added(str(yaml)) == plot.added(str(csv)) == [expected, exact]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine", "--add takes NAME: KEY=VALUE, …, found 'mine'\n  " + SUCH),
        ("mine: 82.1", "--add takes NAME: KEY=VALUE, …, found 'mine: 82.1'\n  " + SUCH),
        ("m: top=82", "--add 'm: top=82': m: unknown key 'top'\n  did you mean 'top1'?"),
        ("m: params=1M, flops=1G", "--add 'm: params=1M, flops=1G': m: top1 is missing\n  " + SUCH),
        ("m: params=1M, top1=82", "--add 'm: params=1M, top1=82': m: flops is missing\n  " + SUCH),
        (
            "m: params=1X, flops=1G, top1=2",
            "--add 'm: params=1X, flops=1G, top1=2': m: params takes a figure such as 27M, "
            "found '1X'",
        ),
        (
            "m: params=1M, flops=1G, top1=820",
            "--add 'm: params=1M, flops=1G, top1=820': m: top1 takes percent, such as 82.1, "
            "found '820'",
        ),
        (
            "m: params=1M, flops=1G, top1=nan",
            "--add 'm: params=1M, flops=1G, top1=nan': m: top1 takes percent, such as 82.1, "
            "found 'nan'",
        ),
        ("none.csv", "none.csv: cannot be read: No such file or directory"),
        (
            "bad.csv",
            "bad.csv:3:1: expected a name and no more cells than columns\n"
            "  the first line names the columns: name,params,flops,top1",
        ),
        (
            "bad.yaml",
            "bad.yaml:1:4: expected a mapping (keys: params, flops, top1, spec), found 82.1",
        ),
    ],
)
def test_added_wrongly(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text("name,params,flops,top1\nm,1M,1G,82\nn,1M,1G,82,5\n")
    Path("bad.yaml").write_text("m: 82.1\n")
    with pytest.raises(ArchspecError) as caught:
        plot.added(text)
    assert str(caught.value) == message


def refusal(*args: Any) -> str:
    with pytest.raises(ArchspecError) as caught:
        app(["plot", *map(str, args)], standalone_mode=False)
    return str(caught.value)


def test_refusals(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal("swin", "--output", "zoo.gif") == (
        "--output takes a file that ends in .svg, .png, .pdf, found 'zoo.gif'"
    )
    assert refusal("mixer_s32") == (
        "there is nothing to plot: no network here has a published accuracy"
    )
    assert refusal("swin", "--run", runs / "s1") == (
        f"--run {runs / 's1'}: is not the folder of a training: there is no spec.yaml\n"
        "  'archspec train' writes runs/train/NAME; --study takes a search"
    )
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "spec.yaml").write_text("extends: smlpnet_t\n")
    assert refusal("swin", "--run", unfinished) == (
        f"--run {unfinished}: has not ended yet: there is no result.json\n"
        "  'archspec train' writes runs/train/NAME; --study takes a search"
    )
    (unfinished / "result.json").write_text('{"data": "noise", "epochs": [1], "accuracy": 2}')
    assert refusal("swin", "--run", unfinished) == (
        f"{unfinished}/result.json: accuracy: expected at most 1.0, found 2\n"
        "  the same 'archspec train' command writes it anew"
    )
    assert refusal("swin", "--study", "s2", "--runs", runs) == (
        f"{runs}/s2/study.db: there is no such study\n"
        "  --storage names its database, if that is elsewhere"
    )
    assert not list(tmp_path.glob("*.png"))


def test_the_command(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "zoo.svg"
    app(
        ["plot", "smlpnet", "swin", "--max-flops", "9G", "--output", str(file), "--x", "flops",
         "--add", "mine: params=27M, flops=4.5G, top1=82.1", "--run", str(runs / "mine"),
         "--study", "s1", "--runs", str(runs)],
        standalone_mode=False,
    )  # fmt: skip
    assert capsys.readouterr().out == f"wrote {file}\n"
    text = file.read_text()
    for name in ("smlpnet", "swin", "t_alpha2", "mine", "mine (2 epochs)", "winner of s1"):
        assert f">{name}</text>" in text
    assert "table4" not in text  # ablations are drawn only if they are asked for
    assert ">parameters</text>" not in text

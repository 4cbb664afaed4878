"""Searches that go well, from Python and on the command line."""

from __future__ import annotations

import json
import re
import sys
import warnings
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import archspec
from archspec.check import check
from archspec.cli import progress
from archspec.cli.app import _load_commands, app
from archspec.counting import count
from archspec.expansion import expand
from archspec.lower import lower
from archspec.measure import measure
from archspec.module import to_module
from archspec.search import Space, run
from archspec.search.record import TrialRecord
from archspec.spec import Spec, load, loads
from tests.search.searches import BUDGET, SPACE, search
from tests.search.test_faults import Ears, parameters

_load_commands()
GREY = SPACE.replace("channels: 3", "channels: 1")
COMMAND = ["search", "--space", "little.yaml", "--budget", BUDGET, "--trials", "3", "--epochs", "2",
           "--finalists", "2", "--limit", "100", "--study", "study"]  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    (tmp_path / "little.yaml").write_text(GREY)
    return tmp_path


# -- from Python -----------------------------------------------------------------------------------


def test_a_function_of_the_caller(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """All eighteen networks are tried, once each; nothing is printed, no warning given."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = run(loads(SPACE), BUDGET, objective=parameters, trials=30, folder=tmp_path)
    assert capfd.readouterr() == ("", "")
    record = outcome.record
    assert len({tuple(trial.choices.values()) for trial in record.trials}) == 18
    assert {trial.state for trial in record.trials} == {"complete"}
    assert len(record.trials) == 18
    most = max(trial.params or 0 for trial in record.trials)
    assert outcome.winner is not None
    assert archspec.cost(outcome.winner).params == most
    assert record.rule == "the highest parameters"
    assert outcome.report is not None
    assert outcome.report.is_file()

    heard = Ears()
    run(loads(SPACE), BUDGET, objective=parameters, trials=30, folder=tmp_path, listener=heard)
    assert heard.of("note") == [("there are 18 networks inside the budget: all are tried",)]
    assert heard.of("resumed") == [(18, 0)]


@pytest.mark.parametrize("form", ["path", "space"])
def test_other_forms_of_a_space(form: str, here: Path) -> None:
    space = here / "little.yaml" if form == "path" else Space(loads(SPACE))
    outcome = run(space, BUDGET, objective=parameters, trials=2, folder=here, report=False)
    assert len(outcome.record.trials) == 2
    assert outcome.report is None


def test_a_sampler_that_finds_no_more_ends_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the number of networks is an estimate, there may be fewer than were to be tried."""
    from archspec.search.counted import CountedSet

    monkeypatch.setattr(CountedSet, "is_exact", property(lambda self: False))
    heard = Ears()
    record = search(tmp_path, objective=parameters, trials=30, listener=heard).record
    assert len(record.trials) == 18
    assert heard.of("note") == [
        (f"no further network of little was found inside {record.budget}; "
         "the search ends with those",)
    ]  # fmt: skip


def test_more_trials_go_on_with_the_same_study(tmp_path: Path) -> None:
    first = search(tmp_path, objective=parameters, trials=4).record
    more = search(tmp_path, objective=parameters, trials=6).record
    straight = search(tmp_path / "straight", objective=parameters, trials=6).record
    assert more.trials[:4] == first.trials
    assert [t.choices for t in more.trials] == [t.choices for t in straight.trials]


def test_no_time_is_left(tmp_path: Path) -> None:
    """No trial begins, and what is there comes to its end."""
    assert search(tmp_path, time_limit=0).winner is None
    search(tmp_path, trials=2, finalists=0)
    outcome = search(tmp_path, time_limit=0)
    assert len(outcome.record.trials) == 2
    assert outcome.winner is not None
    assert len(outcome.record.finalists) == 2


def test_dropped_trials_fill_up_the_finalists(tmp_path: Path) -> None:
    """After the complete ones, those that came farthest; the rule and the spec say so."""
    record = search(tmp_path, finalists=4).record
    states = {trial.number: trial.state for trial in record.trials}
    chosen = [finalist.number for finalist in record.finalists]
    assert len(chosen) == 4
    (left_out,) = set(states) - set(chosen)
    assert states[left_out] == "pruned"
    farthest = [max(record.trial(number).rungs) for number in chosen]
    assert min(farthest) >= max(record.trial(left_out).rungs)
    dropped = [states[number] for number in chosen].count("pruned")
    assert record.rule == (
        f"the highest accuracy of the best 4 ({dropped} of them dropped early), trained again in "
        "full with fresh seeds (of equal ones, the lower loss)"
    )
    best = max(record.finalists, key=lambda finalist: finalist.mean)
    assert best.mean == next(f.mean for f in record.finalists if f.number == record.winner)


def test_a_winner_that_was_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything downstream is right for it: spec, tables, report."""
    from archspec.search import choose

    results = iter([0.5, 0.75])

    def again(study: Any, shop: Any, trials: Any) -> None:
        for trial in trials:
            found = {"accuracy": next(results), "loss": 1.0}
            study.set_user_attr(f"archspec:finalist:{trial.number}:1003", json.dumps(found))

    monkeypatch.setattr(choose, "train_again", again)
    monkeypatch.setenv("COLUMNS", "120")
    outcome = search(tmp_path, report=True)
    record, winner = outcome.record, outcome.winner
    trial = record.trial(record.winner)
    assert trial.state == "pruned"
    last = max(trial.rungs)
    assert winner.header.about == (
        f"Trial {trial.number} of the search study (1K..50K FLOPs): dropped after epoch {last} "
        f"with accuracy {trial.rungs[last]:.4g}; trained again in full with a fresh seed, "
        "accuracy 0.75."
    )
    assert app(["search", "report", str(tmp_path / "study")], standalone_mode=False) is None
    table = capsys.readouterr().out
    assert re.search(rf"\n +{trial.number} +{trial.rungs[last]:.1%} @{last} +75.0% ", table)
    page = outcome.report.read_text()
    assert f"winner (trial {trial.number})" in page


@pytest.mark.parametrize("failing", [1, 2])
def test_finalists_that_fail_do_not_win(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archspec.search.candidate import Workshop
    from archspec.search.train.outcomes import Diverged

    train, left = Workshop.train, failing

    def fail(self: Any, spec: Spec, seed: int, *rest: Any) -> Any:
        nonlocal left
        if seed > 1000 and left:
            left -= 1
            raise Diverged("diverged, for a test")
        return train(self, spec, seed, *rest)

    monkeypatch.setattr(Workshop, "train", fail)
    heard = Ears()
    record = search(tmp_path, listener=heard).record
    assert len(record.finalists) == 2 - failing
    assert [args[2] for args in heard.of("finalist_ended")].count(None) == failing
    if failing == 2:
        assert record.rule == "the highest accuracy"
    else:
        assert record.winner == record.finalists[0].number
        assert record.rule == (
            "the only finalist, though dropped early, trained again in full with a fresh seed"
        )


# -- the winner ------------------------------------------------------------------------------------

IMPORTING = """
name: mixed
import: token_mlp
input: {channels: 3, height: 8, width: 8}
classes: 3
vars: {dim: {choice: [4, 6]}, sometimes: {choice: [1, 2]}}
blocks:
  wide: [batch_norm, {linear: {axis: width, out: sometimes * W // sometimes}}]
  mixed: [layer_norm, token_mlp]
stages:
  stage1:
    enter: [{conv: {out: dim, kernel: 2, stride: 2}}]
    body: [{residual: [{use: mixer}]}]
    vars: {mixer: {choice: [wide, mixed]}}
  stage2: {body: {choice: [gelu, relu]}}
head: [global_pool, {linear: {out: classes}}]
"""


@pytest.mark.parametrize("best", ["wide", "mixed"])
def test_the_winner_is_a_spec_like_any_other(
    best: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without holes, inside the budget by rule and by fvcore, whatever was left open."""
    space = loads(IMPORTING, "mixed.yaml")

    def favour(spec: Spec) -> float:
        return float(spec.to_dict()["stages"]["stage1"]["vars"]["mixer"] == best)

    outcome = run(
        space, "1..100k", objective=favour, trials=16, study="study", folder=tmp_path,
        report=False,
    )  # fmt: skip
    path = tmp_path / "study" / "winner.yaml"
    assert app(["build", str(path)], standalone_mode=False) is None
    assert "✓ parameters and FLOPs agree" in capsys.readouterr().out
    winner = load(path)
    assert winner.holes == ()
    assert winner.to_dict() == outcome.winner.to_dict()
    assert ("token_mlp" in winner.blocks) is (best == "mixed")
    assert ("sometimes" in winner.vars) is (best == "wide")
    trial = outcome.record.trial(outcome.record.winner)
    graph = expand(winner)
    table = count(graph)
    measured = measure(to_module(lower(graph)), (3, 8, 8))
    assert check(graph, table, measured).agrees
    low, high = outcome.record.windows["flops"]
    assert low <= measured.fvcore_flops == int(table.flops) == trial.flops <= high


def test_how_the_winner_reads(tmp_path: Path) -> None:
    search(tmp_path, objective=parameters, trials=18)
    assert (tmp_path / "study" / "winner.yaml").read_text() == (
        "name: winner-study\n"
        "about: 'Trial 1 of the search study (1K..50K FLOPs): parameters 425.'\n"
        "input: {channels: 3, height: 6, width: 6}\n"
        "classes: 3\n"
        "vars: {dim: 8, depth: 3, mixer: rows}\n"
        "\n"
        "blocks:\n"
        "  rows:\n"
        "    - batch_norm\n"
        "    - linear: {id: row, axis: height}\n"
        "  layer:\n"
        "    - residual: [{use: mixer}, gelu]\n"
        "\n"
        "stages:\n"
        "  stage1:\n"
        "    enter:\n"
        "      - conv: {out: dim, kernel: 3, id: embed}\n"
        "    repeat: depth\n"
        "    body: layer\n"
        "\n"
        "head:\n"
        "  - global_pool\n"
        "  - linear: {id: classifier, out: classes}\n"
    )


def test_a_winner_whose_figures_differ_is_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archspec.measure import Measured
    from archspec.search.winner import WinnerError

    monkeypatch.setattr(Measured, "fvcore_flops", property(lambda self: 99_999))
    with pytest.raises(WinnerError) as caught:
        search(tmp_path, objective=parameters)
    assert caught.value.exit_code == 1
    assert str(caught.value).startswith(
        "the winner is outside the budget as measured: 99.999K FLOPs, "
    )
    assert not (tmp_path / "study" / "winner.yaml").exists()


def test_a_winner_too_large_to_be_measured_is_named_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archspec import memory

    monkeypatch.setattr(memory, "_physical_memory", lambda: 1024)
    heard = Ears()
    outcome = search(tmp_path, objective=parameters, listener=heard)
    assert outcome.winner is not None
    ((note,),) = heard.of("note")
    assert note.startswith("the winner was not measured on this machine: ")


def test_several_objectives_give_a_front(tmp_path: Path) -> None:
    outcome = search(tmp_path, objective="naswot,params", trials=8, finalists=0)
    front = sorted((tmp_path / "study" / "front").iterdir())
    assert [path.name for path in front] == sorted(f"trial{n}.yaml" for n in outcome.record.front)
    for path in front:
        number = int(path.stem.removeprefix("trial"))
        assert archspec.cost(load(path)).params == outcome.record.trial(number).params
    assert outcome.record.winner in outcome.record.front


# -- the command -----------------------------------------------------------------------------------


def test_the_command(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No terminal: one line for each trial, and no control characters."""
    assert app(COMMAND, standalone_mode=False) is None
    out, err = capfd.readouterr()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", err)
    lines = [line.rstrip() for line in err.splitlines()]
    assert lines[0] == "space      little: 18 networks"
    assert lines[1] == "budget     1K..50K FLOPs: 18 networks inside, no other is tried"
    assert lines[7] == "study      runs/study (storage runs/study/study.db)"
    trials = [line for line in lines if re.match(r"trial +\d+  (accuracy|dropped)", line)]
    assert [int(line.split()[1]) for line in trials] == [0, 1, 2]
    again = [line for line in lines if "again with seed 1000: " in line]
    assert len(lines) == 8 + 3 + len(again) == 8 + 3 + 2
    assert "Winner: trial " in out
    assert out.rstrip().endswith("Report: runs/study/report.html")
    for name in ("winner.yaml", "report.html", "plots/progress.png", "study.db"):
        assert (here / "runs" / "study" / name).is_file()

    assert app([*COMMAND, "--json"], standalone_mode=False) is None
    out, err = capfd.readouterr()
    facts = json.loads(out)
    assert err.splitlines() == ["going on with a study of 3 finished trials"]
    assert facts["winner_spec"] == "runs/study/winner.yaml"
    assert facts["report"] == "runs/study/report.html"
    assert [trial["number"] for trial in facts["trials"]] == [0, 1, 2]


def test_no_winner_is_exit_code_1(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert app([*COMMAND, "--time-limit", "0"], standalone_mode=False) == 1
    out, err = capfd.readouterr()
    assert "There is no winner: no trial came to its end." in out
    assert err.rstrip().endswith("no trial came to its end")


def test_the_report_of_any_study(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By name and by path; of one that never finished a trial, in progress, and in a storage."""
    from tests.processes import run_to
    from tests.search.searches import killed_at

    folder = here / "runs"
    for study, nth, name in (("none", 1, "none"), ("some", 50, "runs/some/")):
        assert run_to(killed_at, folder, "step", nth, {"study": study}) < 0
        assert app(["search", "report", name], standalone_mode=False) is None
        shown = capsys.readouterr().out
        assert "1 running" in shown
        assert f"wrote runs/{study}/report.html" in shown
        assert app(["search", "report", study, "--json"], standalone_mode=False) is None
        record = json.loads(capsys.readouterr().out)
        assert record["trials"][-1]["state"] == "running"
        assert (record["winner"] is None) is (study == "none")
    search(folder, objective=parameters, storage=str(here / "shared.db"))
    command = ["search", "report", "study", "--storage", "shared.db"]
    assert app(command, standalone_mode=False) is None
    assert "5 complete" in capsys.readouterr().out
    assert (folder / "study" / "report.html").is_file()


# -- the terminal ----------------------------------------------------------------------------------


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [80, 140])
def test_a_terminal_shows_what_goes_on(
    columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is wider than it, and what is shown at last is gone at the end."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    with progress.Display() as display:
        search(tmp_path, listener=display)
        display._live.refresh()  # type: ignore[union-attr]
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    lines = re.split(r"[\r\n]+", text)
    assert max(map(len, lines)) <= columns
    assert any(re.fullmatch(r"trial    0  accuracy .*", line) for line in lines)
    summary = re.compile(
        r"  5 of 5 trials · best accuracy [\d.]+% · [\d,.]+ trials/h · about \d+ s left"
    )
    assert any(summary.fullmatch(line.rstrip()) for line in lines)


def test_the_pace() -> None:
    """Finalists are trained in full: they take as long as complete trials."""
    now = 100.0
    clock = pytest.MonkeyPatch()
    clock.setattr(progress.time, "monotonic", lambda: now)
    try:
        pace = progress.Pace(trials=10, done=2, finalists=3, seconds=50.0)
        assert (pace.per_hour(), pace.left()) == (None, 50.0)
        now = 110.0
        assert pace.left() == 40.0
        whole = TrialRecord(3, "complete", (0.5,), {}, None, None, seconds=8.0)
        pace.ended(whole, 4)
        assert pace.per_hour() == 2 / 10 * 3600
        assert pace.left() == 6 * 5 + 3 * 8
        now = 200.0
        pace.finalist(1, 3)
        assert pace.left() == 3 * 8
        now = 212.0
        pace.finalist(2, 3)
        assert pace.left() == 2 * 12
    finally:
        clock.undo()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "3 s"), (89, "89 s"), (600, "10 min"), (7199, "2 h 0 min"), (12000, "3 h 20 min"),
     (300_000, "3 days")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text

"""The page and pictures of a search, at every stage that a study can be in."""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import random
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import kendalltau

from archspec.errors import ArchspecError
from archspec.search.record import Finalist, Network, Record, TrialRecord
from archspec.search.report import front, importance, scores, summary, words, write
from archspec.search.report.agreement import RESAMPLES, SEED, kendall
from archspec.search.report.compare import side, stage_variables
from archspec.search.report.results import at_common_rung, best_so_far, non_dominated, targets
from archspec.search.report.svg import inline
from archspec.spec import Spec, load, loads

NASTY = "<script>alert('x')</script>&\"</svg>\x07$a_1$"
PLOTS = ("curves", "front", "importance", "progress", "scores")
NETWORKS = (
    Network("smlpnet_t", 5_011_528_960, 24_123_584, 81.9),
    Network("smlpnet_b", 14_028_487_424, 65_880_408, 83.4),
)


def trial(number: int, objectives: tuple[str, ...] = ("accuracy",)) -> TrialRecord:
    """A plausible one: accuracy grows with `dim`, a little with `depths[2]`; naswot knows it."""
    noise = random.Random(number)
    choices = {
        "dim": noise.randrange(48, 161, 8),
        "depths[2]": noise.randint(1, 32),
        "stages.stage1.vars.alpha": noise.choice([2, 3, 4]),
        "mixer": noise.choice(["cross", "local"]),
    }
    quality = 0.5 + choices["dim"] / 500 + choices["depths[2]"] / 2000
    rungs = {e: quality * (1 - math.exp(-e)) + noise.gauss(0, 0.004) for e in (1, 3, 9)}
    flops, params = noise.randint(4_750_000_000, 5_000_000_000), noise.randint(10**7, 6 * 10**7)
    naswot = {"naswot": 1000 * quality, "grad_norm": noise.random()}
    figures = {
        "accuracy": rungs[9],
        **naswot,
        "latency": noise.uniform(0.01, 0.02),
        "params": float(params),
    }
    values = tuple(figures[name] for name in objectives)
    return TrialRecord(
        number, "complete", values, choices, flops, params, naswot, rungs, noise.uniform(20, 99)
    )


def study(count: int, objectives: tuple[str, ...] = ("accuracy",), **changes: Any) -> Record:
    """A study of complete trials."""
    record = Record(
        name="smlpnet-5g", space="smlpnet_space", budget="4.75G..5GFLOPs",
        windows={"flops": (4_750_000_000, 5_000_000_000)}, space_size=1_274_019_840,
        feasible=11_524_429, is_exact=True, objectives=objectives,
        directions=tuple("maximize" if name in ("accuracy", "naswot") else "minimize"
                         for name in objectives),
        sampler="feasible TPE", seed=3, data="digits: 1,437 images to train", device="cpu",
        plan={"epochs": 9, "batch_size": 64}, networks=NETWORKS, versions={"optuna": "5.0.0"},
        trials=tuple(trial(number, objectives) for number in range(count)),
    )  # fmt: skip
    return replace(record, **changes)


def pruned(entry: TrialRecord) -> TrialRecord:
    return replace(entry, state="pruned", values=(), rungs={1: entry.rungs[1]})


def failed(entry: TrialRecord, outcome: str = "out of memory") -> TrialRecord:
    return replace(entry, state="failed", values=(), rungs={}, outcome=outcome)


def running(entry: TrialRecord) -> TrialRecord:
    return replace(entry, state="running", values=(), rungs={}, scores={}, seconds=None)


def mixed(count: int = 24, objectives: tuple[str, ...] = ("accuracy",)) -> Record:
    """Of six trials one failed and two were pruned; four finalists, and a winner."""
    record = study(count, objectives)
    kinds = (lambda t: t, pruned, lambda t: t, failed, pruned, lambda t: t)
    trials = tuple(kinds[t.number % 6](t) for t in record.trials[:-1])
    complete = sorted((t for t in trials if t.values), key=lambda t: -t.values[0])
    finalists = tuple(
        Finalist(t.number, {7: t.values[0] - 0.01, 8: t.values[0] - 0.02}) for t in complete[:4]
    )
    return replace(
        record, trials=(*trials, running(record.trials[-1])), finalists=finalists,
        winner=finalists[0].number, rule="Best mean over 2 fresh seeds.",
    )  # fmt: skip


TINY = """
name: NAME
input: {channels: 3, height: 8, width: 8}
classes: 10
stages:
  a:
    vars: {k: 3}
    enter: [{conv: {kernel: 3, stride: 4, out: 16}}]
    repeat: 2
    body: [{linear: {out: k * C / 3}}]
head: [global_pool, {linear: {out: classes}}]
"""


def tiny(name: str = "tiny") -> Spec:
    return loads(TINY.replace("NAME", name))


class Page(HTMLParser):
    """What a browser would find: elements, ids, references, text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self._raw: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag in ("script", "style"):
            self._raw = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._raw:
            self._raw = None

    def handle_data(self, data: str) -> None:
        if self._raw == "script":
            self.scripts.append(data)
        elif self._raw is None:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def section(self, name: str, text: str) -> str:
        """The words of one section of the page's text."""
        return Page(text.split(f'<section id="{name}">')[1].split("</section>")[0]).text


def written(record: Record, folder: Path, **specs: Spec) -> str:
    return write(record, folder, **specs).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a study that has everything."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "front").mkdir()
    for name in ("winner.yaml", "front/a b#1.yaml", "other.yaml"):
        (folder / name).write_text("")
    return written(mixed(), folder, winner=tiny(), reference=load("smlpnet_t"))


# -- every stage of a study --------------------------------------------------------------------

STUDIES = {
    "nothing has begun": (study(0), ()),
    "the first is running": (study(1, trials=(running(trial(0)),)), ()),
    "one is complete": (study(1), ("curves", "front", "progress")),
    "only failures": (study(3, trials=tuple(failed(trial(n)) for n in range(3))), ("progress",)),
    "only pruned": (
        study(9, trials=tuple(pruned(trial(n)) for n in range(9))),
        ("curves", "importance", "progress", "scores"),
    ),
    "hundreds": (mixed(300), PLOTS),
    "three objectives": (mixed(24, ("accuracy", "latency", "params")), PLOTS),
    "accuracy comes second": (
        study(3, ("latency", "accuracy")), ("curves", "front", "progress"),
    ),
    "values that are no numbers": (
        study(5, trials=tuple(replace(trial(n), values=(v,)) for n, v in
                              enumerate((math.nan, math.inf, 0.5, -math.inf, 0.6)))),
        ("curves", "front", "progress"),
    ),
    "all the same": (
        study(8, trials=tuple(replace(trial(0), number=n) for n in range(8))),
        ("curves", "front", "progress"),
    ),
    "no cost, no window, endless space": (
        study(4, windows={}, space_size=None, is_exact=False,
              trials=tuple(replace(trial(n), flops=None, params=None) for n in range(4))),
        ("curves", "progress", "scores"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.filterwarnings("error::UserWarning")
def test_every_study_has_a_page(name: str, tmp_path: Path) -> None:
    record, plots = STUDIES[name]
    text = written(record, tmp_path)
    page = Page(text)
    assert record.budget in page.text
    assert len(page.ids) == len(set(page.ids))
    assert {f"trial-{entry.number}" for entry in record.trials} <= set(page.ids)
    assert sorted(path.stem for path in (tmp_path / "plots").iterdir()) == sorted(plots)
    for path in (tmp_path / "plots").iterdir():
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.width == 1600
    assert text.count("<svg") == len(plots)
    assert "None" not in page.text
    assert "nan" not in page.text.split()


def test_the_same_record_gives_the_same_page(tmp_path: Path) -> None:
    first = written(study(2), tmp_path / "a", winner=tiny())
    assert written(study(2), tmp_path / "b", winner=tiny()) == first


def test_a_plot_of_an_earlier_study_does_not_stay(tmp_path: Path) -> None:
    write(study(4), tmp_path)
    assert (tmp_path / "plots" / "scores.png").exists()
    (tmp_path / "plots" / "mine.png").write_bytes(b"kept")
    write(study(1), tmp_path)
    found = {path.name for path in (tmp_path / "plots").iterdir()}
    assert found == {"curves.png", "front.png", "progress.png", "mine.png"}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(ArchspecError) as caught:
        write(study(1), tmp_path / "run")
    assert str(caught.value) == f"cannot write {tmp_path / 'run' / 'plots'}: Not a directory"


# -- what it says ------------------------------------------------------------------------------


def test_the_head(full: str) -> None:
    page = Page(full)
    head = page.section("study", full)
    for words_ in (
        "smlpnet_space, 1,274,019,840 networks",
        "4.75G..5GFLOPs; FLOPs from 4,750,000,000 to 5,000,000,000",
        "11,524,429 networks, 0.90 % of the space (counted exactly)",
        "feasible TPE, seed 3",
        "epochs 9; batch size 64",
        "out of memory: 4",
        "optuna 5.0.0",
    ):
        assert words_ in head
    assert "24 trials 11 complete 8 pruned 4 failed 1 running" in page.text


def test_an_estimate_is_called_one(tmp_path: Path) -> None:
    text = written(study(0, is_exact=False, space_size=None), tmp_path)
    head = Page(text).section("study", text)
    assert "about 11,524,429 networks (estimated)" in head
    assert "without end: a value is continuous" in head


def test_the_winner(full: str) -> None:
    record = mixed()
    section = Page(full).section("winner", full)
    best = record.trial(record.winner or 0)
    assert f"{100 * (best.values[0] - 0.015):.2f} % mean accuracy, fresh seeds" in section
    assert "Best mean over 2 fresh seeds." in section
    assert f"dim: {best.choices['dim']}" in section
    assert "stage1.alpha: " in section
    assert "smlpnet_t was not trained here; its paper gives 81.9 % top-1 on ImageNet" in section
    assert "a 2 16 3 " in section
    assert "stage3 14 320 2.609 G 13.20 M" in section  # only the reference has it
    assert "5.012 G" in section


def test_a_winner_without_a_reference(tmp_path: Path) -> None:
    text = written(study(1, winner=0), tmp_path, winner=tiny())
    section = Page(text).section("winner", text)
    assert "Stage by stage stage layers width k FLOPs parameters a 2 16 3" in section
    assert "Reference" not in section


def test_without_a_winner_the_best_so_far_is_named(tmp_path: Path) -> None:
    record = study(3)
    number = max(record.trials, key=lambda entry: entry.values[0]).number
    text = written(record, tmp_path)
    words_ = f"The best so far by accuracy is trial {number} ."
    assert words_ in Page(text).section("winner", text)


def test_networks_of_the_paper_get_no_accuracy(full: str) -> None:
    section = Page(full).section("front", full)
    assert "nobody knows their accuracy on these data" in section
    assert "Too far away to be shown: smlpnet_b (14.03 GFLOPs)" in section
    assert "smlpnet_t" in section
    assert "81.9" not in section


def test_which_networks_are_near() -> None:
    record = study(9)
    assert [n.name for n in front.near(record, "flops", record.trials)] == ["smlpnet_t"]
    assert [n.name for n in front.far(record)["flops"]] == ["smlpnet_b"]


def test_too_few_trials_for_importance(tmp_path: Path) -> None:
    text = written(study(7), tmp_path)
    section = Page(text).section("importance", text)
    assert section == (
        "What mattered Too few trials to say (7 with comparable results; 8 are needed)."
    )


def test_specs_in_the_folder_are_linked_to(full: str) -> None:
    page = Page(full)
    links = [attrs.get("href") for tag, attrs in page.tags if tag == "a"]
    assert [link for link in links if link and ".yaml" in link] == [
        "winner.yaml", "front/a%20b%231.yaml",
    ]  # fmt: skip


# -- a page for itself, whatever names say -----------------------------------------------------


def test_nothing_is_loaded_from_elsewhere(full: str) -> None:
    for tag, attrs in Page(full).tags:
        for name in ("src", "href", "xlink:href", "srcset", "poster", "data"):
            value = attrs.get(name) or "#"
            assert value.startswith(("#", "data:,")) or (tag == "a" and ":" not in value)
    assert not re.search(r"@import|url\((?!#)", full)
    assert "default-src 'none'" in full


def test_only_the_pages_own_script_may_run(full: str) -> None:
    page = Page(full)
    (policy,) = (attrs["content"] for _, attrs in page.tags if "http-equiv" in attrs)
    digest = base64.b64encode(hashlib.sha256("".join(page.scripts).encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy


def test_everything_is_escaped(tmp_path: Path) -> None:
    record = mixed()
    trials = tuple(
        replace(
            entry, choices={**entry.choices, NASTY: NASTY + str(entry.number)},
            scores={NASTY: float(entry.number), **entry.scores},
            outcome=NASTY if entry.outcome else None,
        )
        for entry in record.trials
    )  # fmt: skip
    record = replace(
        record, name=NASTY, space=NASTY, budget=NASTY, sampler=NASTY, data=NASTY, device=NASTY,
        rule=NASTY, plan={NASTY: NASTY}, versions={NASTY: NASTY}, trials=trials,
        networks=(Network(NASTY, 4_900_000_000, 30_000_000, None),),
    )  # fmt: skip
    text = written(record, tmp_path, winner=tiny())
    page = Page(text)
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert "alert" not in "".join(page.scripts)
    assert text.count("</svg>") == text.count("<svg") == 6
    assert "<script>alert('x')</script>&\"</svg>" in page.text


def test_two_drawings_share_no_id(full: str) -> None:
    page = Page(full)
    ids = set(page.ids)
    assert len(ids) == len(page.ids)
    for prefix in ("network0-", "network1-"):
        assert any(name.startswith(prefix) for name in ids)
    used = {value for _, attrs in page.tags for value in attrs.values() if value}
    referred = {name for value in used for name in re.findall(r"url\(#([^)]+)\)", value)}
    assert referred <= ids
    assert len({name.split("-")[0] for name in referred}) >= 2


def test_points_say_what_they_are_and_lead_to_their_row(full: str) -> None:
    record = mixed()
    progress = full.split('<section id="progress">')[1].split("</section>")[0]
    linked = sorted(int(n) for n in re.findall(r'href="#trial-(\d+)"', progress))
    assert linked == [t.number for t in record.trials if t.state in ("complete", "pruned")]
    assert f"<title>trial 0, accuracy {100 * record.trials[0].values[0]:.2f} %, " in progress


def test_plots_take_the_colours_of_the_page(full: str) -> None:
    (svg,) = re.findall(r"<svg.*?</svg>", full.split('<section id="progress">')[1], re.S)[:1]
    assert "var(--blue)" in svg
    assert "#0072b2" not in svg
    variables = set(re.findall(r"var\(--(\w+)\)", svg))
    defined = re.findall(r"--(\w+): #", full.split("</style>")[0])
    assert all(defined.count(name) == 2 for name in variables)  # on light, on dark


def test_an_inlined_picture_keeps_styles_and_metadata_to_itself() -> None:
    document = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="9pt"><metadata/><defs><style>*{}</style>'
        '<path id="p"/></defs><g id="q" clip-path="url(#p)"/></svg>'
    )
    assert inline(document, "one", "a < b") == (
        '<svg xmlns="http://www.w3.org/2000/svg" width="9pt" role="img" '
        'style="--natural: 9pt" aria-label="a &lt; b"><defs><path id="one-p" /></defs>'
        '<g clip-path="url(#one-p)" /></svg>'
    )


# -- results -----------------------------------------------------------------------------------


def test_the_best_so_far() -> None:
    values = (0.3, 0.2, 0.5, 0.5, 0.6)
    trials = tuple(replace(trial(n), values=(v,)) for n, v in enumerate(values))
    record = study(5, trials=(*trials[:3], pruned(trials[3]), trials[4]))
    assert best_so_far(record, 0) == [(0, 0.3), (2, 0.5), (4, 0.6)]
    assert best_so_far(replace(record, directions=("minimize",)), 0) == [(0, 0.3), (1, 0.2)]


@pytest.mark.parametrize(("x_up", "y_up"), [*itertools.product((False, True), repeat=2)])
def test_the_front_is_what_nothing_beats(x_up: bool, y_up: bool) -> None:
    noise = random.Random(5)
    points = [(noise.randint(0, 9), noise.randint(0, 9)) for _ in range(40)]
    places = [(float(x), float(y)) for x, y in points]

    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        x, y = (a[0] - b[0]) * (1 if x_up else -1), (a[1] - b[1]) * (1 if y_up else -1)
        return x >= 0 and y >= 0 and (x > 0 or y > 0)

    expected = {p for p in places if not any(beats(q, p) for q in places)}
    found = [places[index] for index in non_dominated(places, x_up=x_up, y_up=y_up)]
    assert set(found) == expected
    assert len(found) == len(expected)


def test_pruned_trials_are_compared_where_all_have_been() -> None:
    record = mixed()
    found = at_common_rung(record)
    assert found is not None
    assert found.name == "accuracy at epoch 1"
    ended = [t for t in record.trials if t.state in ("complete", "pruned")]
    assert dict(found.of) == {t.number: t.rungs[1] for t in ended}
    assert [target.name for target in targets(study(9))] == ["accuracy after the whole training"]


def test_the_summary() -> None:
    record = mixed()
    found = summary(record)
    assert found["states"] == {"complete": 11, "pruned": 8, "failed": 4, "running": 1}
    assert found["outcomes"] == {"out of memory": 4}
    assert found["best"]["number"] == found["winner"]["number"] == record.winner
    assert found["winner"]["mean"] == pytest.approx(record.finalists[0].mean)
    assert found["seconds"] == pytest.approx(sum(t.seconds or 0 for t in record.trials))
    assert summary(study(0))["best"] is None


# -- importance and agreement ------------------------------------------------------------------


def test_what_matters_is_found() -> None:
    found = importance.importance(study(60))
    assert found is not None
    assert next(iter(found.of)) == "dim"
    assert found.of["dim"][0] > 0.8
    assert abs(found.of["mixer"][0]) < 0.05
    assert found.r2 > 0.8
    assert found == importance.importance(study(60))


def test_a_forest_that_explains_nothing_says_so(tmp_path: Path) -> None:
    noise = random.Random(2)
    trials = tuple(replace(trial(n), values=(noise.random(),), rungs={}) for n in range(20))
    text = written(study(20, trials=trials), tmp_path)
    section = Page(text).section("importance", text)
    assert "Not to be told from 20 trials" in section
    assert not (tmp_path / "plots" / "importance.png").exists()


def test_importance_uses_pruned_trials_at_the_common_rung() -> None:
    found = importance.importance(mixed(30))
    assert found is not None
    assert found.target == "accuracy at epoch 1"
    assert found.n == sum(t.state in ("complete", "pruned") for t in mixed(30).trials)


def test_kendall_is_scipys_and_its_interval_that_of_resamples() -> None:
    noise = np.random.default_rng(1)
    x = noise.integers(0, 12, 30).astype(float)  # with ties
    y = x + noise.integers(-6, 7, 30)
    found = kendall(list(x), list(y))
    assert found is not None
    assert found.tau == pytest.approx(kendalltau(x, y).statistic)
    drawn = np.random.default_rng(SEED).multinomial(30, np.full(30, 1 / 30), size=RESAMPLES)
    taus = [kendalltau(np.repeat(x, times), np.repeat(y, times)).statistic for times in drawn]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(taus, (0.025, 0.975))))
    assert found.n == 30


def test_kendall_at_its_ends() -> None:
    up = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert kendall(up, up) == pytest.approx((1.0, 1.0, 1.0, 5))
    assert kendall(up, up[::-1]) == pytest.approx((-1.0, -1.0, -1.0, 5))
    assert str(kendall(up, up[::-1])) == "−1.00 [−1.00, −1.00], n = 5"


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([], []),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0, math.nan], [1.0, 2.0, 3.0, 4.0]),
        ([1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]),
        ([1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0]),
    ],
)
def test_kendall_says_nothing_where_there_is_nothing_to_say(x: list[float], y: list[float]) -> None:
    assert kendall(x, y) is None


def test_kendall_needs_pairs() -> None:
    with pytest.raises(ValueError, match="x and y have different lengths: 4 and 3"):
        kendall([1, 2, 3, 4], [1, 2, 3])


def test_scores_against_every_kind_of_result() -> None:
    record = mixed()
    found = scores.scores(record)
    assert [entry.name for entry in found.predictors] == ["params", "flops", "grad_norm", "naswot"]
    assert len(found.targets) == 3
    tau = found.tau["naswot", "accuracy at epoch 1"]
    assert tau is not None
    assert tau.low > 0.7
    assert scores.verdict(record, found) is None


def by_score(count: int, **changes: Any) -> Record:
    """A search by a training-free score: nothing was trained."""
    trials = tuple(
        replace(t, values=(t.scores["naswot"],), rungs={}) for t in study(count).trials
    )  # fmt: skip
    return replace(study(count, ("naswot",)), trials=trials, **changes)


def test_a_score_that_nobody_checked() -> None:
    record = by_score(9)
    assert scores.verdict(record, scores.scores(record)) == (
        "The objective was naswot, which needs no training, and no network was trained: nothing "
        "here says what a high score is worth in accuracy."
    )


def test_a_score_checked_on_finalists() -> None:
    finalists = tuple(Finalist(t.number, {1: t.rungs[9]}) for t in study(9).trials)
    record = by_score(9, finalists=finalists)
    found = scores.verdict(record, scores.scores(record))
    assert found is not None
    assert found.startswith(
        "The objective was naswot, which needs no training. Against the finalists’ mean accuracy "
        "over fresh seeds its Kendall τ is +"
    )
    assert found.endswith("above 0: it did rank networks, as far as these trials show.")
    record = by_score(9, finalists=finalists[:3])
    assert scores.verdict(record, scores.scores(record)) == (
        "The objective was naswot, which needs no training. Only 3 trials were trained, too few "
        "to say what a high score is worth."
    )


# -- words and sides ---------------------------------------------------------------------------


def test_figures() -> None:
    assert [words.figure(v) for v in (5_011_528_960, 24_123_584, 950, 0, 0.01234, None)] == [
        "5.012 G", "24.12 M", "950", "0", "0.01234", "–",
    ]  # fmt: skip
    assert words.reading("accuracy", 0.8194) == "81.94 %"
    assert words.reading("latency", 0.01234) == "12.34 ms"
    assert words.change(90, 100) == "−10.0 %"
    assert [words.duration(s) for s in (4.25, 725, 12_000, None)] == [
        "4.2 s", "12 min 05 s", "3 h 20 min", "–",
    ]  # fmt: skip
    assert words.cut("a\nb" + "c" * 50, 8) == "a bcccc…"


def test_short_names_stay_apart() -> None:
    names = ["stages.a.vars.k", "stages.b.vars.k", "b.k", "dim"]
    assert words.short_names(names) == {
        "stages.a.vars.k": "a.k", "stages.b.vars.k": "stages.b.vars.k", "b.k": "b.k", "dim": "dim",
    }  # fmt: skip


def test_a_side_is_counted_stage_by_stage() -> None:
    spec = load("smlpnet_t")
    found = side(spec)
    assert (found.flops, found.params) == (5_011_528_960, 24_123_584)
    assert [entry["layers"] for entry in found.stages.values()] == [2, 8, 14, 2, 0]
    assert [entry["width"] for entry in found.stages.values()] == [80, 160, 320, 640, None]
    assert sum(entry["flops"] for entry in found.stages.values()) == found.flops
    space = load("smlpnet_space")
    assert stage_variables(space, spec) == ["alpha"]
    assert found.stages["stage1"]["vars"]["alpha"] == 3


def test_importing_it_is_cheap() -> None:
    heavy = ("torch", "numpy", "matplotlib", "sklearn", "scipy", "jinja2", "optuna")
    code = (
        "import sys, archspec.search.report; import archspec.search.report.agreement\n"
        f"print(*[name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

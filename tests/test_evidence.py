"""The evidence that the search works: computed from what was trained, kept, and told as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import archspec
from archspec.search.data import Data, Split
from benchmarks import __main__ as command
from benchmarks import evidence, evidence_jobs, evidence_scale, evidence_tables
from benchmarks import evidence_figures as figures
from benchmarks.evidence_jobs import Jobs
from benchmarks.evidence_scale import FULL, SCALES, SMALL, Scale, first
from benchmarks.registry import Benchmark, Device, Findings, Row
from benchmarks.timing import Quartiles

ROOT = Path(__file__).parent.parent
TINY = Scale(
    space="smlpnet_cifar_space", values={}, budget="3.7MFLOPs", networks=2,
    images=40, epochs=2, short=(20, 1), longer=((40, 1),), held_out=8, test=8,
    trials=2, seeds=(1,), ablation={"dim": 2, "depths": [1, 1, 1, 1]}, widened=3,
)  # fmt: skip


def noise(limit: int | None) -> Data:
    """Images of 16×16 in two classes, the second of which is brighter."""
    random = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels_N = np.arange(count) % 2
        images_NCHW = (
            random.integers(0, 100, (count, 3, 16, 16)) + 100 * labels_N[:, None, None, None]
        )
        return Split(images_NCHW.astype(np.uint8), labels_N)

    parts = [split(count) for count in (limit or 40, 8, 8)]
    return Data("noise", ("dark", "bright"), *parts, (0.4,) * 3, (0.2,) * 3, True, f"{limit}")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(TINY, "cpu", tmp_path, noise)


# -- what is trained ------------------------------------------------------------------------------


@pytest.mark.parametrize("device", SCALES)
def test_networks_are_inside_the_window_and_of_all_widths(device: Device, tmp_path: Path) -> None:
    jobs = Jobs(SCALES[device], device, tmp_path, noise)
    drawn = jobs.drawn()
    assert len(drawn) == jobs.scale.networks
    assert len({spec.digest for spec in drawn}) == len(drawn)
    for spec in drawn:
        cost = archspec.cost(spec)
        assert jobs.window.budget.allows(int(cost.flops), int(cost.params))
    place = [dim.name for dim in jobs.space.dims].index("dim")
    there = np.bincount(jobs.window.rows(np.arange(jobs.window.count))[:, place])
    widths = [spec.to_dict()["vars"]["dim"] for spec in drawn]
    counts = [widths.count(width) for width in jobs.space.dims[place].values[: len(there)]]
    for count, most in zip(counts, there.tolist(), strict=True):
        assert count >= min(max(counts) - 1, most)


@pytest.mark.parametrize(
    ("device", "dim", "depths"), [("cpu", 10, [1, 4, 7, 1]), ("cuda", 48, [2, 8, 14, 2])]
)
def test_the_papers_network(device: Device, dim: int, depths: list[int], tmp_path: Path) -> None:
    jobs = Jobs(SCALES[device], device, tmp_path, noise)
    assert jobs.choices(jobs.paper()) == {"dim": dim, "depths": depths, "alpha": [3, 3, 3, 3]}


@pytest.mark.parametrize("scale", [SMALL, FULL])
def test_ablations_differ_in_their_mixer_alone(scale: Scale) -> None:
    found = evidence.ablations(scale)
    widths = {case: spec.to_dict()["vars"]["dim"] for case, spec in found.items()}
    assert widths.pop("local only, wider") == round(1.4 * widths["both"])  # 112 / 80, as the paper
    assert len(set(widths.values())) == 1
    for spec in found.values():
        own = spec.to_dict()["vars"]
        assert (own["alpha"], own["drop_path"], own["depths"]) == (2, 0, scale.ablation["depths"])
    assert {left for pair in figures.CLAIMS.values() for left in pair} == set(found)


def test_the_first_images_of_each_class() -> None:
    labels_N = np.array([0, 0, 0, 1, 1, 1, 1])
    kept = first(Split(np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1), labels_N), 4)
    assert kept.images_NCHW.ravel().tolist() == [0, 1, 3, 4]
    assert kept.labels_N.tolist() == [0, 0, 1, 1]


# -- what is kept ---------------------------------------------------------------------------------


def test_a_cut_training_goes_on_and_a_finished_one_is_not_repeated(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = evidence.ablations(TINY)["both"]
    train, epochs = evidence_jobs.train, []

    def cut(*args: Any, **options: Any) -> None:
        def stop(epoch: Any) -> None:
            raise KeyboardInterrupt

        train(*args, **options, on_epoch=stop)

    def counted(*args: Any, **options: Any) -> Any:
        return train(*args, **options, on_step=lambda step, steps: epochs.append(step))

    monkeypatch.setattr(evidence_jobs, "train", cut)
    with pytest.raises(KeyboardInterrupt):
        jobs.long(spec, 1)
    assert not list(jobs.folder.glob("long-*.json"))
    monkeypatch.setattr(evidence_jobs, "train", counted)
    found = jobs.long(spec, 1)
    assert epochs == [1]  # the one step of the second epoch
    assert len(found["curve"]) == 2
    assert jobs.long(spec, 1) == found
    assert epochs == [1]
    assert [path.suffix for path in jobs.folder.iterdir()] == [".json"]
    jobs.long(spec, 2)
    assert epochs == [1, 1, 1]


def test_all_of_it_on_a_small_scale(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: evidence.ABLATIONS[name] for name in ("both", "local only, wider")}
    monkeypatch.setattr(evidence, "ABLATIONS", few)
    details = evidence.gather(jobs)
    assert json.loads(json.dumps(details)) == details  # plain data
    assert len(details["networks"]) == TINY.networks
    assert [short["passes"] for short in details["networks"][0]["short"]] == [20, 40]
    assert details["networks"][0]["long"]["passes"] == 80
    assert len(details["search"]["trials"]) == TINY.trials
    assert {case: list(v["accuracy"]) for case, v in details["ablations"].items()} == {
        case: ["1"] for case in few
    }
    assert set(details["compared"]) == {"winner", "paper"}
    assert not list(jobs.folder.rglob("*.pt"))


# -- what is said of it ---------------------------------------------------------------------------


def made_up(spread: float = 0.01) -> dict[str, Any]:
    """Eight networks whose short accuracy orders them as their long one; parameters reverse it."""

    def seeds(mean: float) -> dict[str, Any]:
        accuracy = {"1": mean - spread, "2": mean, "3": mean + spread}
        choices = {"dim": 8, "depths": [1, 1, 1, 1], "alpha": [3, 3, 3, 3]}
        return {"accuracy": accuracy, "flops": 3_600_000, "params": 200_000, "choices": choices}

    def short(accuracy: float) -> dict[str, Any]:
        return {
            "accuracy": accuracy, "loss": 1.0, "images": 20, "epochs": 1, "seconds": 1.0,
            "passes": 20,
        }  # fmt: skip

    networks = [
        {
            "choices": {"dim": 8 + i // 4}, "params": 100 - i, "flops": 7, "naswot": float(i % 2),
            "synflow": [0, 2, 1, 3][i % 4] + i, "grad_norm": float(i in (3, 5)),
            "short": [short(0.2 + 0.01 * i)],
            "long": {"accuracy": 0.4 + 0.02 * i, "seconds": 20.0, "passes": 400},
        }
        for i in range(8)
    ]  # fmt: skip
    trials = [
        {"started": f"2026-01-01T00:{at}", "seconds": 36.0, "state": "complete", "values": [0.3]}
        for at in ("00:00", "00:36", "01:48")
    ]
    cases = {name: seeds(0.5) for name in evidence.ABLATIONS} | {"both": seeds(0.6)}
    return {
        "networks": networks, "ablations": cases, "search": {"trials": trials},
        "compared": {"winner": seeds(0.50), "paper": seeds(0.51)},
    }  # fmt: skip


def test_agreement_is_kendalls() -> None:
    found = figures.agreements(made_up())
    own = found["accuracy after 20 images × 1"]
    assert own is not None
    assert (own["tau"], own["n"]) == (pytest.approx(1), 8)
    assert found["params"] is not None
    assert found["params"]["tau"] == pytest.approx(-1)
    assert found["flops"] is None  # the same everywhere
    assert found["loss after 20 images × 1"] is None
    synflow = found["synflow"]
    assert synflow is not None
    lead = figures.lead(made_up())
    assert (lead["best"], lead["strongest"]) == ("synflow", "params")
    assert lead["difference"] == pytest.approx(1 - synflow["tau"])
    assert lead["low"] <= lead["difference"] <= lead["high"]


def test_agreement_among_networks_of_one_width() -> None:
    details = made_up()
    assert figures.within_widths(details) == {"tau": 1, "pairs": 12}  # 2 widths of 4
    details["networks"][0]["short"][0]["accuracy"] = 0.99  # wrong in 3 pairs
    assert figures.within_widths(details) == {"tau": 0.5, "pairs": 12}


def test_the_ceiling_falls_with_the_spread_of_seeds() -> None:
    # what a seed does to all alike does not change their order
    assert figures.ceiling(made_up())["tau"] == pytest.approx(1)
    details = made_up()
    networks = figures.ceiling(details)["networks"]
    for sign, case in zip([1, -1], details["compared"].values(), strict=True):
        case["accuracy"] = {"1": 0.5 + sign * networks, "2": 0.5 - sign * networks}
    for case in details["ablations"].values():
        case["accuracy"] = {"1": 0.5, "2": 0.5}
    # 4 squares of `networks` in 1 + 7 degrees of freedom: r = 1/2, ρ = √½, τ = 2/π · 45°
    assert figures.ceiling(details)["tau"] == pytest.approx(0.5)


def test_what_a_seed_does_to_all_is_taken_out_of_pairs() -> None:
    spread, freedom = figures.residual([[[0.4, 0.5, 0.6], [0.5, 0.6, 0.7]]])
    assert (spread, freedom) == (pytest.approx(0, abs=1e-9), 2)
    found = figures.conclusions(made_up())["both beat local only"]
    assert found["low"] < found["paired"]["low"] == pytest.approx(found["difference"])


def test_drawn_and_chosen_networks_are_told_apart() -> None:
    details = made_up()
    scores = [0.2] * 9 + [0.3] + [0.25, 0.35]
    details["search"]["trials"] = [{"state": "complete", "values": [s]} for s in scores]
    found = figures.proposals(details)
    assert found["drawn"] == {"count": 10, "mean": pytest.approx(0.21), "best": 0.3}
    assert found["chosen"] == {"count": 2, "mean": pytest.approx(0.3), "best": 0.35}


def test_differences_and_verdicts() -> None:
    # within ±0.01 of three seeds: a deviation of 0.01, whose mean differs by 0.01 · √(2/3)
    spread, freedom = figures.pooled([[0.4, 0.41, 0.42], [0.5, 0.51, 0.52]])
    assert (spread, freedom) == (pytest.approx(0.01), 4)
    found = figures.compare([0.4, 0.41, 0.42], [0.5, 0.51, 0.52], spread, freedom)
    assert found["difference"] == pytest.approx(-0.1)
    assert found["high"] == pytest.approx(-0.1 + 2.7764451 * 0.01 * (2 / 3) ** 0.5)
    assert found["verdict"] == "does not hold"
    verdicts = {claim: each["verdict"] for claim, each in figures.conclusions(made_up()).items()}
    assert verdicts["both beat local only"] == "holds"
    assert verdicts["parallel is no worse than sequential"] == "undecided"
    assert figures.winner(made_up())["verdict"] == "undecided"


def test_rows_and_tables_say_the_same() -> None:
    details = made_up()
    rows = {(row.case.split(",")[0], row.figure): row.value for row in figures.rows(details)}
    assert rows["search", "pace"].median == 100
    assert rows["long training", "winner − paper"].median == pytest.approx(-1)
    assert rows["8 networks", "params: τ (95 % interval)"].median == pytest.approx(-1)
    details["answers"] = figures.answers(details)
    tables = evidence_tables.tables(details)
    assert "| accuracy after 20 images × 1 | +1.00 |" in tables["agreement"]
    assert "| flops | — | — |" in tables["agreement"]
    assert "| 100 | 36.0 | 1 / 20 | 1 / 20 |" in tables["pace"]
    assert "| difference |  |  |  | −1.00 [" in tables["winner"]
    assert "| both | 3.60 M | 200 k | 60.00 % | ± 1.00 |" in tables["ablations"]
    assert "| 3 drawn | 30.0 % | 30.0 % |" in tables["proposals"]
    assert "| both beat local only | +10.00 [" in tables["conclusions"]


def test_the_page_says_what_was_measured() -> None:
    kept = json.loads((ROOT / "benchmarks" / "results" / "evidence-cpu.json").read_text())
    page = (ROOT / "docs" / "evidence.md").read_text()
    details = kept["details"]
    assert kept["details"]["answers"] == json.loads(json.dumps(figures.answers(details)))
    for name, table in evidence_tables.tables(details).items():
        assert table in page, f"{name}: run python -m benchmarks.evidence_tables"


# -- where it cannot be measured ------------------------------------------------------------------


def test_without_the_images_it_is_pending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(evidence_scale.VARIABLE, str(tmp_path / "nowhere"))
    monkeypatch.setattr(command.environment, "gpu_model", lambda: None)
    assert command.main(["evidence", "--results", str(tmp_path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "evidence (cpu): pending: needs CIFAR-10 as Parquet files; set ARCHSPEC_CIFAR10 to their "
        "folder evidence (cuda): pending: needs a CUDA GPU"
    ) in text
    assert list(tmp_path.iterdir()) == []


def test_what_takes_long_runs_only_when_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row("a case", "a figure", Quartiles.of([1.0]), "s")
    long = Benchmark(
        "long", "much", ("cpu",), lambda device: Findings([row], {"a": 1}), is_long=True
    )
    monkeypatch.setattr(command, "find_all", lambda: {"long": long})
    assert command.main(["--results", str(tmp_path)]) == 0
    assert list(tmp_path.iterdir()) == []
    assert command.main(["long", "--results", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "long-cpu.json").read_text())["details"] == {"a": 1}

"""From what was trained to the figures that answer the questions; plain data in, plain data out.

τ is Kendall's τ-b with the accuracy of long training on test images.
"""

from __future__ import annotations

import datetime
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from archspec.search.report.agreement import _resampled, kendall
from archspec.search.samplers.tpe import STARTUP
from benchmarks import timing
from benchmarks.registry import Row
from benchmarks.timing import Quartiles

CHEAP = ("params", "flops", "naswot", "synflow", "grad_norm")
"""What is known of a network without any training."""
CLAIMS: Mapping[str, tuple[str, str]] = {
    "both beat local only": ("both", "local only"),
    "both beat a wider local only": ("both", "local only, wider"),
    "both beat global only": ("both", "global only"),
    "parallel is no worse than sequential": ("parallel", "sequential"),
    "the same, with identity": ("both", "sequential + identity"),
    "identity helps in parallel": ("both", "parallel"),
    "identity helps in sequence": ("sequential + identity", "sequential"),
    "concatenation is no worse than a sum": ("both", "sum"),
}
"""What the paper concludes from its ablations: the first is to be the better one."""
CONFIDENCE = 0.95

Details = Mapping[str, Any]


def scores_of(details: Details) -> dict[str, list[float]]:
    """What is to predict long training: one figure for each network, higher is better."""
    networks = details["networks"]
    found = {}
    for place, short in enumerate(networks[0]["short"]):
        name = f"{short['images']:,} images × {short['epochs']}"
        found[f"accuracy after {name}"] = [n["short"][place]["accuracy"] for n in networks]
        found[f"loss after {name}"] = [-n["short"][place]["loss"] for n in networks]
    found |= {name: [float(n[name]) for n in networks] for name in CHEAP}
    return found | {"width": [float(n["choices"]["dim"]) for n in networks]}


def agreements(details: Details) -> dict[str, dict[str, Any] | None]:
    """τ of each predictor with its 95 % interval; None for one that is the same everywhere."""
    long = [network["long"]["accuracy"] for network in details["networks"]]
    found = {name: kendall(values, long) for name, values in scores_of(details).items()}
    return {name: None if tau is None else tau._asdict() for name, tau in found.items()}


def lead(details: Details) -> dict[str, Any]:
    """How far τ of the search's own score lies above that of the best cheap one.

    The interval is of the difference, on resampled networks; the cheap score is chosen anew on each
    of them, as its being the best is luck in part. `strongest` is the cheap score of the largest
    |τ|: one that ranks backwards would serve whoever knew that before.
    """
    long = [network["long"]["accuracy"] for network in details["networks"]]
    scores = scores_of(details)
    own = next(iter(scores))
    taus = {name: found["tau"] for name, found in agreements(details).items() if found}
    best = max((name for name in CHEAP if name in taus), key=taus.__getitem__)
    # the same networks are drawn for each score
    drawn = {name: _resampled(np.array([scores[name], long])) for name in (own, *CHEAP)}
    cheap = np.fmax.reduce([drawn[name] for name in CHEAP])
    low, high = np.nanquantile(drawn[own] - cheap, _ends())
    strongest = max((name for name in CHEAP if name in taus), key=lambda name: abs(taus[name]))
    return {
        "best": best, "difference": taus[own] - taus[best],
        "strongest": strongest, "strongest_tau": taus[strongest],
        "low": float(low), "high": float(high),
    }  # fmt: skip


def within_widths(details: Details) -> dict[str, float]:
    """τ of the search's own score over the pairs of networks of one width; a tie is half right."""
    own = next(iter(scores_of(details).values()))
    figures = [
        (n["choices"]["dim"], score, n["long"]["accuracy"])
        for n, score in zip(details["networks"], own, strict=True)
    ]
    signs = [
        float(np.sign(a[1] - b[1]) * np.sign(a[2] - b[2]))
        for a, b in itertools.combinations(figures, 2)
        if a[0] == b[0]
    ]
    return {"tau": statistics.fmean(signs) if signs else math.nan, "pairs": len(signs)}


def _ends() -> tuple[float, float]:
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2


def ceiling(details: Details) -> dict[str, float]:
    """The τ that a perfect score would reach, the seed of the long training being chance.

    With r the share of the variance among the long results that is not the seeds', its correlation
    with them would be √r, and τ of two normal figures of correlation ρ is 2/π · arcsin ρ. What a
    seed does to all networks alike is left out: all were ranked after training with the same one.
    """
    long = [network["long"]["accuracy"] for network in details["networks"]]
    seeds, _ = residual([_results(details[name]) for name in ("compared", "ablations")])
    networks = statistics.stdev(long)
    share = max(0.0, 1 - (seeds / networks) ** 2) if networks else 0.0
    return {
        "tau": 2 / math.pi * math.asin(math.sqrt(share)), "seeds": seeds, "networks": networks,
    }  # fmt: skip


def _results(cases: Mapping[str, Any]) -> list[list[float]]:
    return [list(case["accuracy"].values()) for case in cases.values()]


def residual(tables: Sequence[Sequence[Sequence[float]]]) -> tuple[float, int]:
    """The standard deviation that neither case nor seed explains, and its degrees of freedom.

    Args:
        tables: of cases (rows) and seeds (columns), each with effects of its own.
    """
    squares, freedom = 0.0, 0
    for table in tables:
        x = np.array(table)
        rest = x - x.mean(axis=0) - x.mean(axis=1, keepdims=True) + x.mean()
        squares += float((rest**2).sum())
        freedom += (x.shape[0] - 1) * (x.shape[1] - 1)
    return math.sqrt(squares / freedom), freedom


def pooled(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """The standard deviation within groups, and its degrees of freedom."""
    squares = sum((x - statistics.fmean(group)) ** 2 for group in groups for x in group)
    freedom = sum(len(group) - 1 for group in groups)
    return math.sqrt(squares / freedom), freedom


def compare(
    left: Sequence[float], right: Sequence[float], spread: float, freedom: int
) -> dict[str, Any]:
    """Mean of the left minus that of the right, with its 95 % interval, and what it says.

    Args:
        spread: the standard deviation among seeds.
        freedom: how many degrees of freedom that was estimated with.
    """
    difference = statistics.fmean(left) - statistics.fmean(right)
    error = spread * math.sqrt(1 / len(left) + 1 / len(right))
    half = float(stdtrit(freedom, _ends()[1])) * error
    low, high = difference - half, difference + half
    verdict = "holds" if low > 0 else "does not hold" if high < 0 else "undecided"
    return {"difference": difference, "low": low, "high": high, "verdict": verdict}


def conclusions(details: Details) -> dict[str, dict[str, Any]]:
    """Each of the paper's claims, with what it is here.

    `paired` takes out what a seed does to all cases alike, as they see the same batches.
    """
    results = _results(details["ablations"])
    cases = dict(zip(details["ablations"], results, strict=True))
    plain, paired = pooled(results), residual([results])
    return {
        claim: compare(cases[left], cases[right], *plain)
        | {"paired": compare(cases[left], cases[right], *paired)}
        for claim, (left, right) in CLAIMS.items()
    }


def proposals(details: Details) -> dict[str, dict[str, float]]:
    """Scores of the networks that were drawn at random, and of those that the sampler chose."""
    trials = [trial for trial in details["search"]["trials"] if trial["state"] == "complete"]
    groups = {"drawn": trials[:STARTUP], "chosen": trials[STARTUP:]}
    found = {}
    for name, group in groups.items():
        values = [trial["values"][0] for trial in group]
        if values:
            found[name] = {
                "count": len(values), "mean": statistics.fmean(values), "best": max(values),
            }  # fmt: skip
    return found


def winner(details: Details) -> dict[str, Any]:
    """The search's network against the paper's scaling."""
    found, paper = (list(details["compared"][k]["accuracy"].values()) for k in ("winner", "paper"))
    spread, freedom = pooled([found, paper])
    return compare(found, paper, spread, freedom)


def trial_seconds(details: Details) -> list[float]:
    """From the start of each trial to that of the next, so that choosing networks counts too."""
    trials = details["search"]["trials"]
    starts = [datetime.datetime.fromisoformat(trial["started"]) for trial in trials]
    # starts are kept to the second
    found = [max(1.0, (b - a).total_seconds()) for a, b in itertools.pairwise(starts)]
    return [*found, trials[-1]["seconds"]]


def answers(details: Details) -> dict[str, Any]:
    """All of it."""
    return {
        "agreement": agreements(details), "lead": lead(details), "ceiling": ceiling(details),
        "within_widths": within_widths(details),
        "winner": winner(details), "conclusions": conclusions(details),
        "proposals": proposals(details),
    }  # fmt: skip


def rows(details: Details) -> list[Row]:
    """The figures as a benchmark's rows; intervals stand in the details."""
    found = []
    networks = details["networks"]
    case = f"{len(networks)} networks, against their long training"
    for name, tau in agreements(details).items():
        if tau is not None:
            interval = Quartiles(tau["low"], tau["tau"], tau["high"], tau["n"])
            found.append(Row(case, f"{name}: τ (95 % interval)", interval, "τ"))
    above = lead(details)
    interval = Quartiles(above["low"], above["difference"], above["high"], len(networks))
    found.append(Row(case, f"the first − {above['best']} (95 % interval)", interval, "τ"))
    cost = [n["short"][0]["seconds"] / n["long"]["seconds"] for n in networks]
    found.append(Row(case, "the first: wall time / long", Quartiles.of(cost), "×"))
    compared = {k: _percent(v["accuracy"]) for k, v in details["compared"].items()}
    case = "long training, test accuracy over seeds"
    found += [Row(case, name, Quartiles.of(values), "%") for name, values in compared.items()]
    gain = timing.difference(compared["winner"], compared["paper"])
    found.append(Row(case, "winner − paper", gain, "points"))
    rate = [3600 / seconds for seconds in trial_seconds(details)]
    found.append(Row("search", "pace", Quartiles.of(rate), "trials/h"))
    cases = {k: _percent(v["accuracy"]) for k, v in details["ablations"].items()}
    case = "ablations, test accuracy over seeds"
    found += [Row(case, name, Quartiles.of(values), "%") for name, values in cases.items()]
    return found


def _percent(accuracy: Mapping[str, float]) -> list[float]:
    return [100 * value for value in accuracy.values()]

"""`python -m benchmarks.evidence_tables [cpu|cuda]`: the kept results as the tables of a page.

They are the ones in docs/evidence.md; a test compares the two.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.evidence_figures import trial_seconds

RESULTS = Path(__file__).parent / "results"


def tables(details: Mapping[str, Any]) -> dict[str, str]:
    """Each question's table, as Markdown."""
    return {
        "agreement": agreement(details), "winner": winner(details),
        "proposals": proposals(details), "pace": pace(details),
        "ablations": ablations(details), "conclusions": conclusions(details),
    }  # fmt: skip


def agreement(details: Mapping[str, Any]) -> str:
    answers = details["answers"]
    found = sorted(
        answers["agreement"].items(), key=lambda item: -(item[1]["tau"] if item[1] else -2)
    )
    lines = [
        (name, "—", "—") if tau is None else (name, _signed(tau["tau"]), _interval(tau))
        for name, tau in found
    ]
    lead, ceiling, within = (answers[name] for name in ("lead", "ceiling", "within_widths"))
    own = next(iter(answers["agreement"]))
    lines += [
        (f"{own}, minus {lead['best']}", _signed(lead["difference"]), _interval(lead)),
        (f"{own}, pairs of one width only ({within['pairs']})", _signed(within["tau"]), "—"),
        ("a perfect score, given the seeds' spread", _signed(ceiling["tau"]), "—"),
    ]
    return _table(("known before long training", "τ", "95 % interval"), lines)


def winner(details: Mapping[str, Any]) -> str:
    lines = []
    for name, case in details["compared"].items():
        choices = case["choices"]
        widths = f"dim {choices['dim']}, depths {_list(choices['depths'])}"
        lines.append(
            (name, f"{widths}, α {_list(choices['alpha'])}", f"{case['flops'] / 1e6:.2f} M",
             f"{case['params'] / 1e3:.0f} k", *_seeds(case)),
        )  # fmt: skip
    gain = details["answers"]["winner"]
    lines.append(("difference", "", "", "", f"{_points(gain)} points", ""))
    return _table(("network", "", "FLOPs", "parameters", "test accuracy", "spread"), lines)


def pace(details: Mapping[str, Any]) -> str:
    seconds = trial_seconds(details)
    networks = details["networks"]
    wall = [n["short"][0]["seconds"] / n["long"]["seconds"] for n in networks]
    passes = networks[0]["short"][0]["passes"] / networks[0]["long"]["passes"]
    return _table(
        ("trials an hour", "seconds a trial", "short / long, image passes", "short / long, time"),
        [(
            f"{3600 / statistics.median(seconds):.0f}", f"{statistics.median(seconds):.1f}",
            f"1 / {1 / passes:.0f}", f"1 / {1 / statistics.median(wall):.0f}",
        )],
    )  # fmt: skip


def ablations(details: Mapping[str, Any]) -> str:
    lines = [
        (name, f"{case['flops'] / 1e6:.2f} M", f"{case['params'] / 1e3:.0f} k", *_seeds(case))
        for name, case in details["ablations"].items()
    ]
    return _table(("mixer", "FLOPs", "parameters", "test accuracy", "spread"), lines)


def conclusions(details: Mapping[str, Any]) -> str:
    lines = [
        (claim, _points(found), found["verdict"], _points(found["paired"]),
         found["paired"]["verdict"])
        for claim, found in details["answers"]["conclusions"].items()
    ]  # fmt: skip
    head = ("the paper's conclusion", "points [95 % interval]", "here", "seeds paired", "here")
    return _table(head, lines)


def proposals(details: Mapping[str, Any]) -> str:
    lines = [
        (f"{group['count']} {name}", f"{100 * group['mean']:.1f} %", f"{100 * group['best']:.1f} %")
        for name, group in details["answers"]["proposals"].items()
    ]
    return _table(("networks", "mean score", "best score"), lines)


def _seeds(case: Mapping[str, Any]) -> tuple[str, str]:
    """Mean and standard deviation over seeds, in percent."""
    values = [100 * value for value in case["accuracy"].values()]
    return f"{statistics.fmean(values):.2f} %", f"± {statistics.stdev(values):.2f}"


def _points(found: Mapping[str, float]) -> str:
    ends = f"{_signed(100 * found['low'])}, {_signed(100 * found['high'])}"
    return f"{_signed(100 * found['difference'])} [{ends}]"


def _interval(found: Mapping[str, float]) -> str:
    return f"{_signed(found['low'])} … {_signed(found['high'])}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _list(values: Iterable[Any]) -> str:
    return " ".join(map(str, values))


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


if __name__ == "__main__":
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    kept = json.loads((RESULTS / f"evidence-{device}.json").read_text(encoding="utf-8"))
    for title, table in tables(kept["details"]).items():
        print(f"{title}\n\n{table}")

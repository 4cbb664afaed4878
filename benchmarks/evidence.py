"""Does the search work? Its short scores against long training, its winner against the paper's.

How much is trained stands in `evidence_scale.SCALES`. What has been trained is kept in
`runs/evidence/`: a run that was killed goes on where it was, and one that has ended is read again.
`docs/evidence.md` says what came out.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

import archspec
from archspec import Spec
from benchmarks.evidence_figures import answers, rows
from benchmarks.evidence_jobs import Entry, Jobs, log
from benchmarks.evidence_scale import SCALES, Scale, images, lacks
from benchmarks.registry import Benchmark, Device, Findings

FOLDER = Path(__file__).parent.parent / "runs" / "evidence"
RANKED = 1
"""The seed of the long trainings that networks are ranked by."""
ABLATIONS = {
    "both": "smlpnet_t_alpha2",
    "local only": "table1_local_only",
    "local only, wider": "table1_local_only",
    "global only": "table1_global_only",
    "parallel": "table4_parallel",
    "sequential": "table4_sequential",
    "sequential + identity": "table4_sequential_identity",
    "sum": "table3_sum",
}
"""What is left of the mixer → its spec. `both` has all: local, then parallel rows and columns with
identity, concatenated."""


def ablations(scale: Scale) -> dict[str, Spec]:
    """The paper's ablations at this scale, all with α = 2 and, but for the wider one, one width."""
    values = {
        **scale.ablation, "alpha": 2, "drop_path": 0, "stages.stage1.enter.patches.size": 2,
    }  # fmt: skip
    found = {case: archspec.load(name).with_values(values) for case, name in ABLATIONS.items()}
    wider = "local only, wider"
    found[wider] = found[wider].with_values({"dim": scale.widened})
    return found


def gather(jobs: Jobs) -> dict[str, Any]:
    """Train everything that is not there yet; all that came out, as plain data.

    Returns:
        networks: for each its choices, costs, training-free scores, short and long results.
        search: every trial, the winner and why it is the winner.
        compared: the winner and the network of the paper's proportions, over seeds.
        ablations: each case over seeds.
    """
    scale = jobs.scale
    log(f"{jobs.window.count:,} networks of {jobs.space.name} have {jobs.window.budget}")
    networks = jobs.drawn()
    for spec in networks:  # one after the other: a run that is cut has whole pairs
        jobs.scores(spec)
        jobs.short(spec, *scale.short)
        jobs.long(spec, RANKED)
    log(f"{len(networks)} networks are ranked; now the search")
    record, winner = jobs.searched()
    compared = _over_seeds(jobs, {"winner": winner, "paper": jobs.paper()})
    log("the winner is compared; now the ablations")
    cases = _over_seeds(jobs, ablations(scale))
    shorts = (scale.short, *scale.longer)
    for longer in scale.longer:
        for spec in networks:
            jobs.short(spec, *longer)
    found = {
        "scale": asdict(scale),
        "threads": torch.get_num_threads(),
        "data": {"images": jobs.data(scale.images).describe(), "seed": RANKED},
        "window": {"budget": str(jobs.window.budget), "networks": jobs.window.count},
        "networks": [
            {
                "choices": jobs.choices(spec),
                **jobs.scores(spec),
                "short": [_short(jobs.short(spec, *asked), asked[1]) for asked in shorts],
                "long": jobs.long(spec, RANKED),
            }
            for spec in networks
        ],
        "search": {
            **{name: record[name] for name in ("sampler", "winner", "rule", "finalists")},
            "trials": [
                {
                    name: trial[name]
                    for name in ("number", "choices", "values", "state", "started", "seconds")
                }
                for trial in record["trials"]
            ],
        },
        "compared": compared,
        "ablations": cases,
    }  # fmt: skip
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def _short(found: Entry, epochs: int) -> Entry:
    return {**found, "images": found["passes"] // epochs, "epochs": epochs}


def _over_seeds(jobs: Jobs, specs: dict[str, Spec]) -> dict[str, Any]:
    """Long trainings of each network; all of one seed, then all of the next."""
    results: dict[str, dict[str, Entry]] = {name: {} for name in specs}
    for seed in jobs.scale.seeds:
        for name, spec in specs.items():
            results[name][str(seed)] = jobs.long(spec, seed)
    return {
        name: {
            "choices": jobs.choices(spec),
            **jobs.cost(spec),
            "accuracy": {seed: entry["accuracy"] for seed, entry in results[name].items()},
        }
        for name, spec in specs.items()
    }


def run(device: Device) -> Findings:
    if device == "cpu":
        torch.set_num_threads(1)  # results depend on it, to the last bit
    scale = SCALES[device]
    details = gather(Jobs(scale, device, FOLDER / device, partial(images, scale)))
    return Findings(rows(details), {"answers": answers(details), **details})


BENCHMARK = Benchmark(
    "evidence",
    "whether the search's short scores, its winner and the paper's ablations hold in long training",
    ("cpu", "cuda"),
    run,
    lacks,
    is_long=True,
)

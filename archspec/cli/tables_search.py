"""How a search looks in a terminal: its plan, its trials, its end."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from archspec.cli.tables import console, giga
from archspec.search.record import Record, TrialRecord

if TYPE_CHECKING:
    from archspec.search.plan import Plan
    from archspec.search.searching import Outcome

SHOWN = 15
"""Trials that the table shows, the best ones."""
FEWEST = 8
"""Trials below which rank correlations are not printed: their intervals hold everything."""


def plan_table(plan: Plan) -> Table:
    """What is going to be done."""
    from archspec.cli.progress import duration

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    counted = f"{plan.feasible:,}"
    if not plan.is_exact:
        low, high = plan.interval
        counted = f"about {counted} (estimated; 95 %: {low:,} to {high:,})"
    settings = plan.settings
    table.add_row("space", f"{settings.space}: {plan.space_size:,} networks")
    table.add_row("budget", f"{plan.budget}: {counted} networks inside, no other is tried")
    table.add_row("objective", _objective(plan))
    if plan.data:
        height, width = settings.resolution
        table.add_row("data", f"{plan.data}, at {height}×{width}")
    table.add_row("trials", _trials(plan))
    table.add_row("device", f"{settings.device}, sampler {settings.sampler}, seed {settings.seed}")
    if plan.seconds is not None:
        table.add_row(
            "time", f"about {duration(plan.seconds)}; Ctrl-C stops, the same command goes on"
        )
    table.add_row("study", f"{plan.folder} (storage {plan.storage})")
    return table


def _objective(plan: Plan) -> str:
    names = " against ".join(plan.settings.objectives)
    if "accuracy" not in plan.settings.objectives:
        epochs = f"{plan.epochs} epoch{'s' if plan.epochs > 1 else ''}"
        return f"{names}; the finalists by accuracy after {epochs}" if plan.finalists else names
    recipe = plan.settings.recipe
    epochs = f"{plan.epochs} epoch{'s' if plan.epochs > 1 else ''}"
    text = f"{names}; {epochs} from scratch, batches of {recipe['batch_size']}"
    if plan.rungs:
        text += f", the weaker half dropped after {', '.join(map(str, plan.rungs))}"
    return text


def _trials(plan: Plan) -> str:
    text = f"{plan.trials:,}"
    if plan.finished:
        text += f", {plan.finished:,} of them done"
    if plan.finalists:
        n = min(plan.finalists, plan.trials)
        text += f"; then the best {n if n > 1 else 'one'} again with a fresh seed"
    return text


def value_text(objective: str, value: float) -> str:
    """A value in the objective's own unit."""
    if objective == "accuracy":
        return f"{value:.1%}"
    if objective in ("flops", "params"):
        return giga(value)
    return f"{value * 1e3:.2f} ms" if objective == "latency" else f"{value:.5g}"


def trial_line(trial: TrialRecord, objectives: tuple[str, ...]) -> str:
    """One trial in one line."""
    parts = [f"trial {trial.number:>4}"]
    if trial.state == "complete":
        shown = zip(objectives, trial.values, strict=True)
        parts.append(", ".join(f"{name} {value_text(name, value)}" for name, value in shown))
    elif trial.state == "pruned" and trial.rungs:
        last = max(trial.rungs)
        parts.append(
            f"dropped after epoch {last} with {value_text(objectives[0], trial.rungs[last])}"
        )
    else:
        parts.append(trial.outcome or trial.state)
    if trial.flops is not None and trial.params is not None:
        parts.append(f"{giga(trial.flops)} FLOPs, {giga(trial.params)} params")
    parts.append(choices_text(trial.choices))
    return "  ".join(parts)


def choices_text(choices: Any) -> str:
    """`dim=80 depths[0]=2 …`, with the last part of long names only."""
    return " ".join(f"{_short(name)}={value}" for name, value in choices.items())


def _short(name: str) -> str:
    return name.replace("stages.", "").replace(".vars.", ".")


def show_trials(record: Record) -> None:
    """The best trials of a study."""
    out = console()
    out.print(Text.assemble((record.name, "bold"), f"   {record.budget}   {_counts(record)}"))
    again = {finalist.number: finalist.mean for finalist in record.finalists}
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("trial", *record.objectives, *(["again"] if again else []), "FLOPs", "params"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("choices")
    for trial in _best(record)[:SHOWN]:
        mean = again.get(trial.number)
        shown = ["" if mean is None else f"{mean:.1%}"] if again else []
        table.add_row(
            str(trial.number), *_results(record, trial), *shown,
            giga(trial.flops or 0), giga(trial.params or 0), choices_text(trial.choices),
            style="bold" if trial.number == record.winner else None,
        )  # fmt: skip
    if table.rows:
        out.print(table)
    for line in _foretold(record):
        out.print(line, soft_wrap=True)


def _foretold(record: Record) -> list[str]:
    """How well what is known before training ranks networks by what training found."""
    from archspec.search.report.scores import scores

    found = scores(record)
    if found.main is None:
        return []
    taus = {entry.name: found.tau[entry.name, found.main.name] for entry in found.predictors}
    known = {name: tau for name, tau in taus.items() if tau is not None and tau.n >= FEWEST}
    shown = "; ".join(f"{name} {tau}" for name, tau in known.items())
    return [f"Kendall τ with the {found.main.name}: {shown}"] if known else []


def _counts(record: Record) -> str:
    """`3 complete, 1 pruned`; what was cut and run again is told apart from what failed."""
    cut = {trial.number for trial in record.trials if trial.outcome == "interrupted"}
    states = [trial.state for trial in record.trials if trial.number not in cut]
    known = ("complete", "pruned", "failed", "running", "waiting")
    counts = [f"{states.count(state)} {state}" for state in known if state in states]
    if cut:
        counts.append(f"{len(cut)} interrupted")
    return ", ".join(counts) or "no trials"


def _results(record: Record, trial: TrialRecord) -> list[str]:
    """One for each objective; of a trial that was dropped, where."""
    if trial.state == "complete":
        pairs = zip(record.objectives, trial.values, strict=True)
        return [value_text(name, value) for name, value in pairs]
    last = max(trial.rungs, default=0)
    shown = f"{value_text(record.objectives[0], trial.rungs[last])} @{last}" if last else ""
    return [shown, *("" for _ in record.objectives[1:])]


def _best(record: Record) -> list[TrialRecord]:
    """The winner, the other finalists, and the complete trials, the best of each first."""
    sign = -1 if record.directions[0] == "maximize" else 1
    again = {finalist.number: finalist.mean for finalist in record.finalists}
    kept = [t for t in record.trials if t.state == "complete" or t.number in again]

    def key(trial: TrialRecord) -> tuple[float, ...]:
        mean = again.get(trial.number)
        value = sign * trial.values[0] if trial.values else 0.0
        return (trial.number != record.winner, mean is None, -(mean or 0.0), value, trial.number)

    return sorted(kept, key=key)


def show_outcome(outcome: Outcome) -> None:
    """How a search ended."""
    record = outcome.record
    show_trials(record)
    out = console()
    if outcome.is_elsewhere:
        out.print("All trials are done. Another worker trains the finalists and writes the winner.")
    elif outcome.winner is None or record.winner is None:
        out.print("There is no winner: no trial came to its end.")
    else:
        path = outcome.folder / "winner.yaml"
        out.print(f"Winner: trial {record.winner}, {record.rule}")
        out.print(Text.assemble("Its spec: ", (str(path), "bold")), soft_wrap=True)
        if outcome.weights is not None:
            out.print(_weights(outcome.weights), soft_wrap=True)
        out.print(f"Check it: archspec build {shlex.quote(str(path))}", soft_wrap=True)
        folder = shlex.quote(str(outcome.folder))
        out.print(f"Compile it: archspec compile {folder} --backend aoti", soft_wrap=True)
    if outcome.report is not None:
        out.print(f"Report: {outcome.report}", soft_wrap=True)


def _weights(path: Path) -> str:
    """Where the winner's weights are, and of which network."""
    from archspec.search.kept import FACTS, TRAINED, Facts

    facts = Facts.model_validate_json(path.with_name(FACTS).read_bytes())
    text = f"Its weights: {path} ({facts.accuracy:.1%} on held-out images)"
    if facts.spec != TRAINED:
        return text
    size = "×".join(map(str, facts.resolution))
    return f"{text}, of {path.with_name(TRAINED)}: {size}, {len(facts.classes)} classes"

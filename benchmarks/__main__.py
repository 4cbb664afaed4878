"""`python -m benchmarks [--list] [NAME...]`: run, print one table, keep the figures as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.table import Table

from benchmarks import environment
from benchmarks.registry import Benchmark, Device, Findings, Row, find_all
from benchmarks.timing import Quartiles, show

RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; 0 if all of it ran."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="which to run (default: all but the long ones)"
    )
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="FOLDER",
        help="where the JSON files are (default: benchmarks/results)",
    )  # fmt: skip
    parser.add_argument(
        "--device", choices=get_args(Device), help="on this one alone (default: all that are here)"
    )
    options = parser.parse_args(arguments)
    devices = get_args(Device) if options.device is None else (options.device,)
    benchmarks = find_all()
    unknown = [name for name in options.names if name not in benchmarks]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are: {', '.join(benchmarks)}")
    chosen = [benchmarks[name] for name in options.names] or list(benchmarks.values())
    console = Console(width=None if sys.stdout.isatty() else 120)
    if options.list:
        console.print(overview(chosen, options.results))
        return 0
    if not options.names:
        chosen = [benchmark for benchmark in chosen if not benchmark.is_long]
    ran: list[tuple[str, list[Row]]] = []
    for benchmark in chosen:
        for device in benchmark.needs:
            if device not in devices or missing(benchmark, device) is not None:
                continue
            title = f"{benchmark.name} ({device})"
            console.print(f"running {title}: {benchmark.measures}", style="dim")
            # the load before the run: afterwards it would be our own
            facts = environment.capture(device, arguments)
            for findings in each_of(benchmark.run(device)):
                write(benchmark, device, facts, findings, options.results)
            ran.append((title, findings.rows))
    if ran:
        console.print(figures(ran))
    for benchmark in chosen:
        for device in benchmark.needs:
            reason = missing(benchmark, device) if device in devices else None
            if reason is not None:
                last = state(benchmark, device, options.results)
                told = last if last.startswith("pending") else f"not run: {reason}; {last}"
                console.print(f"{benchmark.name} ({device}): {told}")
    return 0


def each_of(found: list[Row] | Findings | Iterator[Findings]) -> Iterator[Findings]:
    """What a benchmark gives: all at once, or what it has found so far."""
    if isinstance(found, list):
        yield Findings(found, {})
    elif isinstance(found, Findings):
        yield found
    else:
        yield from found


def missing(benchmark: Benchmark, device: Device) -> str | None:
    """Why a benchmark cannot run here, if it cannot."""
    if device == "cuda" and environment.gpu_model() is None:
        return "needs a CUDA GPU"
    return benchmark.lacks(device)


def write(
    benchmark: Benchmark, device: Device, facts: dict[str, Any], found: Findings, folder: Path
) -> None:
    """The figures with all that is known about how they came about."""
    content = {
        "name": benchmark.name,
        "measures": benchmark.measures,
        **facts,
        "rows": [row.to_dict() for row in found.rows],
        **({"details": found.details} if found.details else {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{benchmark.name}-{device}.json"
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def state(benchmark: Benchmark, device: Device, folder: Path) -> str:
    """When and on what it was last measured, or that it has yet to be."""
    path = folder / f"{benchmark.name}-{device}.json"
    if not path.is_file():
        reason = missing(benchmark, device)
        return f"pending: {reason}" if reason else "not measured yet"
    found = json.loads(path.read_text(encoding="utf-8"))
    return f"measured on {found['device']}, {found['date'][:10]}"


def overview(benchmarks: list[Benchmark], folder: Path) -> Table:
    """Every benchmark on every device, and whether it has been measured."""
    table = Table("benchmark", "device", "measures", "state")
    for benchmark in benchmarks:
        for device in benchmark.needs:
            table.add_row(
                benchmark.name, device, benchmark.measures, state(benchmark, device, folder)
            )
    return table


def figures(ran: list[tuple[str, list[Row]]]) -> Table:
    """All rows of all benchmarks."""
    table = Table("benchmark", "case", "figure", "quartiles", "unit")
    table.columns[3].justify = "right"
    table.add_column("median", justify="right", style="bold")
    table.columns.insert(3, table.columns.pop())
    for title, rows in ran:
        case = ""
        for number, row in enumerate(rows):
            # what is as in the line above is not said again
            shown = row.case if row.case != case else ""
            case = row.case
            cells = _cells(row.value)
            table.add_row(title if number == 0 else "", shown, row.figure, *cells, row.unit)
        table.add_section()
    return table


def _cells(value: Quartiles) -> tuple[str, str]:
    return show(value.median), f"{show(value.low)} … {show(value.high)}"


if __name__ == "__main__":
    sys.exit(main())

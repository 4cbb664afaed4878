"""What `archspec compile` prints."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from archspec.cli.tables import console, giga, memory

if TYPE_CHECKING:
    from archspec.compile.job import Done
    from archspec.compile.manifest import Parity, Timing


def _table(*columns: str, left: int = 1) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number < left else "right")
    return table


def show_backends(rows: list[dict[str, Any]]) -> None:
    """Which backends can be used here, and what the others lack."""
    table = _table("backend", "what it is", "here", "precisions", left=4)
    for row in rows:
        here = "✓" if row["usable"] else "needs " + "; ".join(row["missing"])
        table.add_row(row["name"], row["about"], here, ", ".join(row["precisions"]))
    out = console()
    out.print(table)
    for row in rows:
        if not row["usable"] and row["install"]:
            out.print(f"{row['name']}: {row['install']}", soft_wrap=True)


def show_rewrites(rows: list[dict[str, Any]]) -> None:
    """Which rewrites fired where, and what they save."""
    out = console()
    for row in rows:
        out.print(f"{row['backend']}, {row['precision']}, batch {row['batch']}")
        if not row["fired"]:
            out.print("  nothing is rewritten")
            continue
        table = _table("rewrite", "where", "what", "times", left=3)
        for fired in row["fired"]:
            table.add_row(fired["rewrite"], fired["place"], fired["what"], str(fired["times"]))
        out.print(table)
        saved = _table("rewrite", "FLOPs saved", "bytes saved")
        for name, saving in row["by_rewrite"].items():
            if not saving["times"]:
                continue
            saved.add_row(name, _signed(saving["flops"], giga), _signed(saving["bytes"], memory))
        out.print(saved)
        before, after = row["before"], row["after"]
        out.print(
            f"FLOPs {giga(before['flops'])} → {giga(after['flops'])}, bytes moved op by op "
            f"{memory(before['bytes'])} → {memory(after['bytes'])}"
        )


def _signed(value: float, how: Any) -> str:
    return "0" if value == 0 else how(value) if value > 0 else f"−{how(-value)}"


def show_coverage(rows: list[dict[str, Any]]) -> None:
    """Which operators TensorRT converts."""
    out = console()
    for row in rows:
        out.print(
            f"{row['backend']}: {row['converted']} of {row['operators']} operators have a "
            f"converter, {row['engines']} engine{'s' if row['engines'] != 1 else ''}, "
            f"{row['breaks']} graph breaks (batch {row['batch']})"
        )
        for missing in row["unconverted"]:
            where = ", ".join(missing["places"][:3]) + (", …" if missing["places"][3:] else "")
            out.print(f"  no converter: {missing['operator']}, {missing['count']} × {where}")


def show_artefact(done: Done) -> None:
    """One artefact: what it is, how exact, how fast."""
    facts, out = done.manifest, console()
    batch = str(facts.settings.batch)
    out.print(
        f"{facts.name} by {facts.backend}, {facts.precision}, batch {batch}, "
        f"image {'×'.join(map(str, facts.image))}, on {facts.device.name}",
        soft_wrap=True,
    )
    out.print(f"  {facts.origin}", soft_wrap=True)
    how = "copied from the cache" if done.from_cache else f"compiled in {facts.seconds:.1f} s"
    out.print(f"  {how}, {memory(facts.size)}")
    for note in facts.notes:
        out.print(f"  note: {note}", soft_wrap=True)
    if facts.parity is not None:
        _parity(facts.parity, out)
    if facts.speed is not None:
        _speed(facts.speed, out)
    word = "✓" if facts.fit else "✗ marked unfit:"
    out.print(f"{word} {done.folder}", soft_wrap=True)
    if facts.fit:
        command = ["archspec", "run", str(done.folder), "--image", "FILE"]
        out.print(f"Use: {shlex.join(command)}", soft_wrap=True)


def _parity(parity: Parity, out: Any) -> None:
    table = _table(
        "inputs", "batch", "relative error", "bound", "worst logit", "cosine", "same top-1", "",
    )  # fmt: skip
    for case in parity.cases:
        numbers = (
            ("not finite", "")
            if case.relative_error is None or case.worst_logit is None
            else (f"{case.relative_error:.1e}", f"{case.worst_logit:.1e}")
        )
        table.add_row(
            case.inputs, str(case.batch), numbers[0], f"{case.bound:.1e}", numbers[1],
            f"{case.cosine:.6f}", f"{case.top1:.0%}", "✓" if case.passed else "✗",
        )  # fmt: skip
    out.print(table)
    out.print(f"  {parity.rule}", soft_wrap=True)
    if parity.accuracy is not None:
        found = parity.accuracy
        out.print(
            f"  accuracy on {found['images']:.0f} held-out images: eager fp32 "
            f"{found['eager fp32']:.2%}, artefact {found['artefact']:.2%}"
        )


def _speed(timings: tuple[Timing, ...], out: Any) -> None:
    table = _table(
        "runner", "batch", "median ms", "p90 ms", "images/s", "× eager fp32", "quartiles",
        "peak memory",
    )  # fmt: skip
    for row in timings:
        peak = "–" if row.peak_memory is None else memory(row.peak_memory)
        table.add_row(
            row.runner, str(row.batch), f"{row.median_ms:.2f}", f"{row.p90_ms:.2f}",
            f"{row.images_per_second:,.1f}", f"{row.ratio:.2f}",
            f"{row.ratio_low:.2f}–{row.ratio_high:.2f}", peak,
        )  # fmt: skip
    out.print(table)

"""How results look in a terminal."""

from __future__ import annotations

import sys
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from archspec.cli.app import discard_output


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Go on in silence when the reader has gone: the exit code still has something to say."""
        self.quiet = True
        discard_output()


def console() -> Console:
    """stdout; wide enough for whole tables when it is not a terminal.

    Text from specs is printed as it is: neither rich's markup nor emoji names mean anything in it.
    """
    width = None if sys.stdout.isatty() else 120
    return _Console(highlight=False, markup=False, emoji=False, width=width)


def giga(value: float) -> str:
    """`5.012 G`, `24.12 M`: four significant digits."""
    for suffix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= scale:
            scaled = value / scale
            digits = 3 if scaled < 10 else 2 if scaled < 100 else 1
            return f"{scaled:.{digits}f} {suffix}"
    return f"{value:.0f}"


def memory(value: float) -> str:
    """Bytes as KiB, MiB or GiB."""
    for suffix, scale in (("GiB", 2**30), ("MiB", 2**20)):
        if value >= scale:
            return f"{value / scale:.1f} {suffix}"
    return f"{value / 2**10:.1f} KiB"


def in_yaml(value: Any) -> str:
    """A value as YAML in one line: `[2, 2, 6, 2]`, `{choice: [2, 3]}`, `null`."""
    import yaml

    return yaml.safe_dump(value, default_flow_style=True, width=10_000).split("\n")[0]


def shape_text(shape: dict[str, int]) -> str:
    """`56×56×80` for a grid (H×W×C), `196×512` for tokens, `1000` for logits."""
    axes = [axis for axis in shape if axis != "channels"]
    return "×".join(str(shape[axis]) for axis in (*axes, "channels") if axis in shape)


def titled(title: str) -> Table:
    """An empty table under a heading."""
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)


def _heading(out: Console, facts: dict[str, Any]) -> None:
    image = "×".join(map(str, facts["input"]))
    out.print(
        Text.assemble((facts["name"], "bold"), f"   input {image}, {facts['classes']} classes")
    )
    if facts["about"]:
        out.print(Text(facts["about"], "dim"))
    if facts["source"]:
        out.print(Text(facts["source"], "dim"))
    out.print()


def _stages(out: Console, facts: dict[str, Any]) -> None:
    table = titled("By stage, for one image (memory: activations in fp32)")
    for column in ("stage", "layers", "output H×W×C"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for column in ("parameters", "FLOPs", "share", "memory"):
        table.add_column(column, justify="right")
    for stage in facts["stages"]:
        share = stage["flops"] / facts["flops"] if facts["flops"] else 0.0
        table.add_row(
            stage["name"], str(stage["layers"] or ""), shape_text(stage["output"]),
            f"{stage['params']:,}", f"{stage['flops']:,}", f"{share:.1%}",
            memory(stage["activation_bytes"]),
        )  # fmt: skip
    table.add_section()
    table.add_row(
        "total", "", "", f"{facts['params']:,}", f"{facts['flops']:,}", "",
        memory(facts["activation_bytes"]), style="bold",
    )  # fmt: skip
    out.print(table)


def _beside(out: Console, facts: dict[str, Any]) -> None:
    """What fvcore leaves at zero, and so the total of FLOPs: the largest first."""
    from archspec.ops import registry

    amounts = {row["op"]: row["other_operations"] for row in facts["ops"]}
    largest = sorted((op for op in amounts if amounts[op]), key=lambda op: -amounts[op])
    if not largest:
        return
    words = {op: f"{op} {registry()[op].other or ''}".strip() for op in largest}
    listed = ", ".join(f"{words[op]} {giga(amounts[op])}" for op in largest)
    total = giga(facts["other_operations"])
    text = f"{total} operations that fvcore leaves out: {listed}"
    out.print(Text.assemble(("Beside the total: ", "bold"), text), soft_wrap=True)


def _published(out: Console, facts: dict[str, Any]) -> None:
    published = facts["published"]
    if not published:
        return
    parts = []
    for key, name in (("params", "parameters"), ("flops", "FLOPs")):
        if key in published:
            printed, verdict = published[key]["printed"], published[key]["verdict"]
            parts.append(f"{name} {printed} (ours {giga(facts[key])}: {verdict})")
    if "top1" in published:
        parts.append(f"ImageNet top-1 {published['top1']} %")
    # figures are the paper's for the network as the spec has it
    label = "Published without the overrides: " if facts.get("overridden") else "Published: "
    out.print(Text.assemble((label, "bold"), ", ".join(parts)), soft_wrap=True)


def _sizes(out: Console, facts: dict[str, Any]) -> None:
    """Which parameters hold for this image size alone."""
    from archspec.resolution import listed

    found = facts["size_dependence"]
    if found["compared"] is None:
        text = "no other image size was found at which this network exists"
    elif not found["places"]:
        text = "all parameters fit any image size at which the network exists"
    else:
        places = listed({place["name"]: place["times"] for place in found["places"]})
        text = f"{found['params']:,} parameters hold for this one alone: {places}"
    out.print(Text.assemble(("Image size: ", "bold"), text), soft_wrap=True)


def show_cost(facts: dict[str, Any]) -> None:
    """What `archspec cost` prints."""
    out = console()
    _heading(out, facts)
    _stages(out, facts)
    _beside(out, facts)
    _sizes(out, facts)
    _published(out, facts)


def show_build(facts: dict[str, Any]) -> None:
    """What `archspec build` prints."""
    out = console()
    _heading(out, facts)
    _stages(out, facts)
    table = titled("By op: our rules beside what was measured on the built module")
    table.add_column("op")
    for column in ("parameters", "numel", "FLOPs", "fvcore"):
        table.add_column(column, justify="right")
    table.add_column("")
    total = {
        "op": "total", "params": facts["params"], "measured_params": facts["measured_params"],
        "flops": facts["flops"], "fvcore_flops": facts["fvcore_flops"],
    }  # fmt: skip
    for line in (*facts["checked"], total):
        if line is total:
            table.add_section()
        same = (line["params"], line["flops"]) == (line["measured_params"], line["fvcore_flops"])
        keys = ("params", "measured_params", "flops", "fvcore_flops")
        table.add_row(
            line["op"], *(f"{line[key]:,}" for key in keys),
            Text("=", "green") if same else Text("≠", "bold red"),
            style="bold" if line is total else None,
        )  # fmt: skip
    out.print(table)
    out.print(
        f"Multiply-adds: {facts['macs']:,}; PyTorch's FlopCounterMode, which counts two for each "
        f"and products only: {facts['torch_flops']:,}",
        soft_wrap=True,
    )
    _beside(out, facts)
    _sizes(out, facts)
    _published(out, facts)
    if "weights" in facts:
        from archspec.resolution import grouped

        weights = facts["weights"]
        resized = f"; resized: {grouped(weights['resized'])}" if weights["resized"] else ""
        out.print(
            f"Weights: {weights['file']} (names: {weights['naming']}{resized})", soft_wrap=True
        )
    if "emitted" in facts:
        out.print(f"Source: {facts['emitted']}")
    out.print()
    if facts["agrees"]:
        out.print(
            Text("✓ parameters and FLOPs agree with numel and fvcore, to the last one", "green")
        )
        return
    out.print(Text("✗ the figures differ", "bold red"))
    for difference in facts["differences"][:20]:
        out.print(f"  {difference}")
    if len(facts["differences"]) > 20:
        out.print(f"  and {len(facts['differences']) - 20} more (--json lists all)")


def show_ops(rows: list[dict[str, Any]]) -> None:
    """What `archspec ops` prints."""
    from archspec.cli.ops import signature

    out = console()
    table = titled("ops (… is required; 'archspec ops OP' tells all about one)")
    table.add_column("op and arguments", max_width=62)
    table.add_column("what it does")
    for row in rows:
        table.add_row(signature(row), row["about"].splitlines()[0])
    out.print(table)

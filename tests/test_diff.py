"""`archspec diff`: figures, stages, variables, steps; of networks that differ and of the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

import archspec
from archspec.cli.app import _load_commands, app
from archspec.diff import difference
from archspec.errors import ArchspecError
from archspec.figures import shipped_figures

_load_commands()


def compared(first: str, second: str) -> Any:
    return difference(archspec.load(first), archspec.load(second))


@pytest.fixture
def diff(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*args: str, code: int = 0) -> str:
        capsys.readouterr()
        try:
            found = app(["diff", *args], standalone_mode=False) or 0
        except typer.Exit as end:
            found = end.exit_code
        assert found == code
        return "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())

    return call


# -- what is found ---------------------------------------------------------------------------------


def test_a_network_and_itself() -> None:
    found = compared("swin_t", "swin_t")
    assert found.is_same
    assert (found.variables, found.parts) == ({}, ())
    assert all(not pair.differs for pair in found.figures.values())
    assert all(stage.first == stage.second for stage in found.stages)


def test_another_variable() -> None:
    found = compared("smlpnet_t", "smlpnet_t_alpha2")
    assert not found.is_same
    assert {name: (p.first, p.second) for name, p in found.variables.items()} == {"alpha": (3, 2)}
    assert found.parts == ()
    assert found.to_dict()["figures"]["params"] == {
        "first": 24_123_584, "second": 19_175_584, "difference": -4_948_000,
        "ratio": 19_175_584 / 24_123_584,
    }  # fmt: skip


def test_another_block() -> None:
    (part,) = compared("smlpnet_t_alpha2", "table4_parallel").parts
    assert (part.name, part.kind) == ("blocks.cross", "changed")
    assert part.lines[-4:] == (
        "-- concat: {from: [x, row, column]}",
        "-- linear: {id: fuse, out: C / 3, bias: false}",
        "+- concat: {from: [row, column]}",
        "+- linear: {id: fuse, out: C / 2, bias: false}",
    )


def test_another_family() -> None:
    found = compared("swin_t", "resnet50")
    assert [stage.name for stage in found.stages] == [
        "stem", "stage1 | layer1", "stage2 | layer2", "stage3 | layer3", "stage4 | layer4", "head",
    ]  # fmt: skip
    kinds = {part.name: part.kind for part in found.parts}
    assert kinds["blocks.window_attention"] == "removed"
    assert kinds["blocks.bottleneck"] == "added"
    assert kinds["stem"] == kinds["head"] == "changed"
    assert found.variables["window"].second is None


def test_stages_of_other_numbers() -> None:
    found = compared("smlpnet_t", "table5_single_stage")
    pairs = [(stage.name, stage.first is None, stage.second is None) for stage in found.stages]
    assert [name for name, _, gone in pairs if gone]
    assert len({name for name, _, _ in pairs}) == len(pairs)


def test_stages_add_up() -> None:
    found = compared("swin_t", "smlpnet_t")
    for key in ("params", "flops", "activation_bytes"):
        for side in ("first", "second"):
            parts = [getattr(stage, side) for stage in found.stages]
            total = sum(part[key] for part in parts if part is not None)
            assert total == getattr(found.figures[key], side)


def test_it_is_its_own_mirror() -> None:
    one, other = compared("swin_t", "convnext_tiny"), compared("convnext_tiny", "swin_t")
    for key, pair in one.variables.items():
        assert (pair.first, pair.second) == (
            other.variables[key].second,
            other.variables[key].first,
        )
    turned = {"added": "removed", "removed": "added", "changed": "changed"}
    assert {(p.name, turned[p.kind]) for p in one.parts} == {(p.name, p.kind) for p in other.parts}


def test_what_is_the_same_is_written_in_another_way(tmp_path: Path) -> None:
    """Comments, order, unused blocks, names, papers and weights are no difference."""
    path = tmp_path / "copy.yaml"
    path.write_text(
        "about: Mine.\nextends: smlpnet_t\nvars: {drop_path: 0, dim: 80}   # as before\n"
        "blocks: {unused: gelu}\nweights: {official: null}\n"
    )
    assert compared("smlpnet_t", str(path)).is_same
    path.write_text("extends: smlpnet_t\nclasses: 10\n")
    assert not compared("smlpnet_t", str(path)).is_same


def test_what_costs_something_else_is_not_the_same() -> None:
    rows = {row["name"]: row for row in shipped_figures()}
    sizes = [row for row in rows.values() if row["extends"] and row["folder"] == "attention"]
    for row in sizes:
        found = compared(row["extends"] or "", row["name"])
        assert found.is_same == (row["params"] == rows[row["extends"] or ""]["params"])
        assert (
            json.loads(json.dumps(found.to_dict()))["figures"]["params"]["second"] == row["params"]
        )


# -- the command -----------------------------------------------------------------------------------


def test_the_tables(diff: Any) -> None:
    text = diff("resnet50", "resnet152")
    assert text.startswith("resnet50 → resnet152\n")
    for part in (
        "25,557,032       60,192,808      +34,635,776   +135.5 %",
        "published top-1 %             76.2             78.3",
        "3 → 7", "5 → 35", "7.098 M → 40.61 M   +472.2 %",
        "depths   [3, 4, 6, 3] → [3, 8, 36, 3]",
    ):  # fmt: skip
        assert part in text
    assert "Gone" not in text


def test_steps_are_shown_as_a_diff(diff: Any) -> None:
    text = diff("smlpnet_t", "table4_parallel")
    assert (
        "blocks.cross\n"
        "    - linear: {id: row, axis: width}\n"
        "    - linear: {id: column, axis: height, from: x}\n"
        "  - - concat: {from: [x, row, column]}\n"
        "  - - linear: {id: fuse, out: C / 3, bias: false}\n"
        "  + - concat: {from: [row, column]}\n"
        "  + - linear: {id: fuse, out: C / 2, bias: false}\n"
    ) in text


def test_what_only_one_has_is_named_or_printed(diff: Any) -> None:
    text = diff("swin_t", "smlpnet_t")
    assert "Gone: stem, blocks." in text
    assert "New: blocks.cross, blocks.local, blocks.patches" in text
    assert "  + - concat: {from: [x, row, column]}" not in text
    full = diff("swin_t", "smlpnet_t", "--full")
    assert "blocks.cross (new)\n" in full
    assert "  + - concat: {from: [x, row, column]}" in full


def test_overrides(diff: Any) -> None:
    text = diff("smlpnet_t", "--set", "alpha=2", "--input", "3x256x256")
    assert text.startswith("smlpnet_t → input=3x256x256, alpha=2\n")
    assert "3×224×224                  3×256×256" in text
    assert "alpha   3 → 2" in text
    both = json.loads(diff("smlpnet_t", "smlpnet_s", "--set", "alpha=2", "--json"))
    assert set(both["variables"]) == {"dim", "depths", "drop_path"}
    assert both["figures"]["params"]["first"] == 19_175_584


def test_spaces_have_no_costs(diff: Any) -> None:
    text = diff("smlpnet_t", "smlpnet_space")
    assert "no costs to compare: not both are single networks" in text
    assert "dim      80 → {int: [48, 160], step: 8}" in text


def test_exit_codes(diff: Any, tmp_path: Path) -> None:
    assert diff("swin_t", "swin_t", "--exit-code").endswith(
        "no difference: they are the same network"
    )
    assert diff("vit_b16", "deit_b", "--exit-code").endswith(
        "no difference: they are the same network\npublished top-1: 79.7 % → 81.8 %"
    )
    diff("swin_t", "swin_s", "--exit-code", code=1)
    copy = tmp_path / "swin_t.yaml"
    copy.write_text("extends: swin_s\n")
    assert diff("swin_t", str(copy)).startswith(f"swin_t → {copy}\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["swin_t"],
            "diff needs two specs, or one and what is to differ\n"
            "  archspec diff swin_t SPEC, or: archspec diff swin_t --set NAME=VALUE",
        ),
        (
            ["swin_t", "swan_t"],
            "there is no spec 'swan_t': no such file, and none shipped under that name\n"
            "  did you mean 'swin_t'? ('archspec specs' lists them)",
        ),
    ],
)
def test_refusals(args: list[str], message: str) -> None:
    with pytest.raises(ArchspecError) as caught:
        app(["diff", *args], standalone_mode=False)
    assert str(caught.value) == message

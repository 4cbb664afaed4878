"""`archspec specs`: the table, its filters, all about one, the user's own folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archspec.cli.app import _load_commands, app
from archspec.errors import ArchspecError
from archspec.figures import family, shipped_figures

_load_commands()


@pytest.fixture
def specs(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*args: str) -> str:
        capsys.readouterr()
        app(["specs", *args], standalone_mode=False)
        return capsys.readouterr().out

    return call


@pytest.fixture
def names(specs: Any) -> Any:
    return lambda *args: [row["name"] for row in json.loads(specs(*args, "--json"))]


def refusal(*args: str) -> str:
    with pytest.raises(ArchspecError) as caught:
        app(["specs", *args], standalone_mode=False)
    assert caught.value.exit_code == 2
    return str(caught.value)


# -- rows ------------------------------------------------------------------------------------------


def test_no_shipped_spec_is_broken() -> None:
    assert [row["error"] for row in shipped_figures() if row["error"]] == []


def test_a_row_is_exact(specs: Any) -> None:
    (row,) = json.loads(specs("swin_s", "--json"))
    assert Path(row.pop("file")).name == "swin_s.yaml"
    assert row == {
        "name": "swin_s", "folder": "attention", "family": "swin", "extends": "swin_t",
        "about": "Swin-S.", "source": "https://arxiv.org/abs/2103.14030",
        "input": [3, 224, 224], "classes": 1000, "params": 49_606_258, "flops": 8_768_534_784,
        "macs": row["macs"], "activation_bytes": row["activation_bytes"],
        "published": {"params": "50M", "flops": "8.7G", "top1": 83.0}, "top1": 83.0,
        "holes": 0, "error": None,
    }  # fmt: skip
    assert 0 < row["macs"] < row["flops"]


@pytest.mark.parametrize(
    ("name", "base", "expected"),
    [
        ("swin_t", None, "swin"), ("resnet50", None, "resnet"), ("resnet152", "resnet", "resnet"),
        ("mixer_b16", None, "mixer"), ("regnety_16gf", None, "regnety"),
        ("inception_next_tiny", None, "inception_next"), ("convmixer_1024_20", None, "convmixer"),
        ("repvit_m0_9", None, "repvit"), ("pvt_v2_b1", None, "pvt_v2"),
        ("fnet", None, "fnet"), ("gated", "smlpnet", "smlpnet"),
        ("table2_without_1_2", "smlpnet", "smlpnet"), ("smlpnet_t_alpha2", None, "smlpnet"),
        ("s2mlp_wide", None, "s2mlp"), ("hybrid_space", "smlpnet", "smlpnet"),
    ],
)  # fmt: skip
def test_family(name: str, base: str | None, expected: str) -> None:
    assert family(name, base) == expected


def test_another_paper_is_another_family() -> None:
    rows = {row["name"]: row for row in shipped_figures()}
    assert rows["table4_parallel"]["family"] == "smlpnet"
    assert rows["cswin_t"]["family"] == "cswin"
    for row in rows.values():
        base = rows.get(row["extends"] or "")
        if base is not None and row["family"] == base["family"]:
            assert row["source"] in (None, base["source"]) or row["name"].startswith(base["family"])


# -- the table -------------------------------------------------------------------------------------


def test_one_line_for_each_network(specs: Any) -> None:
    lines = specs().splitlines()
    assert all(len(line) <= 120 for line in lines[:-1])
    for row in shipped_figures():
        shown = [line for line in lines if line.split()[:1] == [row["name"]]]
        is_network = row["folder"] not in ("ablations", "spaces", "blocks")
        assert len(shown) >= is_network
    line = next(line for line in lines if line.startswith("   swin_s "))
    assert " ".join(line.split()) == "swin_s 49.61 M 8.769 G 83.0 arXiv 2103.14030 Swin-S."
    ablations = sum(row["folder"] == "ablations" for row in shipped_figures())
    assert f"'archspec specs ablations' ({ablations})" in lines[-1]
    assert "table4_parallel" not in " ".join(lines)


def test_sizes_of_a_family_stand_together_the_small_ones_first(specs: Any) -> None:
    words = specs().split()
    places = [words.index(f"swin_{size}") for size in "tsb"]
    assert places == sorted(places)
    assert words.index("resnet50") < words.index("resnet152")


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("name", ["swin_b", "swin_s", "swin_t"]),
        ("params", ["swin_t", "swin_s", "swin_b"]),
        ("flops", ["swin_t", "swin_s", "swin_b"]),
        ("top1", ["swin_b", "swin_s", "swin_t"]),
    ],
)
def test_sort(names: Any, order: str, expected: list[str]) -> None:
    assert names("--family", "swin", "--sort", order) == expected
    assert names("--family", "swin", "--sort", order, "--reverse") == expected[::-1]


def test_what_has_no_figure_stands_last(names: Any) -> None:
    for extra in ([], ["--reverse"]):
        found = names("mixer_b16", "mixer_s32", "smlpnet_space", "--sort", "flops", *extra)
        assert found[-1] == "smlpnet_space"
        assert names("mixer_b16", "mixer_s32", "--sort", "top1", *extra)[-1] == "mixer_s32"


# -- filters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["5011528960", "5.01152896G", "5.01152896gflops", "5011.52896 M"])
def test_limits_are_exact_and_belong_to_the_range(names: Any, text: str) -> None:
    assert "smlpnet_t" in names("smlpnet", "--max-flops", text)
    assert "smlpnet_t" in names("smlpnet", "--min-flops", text)
    assert "smlpnet_t" not in names("smlpnet", "--max-flops", "5011528959")
    assert "smlpnet_t" not in names("smlpnet", "--min-flops", "5011528961")


def test_all_limits_hold(names: Any) -> None:
    found = names(
        "--max-flops", "9G", "--min-flops", "4G", "--max-params", "50M",
        "--min-params", "20Mparams", "--min-top1", "81.3",
    )  # fmt: skip
    rows = {row["name"]: row for row in shipped_figures()}
    assert {"smlpnet_t", "swin_t", "swin_s"} <= set(found)
    for name, row in rows.items():
        inside = (
            row["flops"] is not None and row["params"] is not None and row["top1"] is not None
            and 4e9 <= row["flops"] <= 9e9 and 20e6 <= row["params"] <= 50e6 and row["top1"] >= 81.3
        )  # fmt: skip
        assert (name in found) == inside


def test_words(names: Any) -> None:
    assert set(names("swin")) == {"swin_t", "swin_s", "swin_b"}  # the family, and not cswin
    assert names("resnet50", "swin_t", "resnet50") == ["resnet50", "swin_t"]
    assert "table4_parallel" in names("ablations")
    assert "swin_t" in names("attention")
    assert {"swin_t", "swin_b", "window_attention"} <= set(names("2103.14030"))
    assert "smlpnet_t" in names("SPARSE MLP")


def test_all_about_one(specs: Any) -> None:
    text = specs("swin_t")
    for part in (
        "https://arxiv.org/abs/2103.14030", "28,288,354 (published 29M)",
        "4,509,194,496 (published 4.5G)", "81.3 % on ImageNet-1k", "depths: [2, 2, 6, 2]",
        "layer {shift: 0}", "weights timm", "licence MIT",
    ):  # fmt: skip
        assert part in text
    assert "window_attention {window: 7, shift: 0, heads: C / 32}" in specs("window_attention")


def test_own_folder(specs: Any, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "no.yaml").write_text("extends: smlpnet_t\n")
    (tmp_path / "mine.yaml").write_text("about: Mine.\nextends: smlpnet_t\nvars: {alpha: 2}\n")
    (tmp_path / "sub" / "broken.yml").write_text("extends: smlpnet_x\n")
    good, broken = json.loads(specs(str(tmp_path), "--json"))
    assert (good["name"], good["params"], good["flops"]) == ("mine", 19_175_584, 3_967_868_160)
    assert (good["family"], good["extends"]) == ("smlpnet", "smlpnet_t")
    assert broken["params"] is None
    text = specs(str(tmp_path))
    assert "19.18 M" in text
    assert "unreadable" in text
    assert f"✗ broken: {tmp_path}/sub/broken.yml:1:10: there is no spec 'smlpnet_x'" in text
    assert json.loads(specs(str(tmp_path / "mine.yaml"), "--json")) == [good]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["swan"],
            "no spec has 'swan' in its name, family, folder, description or source\n"
            "  did you mean 'swin'?",
        ),
        (
            ["qqqqqq"],
            "no spec has 'qqqqqq' in its name, family, folder, description or source\n"
            "  'archspec specs' lists the shipped ones",
        ),
        (
            ["--family", "swan"],
            "--family swan: there is no such family\n  did you mean 'swin'?",
        ),
        (
            ["swin", "--family", "resnet"],
            "--family resnet: there is no such family\n  'archspec specs' lists the networks",
        ),
        (["--max-flops", "5X"], "--max-flops takes a figure such as 5G, 600M, found '5X'"),
        (
            ["--min-flops", "30Mparams"],
            "--min-flops takes a figure such as 5G, 600M, found '30Mparams'",
        ),
        (["--max-params", ""], "--max-params takes a figure such as 30M, found ''"),
        (["--max-flops", "1k"], "no spec is inside these limits\n  'archspec specs' lists all"),
    ],
)
def test_refusals(args: list[str], message: str) -> None:
    assert refusal(*args) == message


def test_an_empty_folder(tmp_path: Path) -> None:
    assert refusal(str(tmp_path)) == f"{str(tmp_path)!r} holds no spec: their files end in .yaml"

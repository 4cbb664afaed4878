"""Drawings: Mermaid text, pictures, and the layout's geometry."""

from __future__ import annotations

import random
import re
import struct
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from archspec.draw import draw, mermaid
from archspec.draw.blocks import Blocks
from archspec.draw.branches import identities, residuals
from archspec.draw.canvas import text_width
from archspec.draw.diagram import OUTPUT, diagram
from archspec.draw.fold import folded
from archspec.draw.labels import details, quantity, shape_text
from archspec.draw.layout import LABEL, STEM, Box, Layout
from archspec.draw.overview import Overview
from archspec.draw.panel import Sketch, sketch
from archspec.draw.style import SHAPE_SIZE
from archspec.errors import ArchspecError, SpecError
from archspec.expansion import expand, expand_block
from archspec.graph import Graph
from archspec.ops import registry
from archspec.shape import Shape
from archspec.spec import load, loads

TINY = """
name: tiny
input: {channels: 3, height: 8, width: 8}
classes: 10
blocks:
  mix:
    - residual: [gelu, {linear: {axis: width}}, {stochastic_depth: 0}]
stem: [{conv: {id: patches, kernel: 4, stride: 4, out: 16}}]
stages:
  body: {repeat: 2, body: mix}
head: [global_pool, {linear: {out: classes}}]
"""

TINY_MERMAID = """\
flowchart TB
  n_image(["image"]):::terminal
  subgraph n_stem["stem"]
    n_stem_patches["conv <i>patches</i><br/>4×4, stride 4"]:::conv
  end
  n_image -->|"8×8×3"| n_stem_patches
  subgraph n_body["body"]
    n_body_layers[["mix × 2"]]:::block
  end
  n_stem_patches -->|"2×2×16"| n_body_layers
  subgraph n_head["head"]
    n_head_global_pool["global_pool<br/>average<br/>over height, width"]:::pool
    n_head_linear["linear<br/>16 → 10"]:::channel_mixing
  end
  n_body_layers -->|"2×2×16"| n_head_global_pool
  n_head_global_pool -->|"16"| n_head_linear
  n_logits(["logits"]):::terminal
  n_head_linear -->|"10"| n_logits
  subgraph n_mix["mix (shapes as in body)"]
    n_mix_input_0(["input"]):::terminal
    n_mix_gelu["gelu"]:::activation
    n_mix_linear["linear<br/>along width"]:::token_mixing
    n_mix_residual(("+")):::combine
    n_mix_output(["output"]):::terminal
    n_mix_input_0 -->|"2×2×16"| n_mix_gelu
    n_mix_gelu -->|"2×2×16"| n_mix_linear
    n_mix_input_0 -->|"2×2×16"| n_mix_residual
    n_mix_linear -->|"2×2×16"| n_mix_residual
    n_mix_residual -->|"2×2×16"| n_mix_output
  end
  classDef terminal fill:#ffffff,stroke:#8a8a8a,color:#1a1a1a
  classDef conv fill:#cfe3f7,stroke:#2a6fb0,color:#1a1a1a
  classDef block fill:#e3defa,stroke:#5b46b8,color:#1a1a1a
  classDef pool fill:#cdeeee,stroke:#1f8a8a,color:#1a1a1a
  classDef channel_mixing fill:#fdf0c4,stroke:#b8860b,color:#1a1a1a
  classDef activation fill:#f9d7e3,stroke:#b8436f,color:#1a1a1a
  classDef token_mixing fill:#fbd3b0,stroke:#c75b12,color:#1a1a1a
  classDef combine fill:#ffffff,stroke:#333333,color:#1a1a1a
"""


@pytest.fixture(scope="module")
def tiny() -> Graph:
    return expand(loads(TINY))


@pytest.fixture(scope="module")
def smlp() -> Graph:
    return expand(load("smlpnet_t"))


def network(blocks: str) -> Graph:
    """A network whose one stage is the block `b`, on 8×8 positions with 12 channels."""
    return expand(
        loads(
            "name: net\ninput: {height: 8, width: 8}\nclasses: 4\n"
            f"blocks:\n{blocks}\n"
            "stem: [{conv: {kernel: 3, out: 12}}]\n"
            "stages: {body: {body: b}}\n"
            "head: [global_pool, {linear: {out: classes}}]\n"
        )
    )


def block_sketch(graph: Graph, name: str) -> Sketch:
    blocks = Blocks(graph)
    (found,) = blocks.named(name)
    return sketch(diagram(found.graph, blocks))


# -- Mermaid -----------------------------------------------------------------------------------


def test_mermaid_of_a_tiny_network(tiny: Graph) -> None:
    assert mermaid(tiny) == TINY_MERMAID


@pytest.mark.parametrize("name", ["smlpnet_t", "end"])
def test_mermaid_is_well_formed(name: str) -> None:
    # Mermaid's own words must do no harm as the names of blocks, stages and ids
    awkward = TINY.replace("mix", "subgraph").replace("body:", "end:", 1).replace("patches", "end")
    text = mermaid(expand(load(name) if name != "end" else loads(awkward)))
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0] == "flowchart TB"
    depth = 0
    declared: set[str] = set()
    edges: list[tuple[str, str]] = []
    for line in lines[1:]:
        if edge := re.fullmatch(r'(\w+) -->\|"[^"|]+"\| (\w+)', line):
            edges.append((edge[1], edge[2]))
        elif group := re.fullmatch(r'subgraph (\w+)\["[^"]+"\]', line):
            assert group[1] not in declared
            declared.add(group[1])
            depth += 1
        elif line == "end":
            depth -= 1
        elif node := re.fullmatch(r'(\w+)(?:\(\[|\[\[|\(\(|\[)"[^"]+"[\])]+:::(\w+)', line):
            assert node[1] not in declared
            declared.add(node[1])
            assert any(style.startswith(f"classDef {node[2]} ") for style in lines)
        else:
            assert re.fullmatch(r"classDef \w+ fill:#\w{6},stroke:#\w{6},color:#\w{6}", line), line
        assert depth in (0, 1)
    assert depth == 0
    assert {end for edge in edges for end in edge} <= declared
    assert all(word.startswith("n_") for word in declared)
    assert len(edges) > 8


def test_mermaid_of_a_block_alone() -> None:
    graph = expand_block(load("smlpnet_t"), "cross", (Shape(channels=9, height=4, width=5),))
    text = mermaid(graph)
    assert 'n_cross_x -->|"4×5×9"| n_cross_row' in text
    assert text.count("subgraph") == 1
    assert "image" not in text


# -- what is drawn -----------------------------------------------------------------------------


def test_each_block_is_drawn_once(smlp: Graph) -> None:
    titles = [block.title for block in Blocks(smlp) if block.graph.kind == "block"]
    assert len(titles) == len(set(titles))
    assert {"layer", "local", "cross", "ffn"} <= set(titles)
    assert not {"cross (2)", "layer (2)"} & set(titles)  # the stages differ in width only


def test_another_structure_is_another_block() -> None:
    graph = network(
        "  b: [{c: {k: 3}}, {c: {k: 3}}, {c: {k: 5}}]\n"
        "  c: {args: {k: null}, body: [gelu, {conv: {kernel: k}}]}"
    )
    titles = [block.title for block in Blocks(graph)]
    assert titles == ["net", "stem", "body", "b", "c", "c (2)", "head"]


def test_ops_that_never_act_are_left_out(tiny: Graph) -> None:
    assert "stochastic_depth" not in mermaid(tiny)
    assert "rate 0.2" in mermaid(expand(loads(TINY.replace("depth: 0", "depth: 0.2"))))


def test_residual_and_identity_branches(smlp: Graph, tiny: Graph) -> None:
    blocks = Blocks(smlp)
    cross = diagram(blocks.named("cross")[0].graph, blocks)
    assert residuals(cross) == frozenset()
    (branch,) = identities(cross)
    assert (branch.source, branch.target) == ("node x", "node concat")
    layer = diagram(blocks.named("layer")[0].graph, blocks)
    assert {(w.source, w.target) for w in residuals(layer)} == {
        ("input 0", "node residual"),
        ("node residual", "node residual_2"),
    }


def test_the_cross_block_looks_like_the_paper_s(smlp: Graph) -> None:
    """Three branches side by side, identity, width, height, between one trunk above and below."""
    layout = block_sketch(smlp, "cross").layout
    (identity,) = layout.ghosts.values()
    row, column = layout.boxes["node row"], layout.boxes["node column"]
    assert identity.y == row.y == column.y
    assert identity.right < row.left
    assert row.right < column.left
    assert row.x - identity.x == pytest.approx(column.x - row.x)
    trunk = [layout.boxes[key] for key in ("input 0", "node x", "node concat", "node fuse", OUTPUT)]
    assert [box.x for box in trunk] == pytest.approx([row.x] * 5)
    assert [box.y for box in trunk] == sorted(box.y for box in trunk)


def test_a_split_goes_on_side_by_side() -> None:
    gate = """  b:
    - split: {into: 2, id: [u, v]}
    - layer_norm: {from: v}
    - linear: {axis: width, id: space}
    - multiply: {from: [u, space]}
    - linear: {out: 12}"""
    layout = block_sketch(network(gate), "b").layout
    (left, right) = (layout.stems["node split", port] for port in (0, 1))
    assert left[0] < right[0]
    assert layout.boxes["node space"].x > layout.boxes["node split"].x
    assert all(line.smooth for line in layout.lines)  # no lane: `u` is a branch, not a residual


def test_words() -> None:
    assert shape_text(Shape(channels=80, height=56, width=28)) == "56×28×80"
    assert shape_text(Shape(tokens=196, channels=512)) == "196×512"
    assert shape_text(Shape(heads=8, tokens=49, channels=64)) == "49×heads 8×64"
    assert shape_text(Shape()) == "scalar"
    assert [quantity(n) for n in (0, 999, 1000, 24_123_584, 5_011_528_960, 123_456_789)] == [
        "0", "999", "1.00 k", "24.1 M", "5.01 G", "123 M",
    ]  # fmt: skip


def test_words_of_ops() -> None:
    x = Shape(channels=4, height=5, width=6)
    z = x.replace(width=4, complex=2)
    found = [
        details(registry()[name](**args), (shape,))
        for name, args, shape in (
            ("pad", {"axis": "width", "after": 1, "mode": "reflect"}, x),
            ("pad", {"axis": "width", "before": 2, "value": 1.5}, x),
            ("shift", {"axis": "width", "by": (1, -1), "grouping": "cycle"}, x),
            ("param", {"axes": {"channels": 4}}, x),
            ("param", {"axes": {}, "init": 0.9}, x),
            ("rfft", {}, x),
            ("irfft", {"axes": ("width",), "size": 6}, z),
        )
    ]
    assert found == [
        ("along width, reflect", "0 before, 1 after"),
        ("along width, value 1.5", "2 before, 0 after"),
        ("along width", "by 1, -1, in turn"),
        (),
        ("init 0.9",),
        ("over height, width",),
        ("over width",),
    ]


# -- layout ------------------------------------------------------------------------------------


def random_block(seed: int) -> str:
    """A block of random wiring: forks, joins of two and more, splits, residuals, long edges."""
    rng = random.Random(seed)
    steps, free = ["batch_norm: {id: n0}"], ["n0"]
    for number in range(1, rng.randint(5, 24)):
        name, source = f"n{number}", rng.choice(free[-4:])
        kind = rng.choice(["relu", "conv", "row", "join", "join", "split", "residual"])
        if kind == "join" and len(free) > 1:
            names = rng.sample(free, min(len(free), rng.randint(2, 4)))
            op = rng.choice(["add", "multiply", "subtract"]) if len(names) == 2 else "add"
            steps.append(f"{op}: {{id: {name}, from: [{', '.join(names)}]}}")
        elif kind == "split":
            parts = [f"{name}_{part}" for part in range(rng.randint(2, 4))]
            ids = ", ".join(parts)
            steps.append(f"split: {{into: {len(parts)}, id: [{ids}], from: {source}}}")
            rng.shuffle(parts)
            steps.append(f"concat: {{id: {name}, from: [{', '.join(parts)}]}}")
        elif kind == "residual":
            inner = "{residual: [gelu, {conv: {kernel: 3}}]}"
            steps.append(f"residual: {{id: {name}, from: {source}, body: [silu, {inner}]}}")
        else:
            op = {"conv": "conv: {kernel: 3, ", "row": "linear: {axis: width, "}.get(kind)
            steps.append(f"{op or 'relu: {'}id: {name}, from: {source}}}")
        free.append(name)
    steps.append(f"add: {{from: [{', '.join([*free, 'input'])}]}}")
    return "  b:\n" + "\n".join(f"    - {step}" for step in steps)


def labels(drawn: Sketch) -> list[Box]:
    """The rectangles of the shapes' text, as they are painted."""
    found = []
    for item in drawn.diagram.items:
        for port, text in enumerate(item.outputs):
            x, y = drawn.layout.stems[item.key, port]
            width = text_width(text, SHAPE_SIZE)
            found.append(Box(x + LABEL + width / 2, y + STEM / 2, width, STEM - 2))
    return found


def check(drawn: Sketch) -> None:
    layout: Layout = drawn.layout
    solid = [*layout.boxes.values(), *layout.ghosts.values()]
    for a, b in combinations([*solid, *labels(drawn)], 2):
        assert not a.overlaps(b), (a, b)
    for box in [*solid, *labels(drawn)]:
        assert box.left >= -0.01
        assert box.right <= layout.width + 0.01
        assert box.top >= -0.01
    assert {line.wire for line in layout.lines} == set(drawn.diagram.wires)
    for line in layout.lines:
        source, target = layout.boxes[line.wire.source], layout.boxes[line.wire.target]
        heights = [y for _, y in line.points]
        assert source.bottom < target.top
        assert heights == sorted(heights), "a line goes up again"
        assert heights[0] == source.bottom
        if line.smooth:
            assert line.points[-1][1] == target.top
        others = [box for box in layout.boxes.values() if box not in (source, target)]
        others += [box for wire, box in layout.ghosts.items() if wire != line.wire]
        for (x0, y0), (x1, y1) in zip(line.points, line.points[1:], strict=False):
            piece = Box((x0 + x1) / 2, (y0 + y1) / 2, abs(x1 - x0), abs(y1 - y0))
            assert not any(piece.overlaps(box) for box in others), "a line runs through a box"
            assert not any(piece.overlaps(text) for text in labels(drawn)), "… or through text"


@pytest.mark.parametrize("seed", range(40))
def test_boxes_and_text_keep_apart_and_lines_go_down(seed: int) -> None:
    check(block_sketch(network(random_block(seed)), "b"))


def test_the_check_can_fail(smlp: Graph) -> None:
    good = block_sketch(smlp, "cross")
    row = good.layout.boxes["node row"]
    good.layout.boxes["node column"] = Box(row.x + 3, row.y, row.width, row.height)
    with pytest.raises(AssertionError):
        check(good)


@pytest.mark.parametrize("name", ["layer", "local", "cross", "ffn", "stage1", "head"])
def test_smlpnet_s_panels(smlp: Graph, name: str) -> None:
    check(block_sketch(smlp, name))


def test_a_long_block_is_folded() -> None:
    graph = network("  b:\n" + "    - residual: [batch_norm, gelu]\n" * 30)
    blocks = Blocks(graph)
    whole = diagram(blocks.named("b")[0].graph, blocks)
    parts = folded(whole)
    assert len(parts) == 5
    kept = [item.key for part in parts for item in part.items[1:-1]]
    assert kept == [item.key for item in whole.items[1:-1]]
    joints = [(part.items[0].title, part.items[-1].title) for part in parts]
    assert joints == [("input", "A"), ("A", "B"), ("B", "C"), ("C", "D"), ("D", "output")]
    assert sum(len(residuals(part)) for part in parts) == 30  # no residual path is cut
    for part in parts:
        check(sketch(part))


def test_what_cannot_be_cut_stays_whole() -> None:
    steps = "".join(f"    - relu: {{id: r{i}}}\n" for i in range(30))
    graph = network(f"  b:\n{steps}    - add: {{from: [input, r29]}}")
    blocks = Blocks(graph)
    whole = diagram(blocks.named("b")[0].graph, blocks)
    assert folded(whole) == [whole]


# -- files -------------------------------------------------------------------------------------


def texts(path: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8"))


def test_svg_holds_the_words_as_text(smlp: Graph, tmp_path: Path) -> None:
    draw(smlp, tmp_path / "net.svg")
    found = texts(tmp_path / "net.svg")
    for word in (
        "smlpnet_t", "24.1 M parameters · 5.01 GFLOPs (multiply-adds) for one image",
        "stage3", "layer × 14", "14×14×320", "cross", "linear", "row", "along width",
        "along height", "concat", "identity", "1×1, 240 → 80", "3×3 depthwise", "56×56×80",
        "56×56×240", "token mixing", "logits", "1000",
    ):  # fmt: skip
        assert word in found, word
    assert found.count("concat") == 1


def test_the_same_network_gives_the_same_file(tiny: Graph, tmp_path: Path) -> None:
    draw(tiny, tmp_path / "a.svg")
    draw(tiny, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_one_block_alone(smlp: Graph, tmp_path: Path) -> None:
    draw(smlp, tmp_path / "cross.svg", block="cross")
    found = texts(tmp_path / "cross.svg")
    assert "fuse" in found
    assert "stage1" not in found
    assert "conv" not in found  # neither a box nor in the legend


def test_symbolic_sizes(tmp_path: Path) -> None:
    import sympy

    c, h, w = sympy.symbols("C H W", positive=True, integer=True)
    shape = Shape(channels=c, height=h, width=w)
    graph = expand_block(load("smlpnet_t"), "cross", (shape,))
    draw(graph, tmp_path / "cross.svg")
    assert "H×W×3*C" in texts(tmp_path / "cross.svg")


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def test_png_and_pdf(smlp: Graph, tmp_path: Path) -> None:
    for name in ("cross.svg", "cross.PNG", "cross.pdf"):
        draw(smlp, tmp_path / name, block="cross")
    size = re.search(
        r'width="([\d.]+)pt" height="([\d.]+)pt"', (tmp_path / "cross.svg").read_text()
    )
    assert size is not None
    points = (float(size[1]), float(size[2]))
    assert png_size(tmp_path / "cross.PNG") == pytest.approx([2 * p for p in points], abs=2)
    assert (tmp_path / "cross.PNG").stat().st_size > 10_000
    assert (tmp_path / "cross.pdf").read_bytes().startswith(b"%PDF")


def test_a_network_of_many_stages_is_wrapped(tmp_path: Path) -> None:
    stages = "\n".join(f"  s{i}: {{repeat: {i % 3 + 1}, body: mix}}" for i in range(30))
    graph = expand(loads(TINY.replace("  body: {repeat: 2, body: mix}", stages)))
    draw(graph, tmp_path / "many.png")
    width, height = png_size(tmp_path / "many.png")
    assert 0.5 < width / height < 3
    draw(graph, tmp_path / "many.svg")
    assert {f"s{i}" for i in range(30)} <= set(texts(tmp_path / "many.svg"))


def test_four_stages_stand_in_one_column(smlp: Graph) -> None:
    assert [len(column) for column in Overview(smlp, Blocks(smlp)).columns] == [5]


def test_columns_of_stages_are_even() -> None:
    stages = "\n".join(f"  s{i}: {{repeat: 2, body: mix}}" for i in range(28))
    graph = expand(loads(TINY.replace("  body: {repeat: 2, body: mix}", stages)))
    counts = [len(column) for column in Overview(graph, Blocks(graph)).columns]
    assert sum(counts) == 30
    assert len(counts) > 1
    assert max(counts) - min(counts) <= 2


# -- refusals ----------------------------------------------------------------------------------


def test_unknown_block(smlp: Graph, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        draw(smlp, tmp_path / "a.svg", block="crss")
    assert str(error.value) == "smlpnet_t uses no block 'crss'\n  did you mean 'cross'?"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.svgz"])
def test_unknown_format(tiny: Graph, tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError) as error:
        draw(tiny, tmp_path / name)
    assert str(error.value) == (
        f"cannot draw into '{name}': the file's name must end in .svg, .png, .pdf"
    )
    assert list(tmp_path.iterdir()) == []


def test_unwritable_path(tiny: Graph, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "a.svg"
    with pytest.raises(ArchspecError) as error:
        draw(tiny, path)
    assert str(error.value) == f"cannot write {path}: No such file or directory"
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(ArchspecError, match=r"cannot write .*folder\.svg: it is a folder"):
        draw(tiny, tmp_path / "folder.svg")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.svg"]  # nothing half-written


def test_an_old_file_survives_a_failure(
    tiny: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    path = tmp_path / "a.svg"
    path.write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(ArchspecError, match="No space left on device"):
        draw(tiny, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_drawing_loads_nothing_before_it_is_asked_to() -> None:
    code = (
        "import sys, archspec.draw\n"
        "heavy = {'torch', 'matplotlib', 'networkx', 'sympy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from archspec.draw import draw; from archspec.expansion import expand\n"
        "from archspec.spec import load; from pathlib import Path; import tempfile\n"
        "draw(expand(load('smlpnet_t')), Path(tempfile.mkdtemp()) / 'a.svg', block='ffn')\n"
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "assert 'matplotlib' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

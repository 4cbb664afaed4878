"""A block's formula is the paper's, and has the exact cost at every size."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import sympy

from archspec import catalog
from archspec.counting import count
from archspec.errors import ArchspecError, SpecError
from archspec.expansion import expand
from archspec.formula import BlockFormula, formulas
from archspec.formula.typeset import latex, text
from archspec.graph import CallNode, Graph, RepeatNode
from archspec.ops import Op, registry
from archspec.shape import Shape
from archspec.sizes import is_symbol
from archspec.spec import Spec, load, loads

H, W, C, N, G, K = sympy.symbols("H W C N g kernel", positive=True, integer=True)
ALPHA = sympy.Symbol("alpha", positive=True)


def one(spec: Spec, block: str) -> BlockFormula:
    (found,) = formulas(spec, block)
    return found


def network(blocks: str, stem: str, variables: str = "") -> Spec:
    """A network on 3×32×32 images: a convolution to 16 channels, then `stem`."""
    indented = "\n".join(f"  {line}" for line in blocks.strip("\n").splitlines())
    return loads(
        f"input: {{height: 32, width: 32}}\nclasses: 10\nvars: {{{variables}}}\n"
        f"blocks:\n{indented}\n"
        f"stem: [conv: {{kernel: 3, out: 16}}, {stem}]\n"
        "head: [global_pool, linear: {out: classes}]\n"
    )


# -- the paper's -------------------------------------------------------------------------------


def test_sparse_mlp() -> None:
    """Ω(sMLP) = HWC(H+W) + 3HWC², with H² + W² + 3C² parameters, biases not counted."""
    cross = one(load("smlpnet_t"), "cross")
    assert str(cross.macs) == "H·W·C·(H + W) + 3·H·W·C²"
    assert cross.macs.latex == "HWC(H + W) + 3HWC^{2}"
    assert {what: str(f) for what, f in cross.params.items()} == {
        "weights": "H² + W² + 3·C²",
        "biases": "H + W",
        "batch_norm": "2·C",
    }
    assert str(cross.flops["batch_norm"]) == "2·H·W·C"


TOKEN_MLP = """
mlp:
  args: {rows: H, columns: W}
  body:
    - layer_norm
    - flatten
    - linear: {axis: tokens, out: alpha * N}
    - gelu
    - linear: {axis: tokens, out: N / alpha}
    - unflatten: {into: {height: rows, width: columns}}
"""


def test_token_mlp_on_a_grid() -> None:
    """Ω(MLP) = 2α(HW)²C."""
    mlp = one(network(TOKEN_MLP, "mlp", "alpha: 2"), "mlp")
    assert str(mlp.macs) == "2·α·(H·W)²·C"
    assert mlp.macs.latex == r"2\alpha(HW)^{2}C"
    assert str(mlp.params["weights"]) == "2·α·(H·W)²"


@pytest.mark.parametrize("from_grid", [True, False])
def test_token_mlp_on_tokens(from_grid: bool) -> None:
    flat = (
        "flatten" if from_grid else "global_pool: {axes: [height]}, rename: {axes: {width: tokens}}"
    )
    blocks = "mlp: [linear: {axis: tokens, out: alpha * N}, linear: {axis: tokens, out: N / alpha}]"
    mlp = one(network(blocks, f"{flat}, mlp", "alpha: 2"), "mlp")
    assert str(mlp.macs) == "2·α·N²·C"
    assert ("N = H·W: the tokens come from a grid" in mlp.notes) is from_grid


# -- exactness ---------------------------------------------------------------------------------


def graphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    for node in graph.nodes:
        if isinstance(node, CallNode):
            yield from graphs(node.graph)
        elif isinstance(node, RepeatNode):
            for body in node.bodies:
                yield from graphs(body)


def test_every_block_in_every_stage_of_smlpnet() -> None:
    spec = load("smlpnet_t")
    known = {name: one(spec, name) for name in spec.blocks if name != "skip"}
    sizes = set()
    for graph in graphs(expand(spec)):
        if graph.kind != "block":
            continue
        shape = graph.inputs[0]
        numbers = {"C": shape["channels"], "H": shape["height"], "W": shape["width"], "alpha": 3}
        defaults = {"kernel": 3, "size": 2, "out": 2 * shape["channels"]}
        numbers |= {**defaults, **graph.arguments}
        formula, exact = known[graph.name], count(graph)
        assert formula.macs.value(numbers) == exact.macs
        assert formula.total_flops.value(numbers) == exact.flops
        assert formula.total_params.value(numbers) == exact.params
        sizes.add((graph.name, shape["height"]))
    assert sizes == {
        *((name, size) for name in ("layer", "local", "cross", "ffn") for size in (56, 28, 14, 7)),
        *(("patches", size) for size in (224, 56, 28, 14)),
    }


def test_every_shipped_block_has_a_formula() -> None:
    without = [
        (name, formula.block, formula.reason)
        for name in catalog.shipped()
        for formula in formulas(load(name))
        if formula.reason is not None
    ]
    # which mixer stands in that layer is what is searched
    assert without == [("hybrid_space", "layer", "vars.mixer has no value yet")]


def test_a_value_needs_every_name() -> None:
    ffn = one(load("smlpnet_t"), "ffn")
    with pytest.raises(ArchspecError, match="needs a number for 'alpha'"):
        ffn.macs.value({"H": 7, "W": 7, "C": 8})


# -- what becomes a symbol ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "variables", "macs", "notes"),
    [
        ("{conv: {kernel: k, groups: C}}", "k: 5", "k²·H·W·C", ()),
        ("{conv: {kernel: 3, groups: heads}}", "heads: 4", "9·H·W·C²/heads", ()),
        ("{conv: {kernel: 3, stride: 2}}", "", "9·⌈H/2⌉·⌈W/2⌉·C²", ()),
        ("{conv: {kernel: s, stride: s}}", "s: 2", "H·W·C²", ()),
        ("[dropout: rate, linear: {out: C}]", "rate: 0.1", "H·W·C²", ()),
        ("[linear: {out: r * C}, linear: {out: C / r}]", "r: 0.25", "2·r·H·W·C²", ()),
        ("[linear: {out: wide}]", "w: 8, wide: w * 2", "2·w·H·W·C", ()),
        ('{linear: {out: "widths[1]"}}', "widths: [8, 16]", "widths[1]·H·W·C", ()),
        ('{linear: {out: "max(C / 4, 8)"}}', "", "H·W·max(8, C/4)·C", ()),
        ("{linear: {out: C // 3}}", "", "H·W·⌊C/3⌋·C", ()),
        ("{repeat: {times: n, body: [linear: C]}}", "n: 3", "n·H·W·C²", ()),
        # only a stride of 4 makes it a patch
        ("{conv: {kernel: 4, stride: s}}", "s: 4", "H·W·C²", ("for s = 4",)),
        # only one channel can be repeated
        (
            "[identity: {id: x}, linear: {out: n, id: y}, multiply: {from: [x, y]}]",
            "n: 1", "H·W·C", ("for n = 1",),
        ),
        (
            "{repeat: {times: n, body: "
            "[linear: {out: (index + 1) * C}, linear: {out: C / (index + 1)}]}}",
            "n: 2", "6·H·W·C²", ("for n = 2",),
        ),
        (
            "{if: {condition: deep > 2, then: [linear, linear], else: linear}}",
            "deep: 3", "2·H·W·C²", ("for deep = 3",),
        ),
        ("{linear: {axis: ax}}", "ax: height", "H²·W·C", ("for ax = height",)),
    ],
)  # fmt: skip
def test_variables(body: str, variables: str, macs: str, notes: tuple[str, ...]) -> None:
    found = one(network(f"b: {body}", "b", variables), "b")
    assert found.reason is None
    assert str(found.macs) == macs
    assert found.notes == notes


def test_arguments_are_named_as_the_block_names_them() -> None:
    blocks = """
    wide:
      args: {ratio: 2, out: C, axis: channels}
      body: [linear: {axis: axis, out: ratio * C}, linear: {axis: axis, out: out}]
    """
    found = one(network(blocks, "wide: {out: 24}"), "wide")
    assert str(found.macs) == "out·ratio·H·W·C + ratio·H·W·C²"
    assert found.notes == ("for axis = channels",)
    default = one(network(blocks, "wide"), "wide")
    assert str(default.macs) == "2·ratio·H·W·C²"


def test_one_formula_for_each_axis() -> None:
    blocks = "mix: {args: {axis: null}, body: {linear: {axis: axis}}}"
    rows, columns = formulas(network(blocks, "mix: width, mix: height, mix: width"), "mix")
    assert (str(rows.macs), rows.notes) == ("H·W²·C", ("for axis = width",))
    assert (str(columns.macs), columns.notes) == ("H²·W·C", ("for axis = height",))


def test_one_formula_for_each_mixer() -> None:
    first, second = formulas(load("table5_multi_stage"), "layer")
    assert first.notes == ("for mixer = local",)
    assert second.notes == ("for mixer = token_mlp",)
    assert str(second.macs) == "H·W·C·(2·H·W + 9) + 2·α·H·W·C²"


def test_several_inputs() -> None:
    blocks = """
    join:
      inputs: [a, b]
      body: [linear: {from: b, out: 8, id: t}, concat: {from: [a, t]}]
    """
    stem = "gelu: {id: a}, conv: {kernel: 1, out: 24, id: b}, join: {from: [a, b]}"
    found = one(network(blocks, stem), "join")
    assert [shape["channels"].name for shape in found.inputs] == ["C", "C2"]
    assert str(found.macs) == "8·H·W·C₂"
    assert found.macs.latex == "8HWC_{2}"


def test_holes_are_symbols() -> None:
    ffn = one(load("smlpnet_space"), "ffn")
    assert str(ffn.macs) == "2·α·H·W·C²"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "{if: {condition: C > 8, then: linear}}",
            "in 'C > 8': whether C > 8 depends on the network, and no number is given",
        ),
        (
            "[linear: {out: 'C if C == 16 else 16'}]",
            "in 'C if C == 16 else 16': whether Eq(C, 16) depends on the network, and no number "
            "is given",
        ),
        (
            "[identity: {id: x}, linear: {out: 16, id: g}, multiply: {from: [x, g]}]",
            "'multiply' cannot join C H W and C16 H W: channels is C in one and 16 in another; "
            "sizes must be equal, or one of them 1",
        ),
    ],
)
def test_a_block_without_a_closed_formula_says_why(body: str, reason: str) -> None:
    found = one(network(f"b: {body}", "b"), "b")
    assert found.reason == reason
    assert str(found).endswith(f"no closed formula: {reason}")
    assert found.to_dict()["reason"] == reason


def test_a_formula_that_does_not_give_the_cost_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    linear = registry()["linear"]

    def flops(self: Op, *xs: Shape) -> object:
        return xs[0].channels if is_symbol(xs[0].channels) else xs[0].channels + 1

    monkeypatch.setattr(linear, "flops", flops)
    found = one(network("b: linear", "b"), "b")
    assert found.reason == "its structure depends on the sizes that it is used with"


def test_a_block_that_is_left_open_has_no_formula() -> None:
    blocks = "open:\n  - choice: [linear, conv: {kernel: 3}]"
    assert one(network(blocks, "open"), "open").reason == "this step has no value yet"


def test_unused_blocks_get_an_assumed_input() -> None:
    spec = loads("blocks: {rows: {linear: {axis: width}}, tokens: {linear: {axis: tokens}}}")
    rows, tokens = formulas(spec)
    assert (str(rows.macs), str(tokens.macs)) == ("H·W²·C", "N²·C")
    assert rows.notes == ("the network does not use this block; its input is assumed",)


def test_unknown_block() -> None:
    with pytest.raises(SpecError, match="smlpnet_t has no block 'cros'") as caught:
        formulas(load("smlpnet_t"), "cros")
    assert caught.value.hint == "did you mean 'cross'?"


# -- as it is printed --------------------------------------------------------------------------


def test_as_text() -> None:
    assert str(one(load("smlpnet_t"), "cross")) == (
        "cross  reads C × H × W (channels, height, width)\n"
        "  FLOPs       H·W·C·(H + W) + 3·H·W·C²  multiply-adds\n"
        "              2·H·W·C                   batch_norm\n"
        "  parameters  H² + W² + 3·C²            weights\n"
        "              H + W                     biases\n"
        "              2·C                       batch_norm\n"
        r"  LaTeX       \Omega = HWC(H + W) + 3HWC^{2}"
    )


def test_as_json() -> None:
    found = json.loads(json.dumps(one(load("smlpnet_t"), "ffn").to_dict()))
    assert found["inputs"] == [{"channels": "C", "height": "H", "width": "W"}]
    assert found["flops"]["multiply-adds"] == {
        "expression": "2*C**2*H*W*alpha",
        "text": "2·α·H·W·C²",
        "latex": r"2\alpha HWC^{2}",
    }
    total = sympy.sympify(found["total_params"]["expression"])
    assert total.subs({"C": 80, "alpha": 3}) == 80 * 240 * 2 + 80 + 240 + 160


PRINTED = [
    (sympy.Integer(0), "0", "0"),
    (sympy.Rational(3, 2), "3/2", r"\frac{3}{2}"),
    (C - 1, "C − 1", "C - 1"),
    (-H, "−H", "-H"),
    (H**10, "H¹⁰", "H^{10}"),
    (H**2 * W**3, "H²·W³", "H^{2}W^{3}"),
    (0.25 * C, "C/4", r"\frac{C}{4}"),
    (2 * C / (G * K), "2·C/(g·kernel)", r"\frac{2C}{g\,\mathrm{kernel}}"),
    (C / (H + 1), "C/(H + 1)", r"\frac{C}{H + 1}"),
    (H / 2 - sympy.Rational(1, 2), "(H − 1)/2", r"\frac{H - 1}{2}"),
    (C * (sympy.floor((H - 1) / 2) + 1), "⌈H/2⌉·C", r"\lceil \frac{H}{2} \rceil C"),
    (
        C * (sympy.floor((H - 1) / K) + 1), "(⌊(H − 1)/kernel⌋ + 1)·C",
        r"(\lfloor \frac{H - 1}{\mathrm{kernel}} \rfloor + 1)C",
    ),
    (sympy.Min(C, 64) * K, "kernel·min(64, C)", r"\mathrm{kernel}\,\min(64, C)"),
    (sympy.Mod(C, 3), "mod(C, 3)", r"\mathrm{mod}(C, 3)"),
    (sympy.Symbol("alpha_rows") * C, "α_rows·C", r"\alpha_{\mathrm{rows}}C"),
    (sympy.Symbol("drop_path") * C, "drop_path·C", r"\mathrm{drop\_path}\,C"),
    (sympy.Symbol("depths[0]") * C, "depths[0]·C", r"\mathrm{depths}_{0}\,C"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "as_text", "as_latex"), PRINTED)
def test_typesetting(expression: sympy.Expr, as_text: str, as_latex: str) -> None:
    assert (text(expression), latex(expression)) == (as_text, as_latex)


def test_latex_is_well_formed() -> None:
    from matplotlib.mathtext import MathTextParser

    parser = MathTextParser("path")
    for expression, *_ in PRINTED:
        parser.parse(f"${latex(expression)}$")

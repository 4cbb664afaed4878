"""Emitted source is the same network: names, order, shapes, first weights, every bit it gives."""

from __future__ import annotations

import ast
import copy
import importlib.util
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import nn

from archspec.codegen import emit
from archspec.expansion import expand
from archspec.lower import lower
from archspec.module import to_module
from archspec.ops import registry
from archspec.program import Program, class_name
from archspec.spec import Spec, load, loads
from tests.strategies import networks

HEAD = """
head: [global_pool, {linear: {id: classifier, out: classes}}]
input: {channels: 3, height: 16, width: 16}
classes: 5
"""

# one spec for each thing that a network can be made of
SPECS = {
    "residual_and_depth": """
name: residual_and_depth
blocks:
  mix: [batch_norm, {conv: {kernel: 3, groups: C}}]
  ffn: [layer_norm, {linear: {out: 4 * C}}, gelu, {linear: {out: C / 4}}, {dropout: 0.1}]
  layer: [{residual: [mix, {stochastic_depth: 0.2}]}, {residual: [ffn, {stochastic_depth: 0.2}]}]
stages:
  stage1: {enter: {conv: {out: 8, kernel: 4, stride: 4}}, repeat: 2, body: layer}
  stage2: {enter: {conv: {out: 2 * C, kernel: 2, stride: 2}}, repeat: 7, body: layer}
  stage3: {enter: {conv: {out: 3 * C, kernel: 1}}, repeat: 1, body: layer}
""",
    "axes_and_branches": """
name: axes-and.branches
blocks:
  cross:
    - gelu: {id: x}
    - linear: {id: row, axis: width}
    - relu: {id: bent}
    - linear: {id: column, axis: height, from: x}
    - concat: {from: [x, bent, column]}
    - linear: {out: C / 3}
stages:
  one: {enter: {conv: {out: 6, kernel: 2, stride: 2}}, repeat: 2, body: cross}
  two: {enter: {avg_pool: {kernel: 2, stride: 2}}, repeat: 3, body: [cross, batch_norm]}
""",
    "gates": """
name: gates
blocks:
  gate:
    - linear: {out: 2 * C}
    - split: {into: 2, id: [u, v]}
    - layer_norm: {from: v}
    - flatten: {id: tokens}
    - linear: {axis: tokens, id: mixed}
    - unflatten: {id: grid}
    - multiply: {id: gated, from: [u, grid]}
  squeeze:
    - global_pool: {id: pooled}
    - linear: {out: C / 2}
    - silu
    - linear: {out: 2 * C}
    - sigmoid: {id: weights}
    - multiply: {from: [input, weights]}
  # modules return Any to a type checker, and so does what is computed from them
  self_gate: [{residual: [{tanh: {id: t}}, {linear: {id: y}}, {multiply: {from: [t, y]}}]}]
stages:
  stage1: {enter: {conv: {out: 8, kernel: 4, stride: 4}}, body: [gate, squeeze, self_gate]}
  stage2: {enter: {conv: {out: 12, kernel: 2, stride: 2}}, body: [gate, squeeze, self_gate]}
""",
    "shifts_and_sizes": """
name: shifts_and_sizes
blocks:
  shifted:
    - split: {sizes: [C / 4, C - C / 4], id: [a, b]}
    - shift: {axis: height, by: [1, 0, -1], mode: zero, from: b, id: shift_zero}
    - shift: {axis: width, by: 2}
    - shift: {axis: width, by: [-1, 1], mode: replicate, id: l}
    - concat: {from: [a, l]}
    - scale: 0.1
    - affine
stages:
  stage1: {enter: {conv: {out: 8, kernel: 2, stride: 2}}, repeat: 2, body: shifted}
  stage2: {enter: {conv: {out: 16, kernel: 2, stride: 2}}, repeat: 2, body: shifted}
""",
    "arguments": """
name: arguments
vars: {mixer: wide}
blocks:
  wide: [{conv: {kernel: 5, groups: C}}]
  narrow: [{conv: {kernel: 3, groups: C}}]
  plain:
    args: {kernel: 3, act: true}
    body:
      - conv: {kernel: kernel, dilation: 1}
      - if: {condition: act, then: [relu], else: [tanh]}
  two:
    inputs: [left, right]
    body:
      - add: {id: total, from: [left, right]}
      - multiply: {from: [total, left]}
      - linear
  layer:
    args: {deep: 0}
    body:
      - use: {id: mixed, block: mixer}
      - plain: {kernel: 1 + 2 * deep}
      - plain: {id: second, act: false}
      - two: {from: [mixed, second]}
stages:
  stage1:
    enter: {conv: {out: 8, kernel: 4, stride: 4}}
    body:
      - repeat: {times: 3, body: [{layer: {deep: index}}]}
  stage2:
    vars: {mixer: narrow}
    enter: {conv: {out: 8, kernel: 2, stride: 2}}
    body:
      - repeat: {times: 4, body: [{conv: {kernel: 3, dilation: 1 + index, padding: 1 + index}}]}
      - residual: [{layer: {deep: 1}}, group_norm]
""",
    "nested_repeats": """
name: nested_repeats
blocks:
  inner: {args: {rate: 0.1}, body: [{conv: {kernel: 3, groups: C}}, {dropout: rate}]}
  outer:
    args: {rate: null, deep: null}
    body: [{repeat: {times: 2 + deep, body: [{inner: rate * index / 10}]}}, relu]
stages:
  stage1:
    enter: {conv: {out: 6, kernel: 4, stride: 4}}
    body: [{repeat: {times: 2, body: [{outer: {rate: index / 10, deep: 1}}]}}]
  stage2:
    enter: {conv: {out: 10, kernel: 1}}
    body: [{repeat: {times: 3, body: [{outer: {rate: (1 + index) / 10, deep: index}}]}}]
""",
    "every_op": """
name: every_op
stem: [{conv: {out: 12, kernel: 2, stride: 2}}, {max_pool: 3}, {avg_pool: 3}]
stages:
  all:
    body:
      - batch_norm
      - {group_norm: 3}
      - layer_norm
      - affine
      - {scale: 0.5}
      - gelu
      - {gelu: {approximate: tanh}}
      - relu6
      - {leaky_relu: {negative_slope: 0.2}}
      - silu
      - hardswish
      - hardsigmoid
      - tanh
      - {factor: 0.5}
      - identity
      - {dropout: 0.1}
      - stochastic_depth: {rate: 0.1, schedule: constant, id: x}
      - {split: {sizes: [4, 8], id: [u, v]}}
      - {linear: {out: 8, from: u}}
      - {relu: {id: w}}
      - {subtract: {from: [w, v], id: difference}}
      - {split: {into: 2, id: [s, t]}}
      - {concat: {from: [s, t, difference]}}
      - {softmax: height}
      - {shift: {axis: width, by: 1}}
      - {shift: {axis: width, by: [1, -1], mode: zero, id: moved}}
      - {sigmoid: {id: gate}}
      - {multiply: {from: [moved, gate]}}
      - {flatten: {id: tokens}}
      - {rename: {axes: {tokens: places}}}
      - {linear: {axis: places}}
      - {unflatten: {axis: places, id: back}}
      - {add: {from: [back, moved]}}
      - {pad: {axis: height, after: 1}}
      - {slice: {axis: height, start: 1, size: H - 1, id: cut}}
      - {pad: {axis: width, before: 1, mode: replicate, from: cut}}
      - {slice: {axis: width, start: 1, id: padded}}
      - {sin: {id: sine}}
      - {cos: {id: cosine, from: padded}}
      - {divide: {from: [sine, cosine], eps: 2, id: ratio}}
      - {rfft: {axes: [height, width], norm: ortho, id: spectrum}}
      - {fft: {axes: [height, width], from: ratio}}
      - {ifft: {axes: [height, width]}}
      - {select: {axis: complex, id: again}}
      - {param: {axes: {complex: 2}, from: spectrum, id: filter}}
      - {complex_multiply: {from: [spectrum, filter]}}
      - {irfft: {axes: [height, width], norm: ortho, size: 2 * (W - 1), id: back_again}}
      - {param: {axes: {}, init: 1, from: back_again, id: scalar}}
      - {multiply: {from: [back_again, scalar, again]}}
      - {unflatten: {axis: height, into: {rows: H / 2, height: 2}}}
      - {unflatten: {axis: width, into: {columns: W / 2, width: 2}}}
      - {flatten: {into: queries, id: q}}
      - {rename: {axes: {queries: keys}, id: k}}
      - {unflatten: {axis: channels, into: {heads: 4, channels: C / 4}, from: q, id: q_heads}}
      - {unflatten: {axis: channels, into: {heads: 4, channels: C / 4}, from: k, id: k_heads}}
      - {contract: {over: channels, scaled: true, from: [q_heads, k_heads], id: scores}}
      - {relative_position_bias: {window: 2, id: bias}}
      - {shifted_window_mask: {window: 2, by: -1, from: scores, id: mask}}
      - {add: {from: [scores, bias, mask]}}
      - {softmax: {axis: keys, id: weights}}
      - {contract: {over: keys, from: [weights, k_heads], id: mixed}}
      - {param: {axes: {heads: 4, channels: C}, id: gate_of_heads}}
      - {param: {axes: {queries: 4, heads: 4}, init: 1, from: mixed, id: gate_of_queries}}
      - {multiply: {from: [mixed, gate_of_heads, gate_of_queries], id: gated}}
      - {contract: {over: [heads, channels, queries], from: [gated, q_heads], id: sums}}
      - {select: {axis: rows, index: 1, id: of_row}}
      - {contract: {over: columns, from: [gated, of_row]}}
""",
}


def program_of(name: str) -> Program:
    return lower(expand(loads(SPECS[name] + HEAD)))


def imported(source: str, folder: Path, name: str = "emitted_network") -> ModuleType:
    path = folder / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def pair_of(program: Program, folder: Path) -> tuple[nn.Module, nn.Module]:
    """The built and the emitted network, each initialised from the same seed."""
    emitted = imported(emit(program), folder)
    torch.manual_seed(0)
    built = to_module(program)
    torch.manual_seed(0)
    return built, getattr(emitted, class_name(program.name))()


def assert_same(program: Program, folder: Path) -> None:
    built, emitted = pair_of(program, folder)
    ours, theirs = built.state_dict(), emitted.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    image = torch.randn(2, *program.input_shapes[0].values())
    for training in (True, False):  # training first: it moves the running statistics
        torch.manual_seed(1)
        expected = built.train(training)(image)
        torch.manual_seed(1)
        # to the last bit; random networks may overflow, and then both must
        torch.testing.assert_close(
            emitted.train(training)(image), expected, rtol=0, atol=0, equal_nan=True
        )


@pytest.mark.parametrize("name", SPECS)
def test_same_network(name: str, tmp_path: Path) -> None:
    assert_same(program_of(name), tmp_path)


@pytest.mark.parametrize(
    ("name", "smaller"),
    [
        ("smlpnet_t", {"dim": 16}),
        ("smlpnet_b", {"dim": 8, "depths": [1, 2, 9, 1]}),
        ("table5_multi_stage", {"dim": 8, "depths": [1, 2, 1, 1]}),
        ("mixer_s32", {}),
    ],
)
def test_shipped_specs(name: str, smaller: dict[str, object], tmp_path: Path) -> None:
    image = {"input.height": 64, "input.width": 64}
    assert_same(lower(expand(load(name).with_values(image | smaller))), tmp_path)


@given(networks())
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_networks(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_same(lower(expand(loads(text))), Path(folder))


def test_a_weight_that_differs_is_seen(tmp_path: Path) -> None:
    """The comparison above fails for a file that is not the same network."""
    program = program_of("axes_and_branches")
    source = emit(program)
    assert source.count("dim=2") == 1
    broken = imported(source.replace("dim=2", "dim=1"), tmp_path)
    built, image = to_module(program), torch.randn(1, 3, 16, 16)
    network = broken.AxesAndBranches()
    network.load_state_dict(built.state_dict())
    assert not torch.equal(network.eval()(image), built.eval()(image))


def test_every_op_is_in_a_spec() -> None:
    """A new op must be added to `every_op`, so that its lowering is emitted and type-checked."""
    graph = expand(loads(SPECS["every_op"] + HEAD))
    assert {leaf.node.op.name for leaf, _ in graph.walk()} == set(registry())


def test_imports_torch_only() -> None:
    for name in SPECS:
        tree = ast.parse(emit(program_of(name)))
        roots = {
            alias.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert roots == {"torch"}
        allowed = ast.Import | ast.ImportFrom | ast.ClassDef | ast.FunctionDef
        assert ast.get_docstring(tree)
        assert all(isinstance(node, allowed) for node in tree.body[1:])  # nothing runs on import


def test_linters_and_types(tmp_path: Path) -> None:
    """What a user's own checks say: ruff's default rules and format, and strict mypy."""
    files = []
    for name in SPECS:
        files.append(tmp_path / f"{name}.py")
        files[-1].write_text(emit(program_of(name), about='Says "hi"\\ and ' + "more " * 40))
    for command in (
        ["ruff", "check", "--isolated", "--no-cache"],
        ["ruff", "format", "--isolated", "--no-cache", "--check", "--line-length", "100"],
        ["mypy", "--strict", "--config-file", "", "--cache-dir", str(tmp_path / "cache")],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command, *map(str, files)],
            capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def test_copies_and_pickles(tmp_path: Path) -> None:
    built, emitted = pair_of(program_of("residual_and_depth"), tmp_path)
    image = torch.randn(1, 3, 16, 16)
    expected = built.eval()(image)
    for twin in (copy.deepcopy(emitted), pickle.loads(pickle.dumps(emitted))):
        assert torch.equal(twin.eval()(image), expected)


def test_emit_needs_no_torch() -> None:
    code = (
        "import sys; from archspec.spec import load; from archspec.expansion import expand;"
        "from archspec.lower import lower; from archspec.codegen import emit;"
        "emit(lower(expand(load('smlpnet_t')))); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# -- how it reads ----------------------------------------------------------------------------------


def source_of(spec: Spec) -> str:
    return emit(lower(expand(spec)))


def test_reads_as_written_by_hand() -> None:
    source = source_of(load("smlpnet_t"))
    assert "self.row = AxisLinear(width, width, dim=2)" in source
    assert "self.column = AxisLinear(height, height, dim=1)" in source
    assert "self.fuse = nn.Conv2d(3 * channels, channels, kernel_size=1, bias=False)" in source
    assert "x = x + self.cross(self.local(x))" in source
    assert "depth=14)" in source
    assert source.count("\nclass ") == 9
    assert len(source.splitlines()) < 190
    assert "StochasticDepth" not in source


def test_rates_that_differ_between_layers() -> None:
    source = source_of(loads(SPECS["residual_and_depth"] + HEAD))
    assert "rates=(0.0, 0.022222)" in source
    assert "rates=tuple(round(0.2 * i / 9, 6) for i in range(2, 9))" in source
    assert "StochasticDepth(p)" in source


def test_one_name_for_two_structures() -> None:
    source = source_of(loads(SPECS["arguments"] + HEAD))
    assert "class Plain(" in source
    assert "class Second(" in source


def test_names_of_python_and_torch(tmp_path: Path) -> None:
    """Blocks and axes may be called what Python or the file itself already uses."""
    text = """
name: f
blocks:
  tensor: [gelu, {conv: {kernel: 3}}]
  none:
    - tensor
    - unflatten: {axis: channels, into: {range: 2, channels: C / 2}}
    - linear: {axis: range}
    - use: {block: inner}
    - flatten: {axes: [range, channels], into: channels}
  inner: [{linear: {axis: range}}, {layer_norm: {axis: range}}]
stages:
  stage1: {enter: {conv: {out: 8, kernel: 4, stride: 4}}, repeat: 2, body: none}
  stage2: {enter: {conv: {out: 12, kernel: 2, stride: 2}}, repeat: 2, body: none}
"""
    assert_same(lower(expand(loads(text + HEAD))), tmp_path)


@pytest.mark.parametrize("name", ["scale", "affine", "axis_linear", "shift"])
def test_a_network_called_like_a_layer(name: str) -> None:
    spec = loads(
        f"""
        name: {name}
        input: {{channels: 4, height: 8, width: 8}}
        classes: 2
        head:
          [scale, affine, {{linear: {{axis: width}}}}, {{shift: {{axis: width, mode: zero}}}},
           global_pool, {{linear: classes}}]
        """
    )
    namespace: dict[str, object] = {}
    exec(emit(lower(expand(spec))), namespace)
    network = namespace[f"{class_name(name)}Network"]
    assert isinstance(network, type)
    made = network()
    assert made(torch.zeros(1, 4, 8, 8)).shape == (1, 2)

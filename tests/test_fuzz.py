"""Thousands of damaged specs: each is still a network, or is refused with one placed message.

The seeds are fixed, so a failure can be repeated: it prints the text that caused it.
"""

from __future__ import annotations

import copy
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
import yaml

from archspec import catalog
from archspec.counting import count
from archspec.errors import ArchspecError
from archspec.expansion import expand
from archspec.lower import lower
from archspec.spec import loads

SECONDS = 5.0
"""For one case; the slowest known takes less than a tenth."""
MEGABYTES = 500
"""That a batch may add to the memory of the process."""
BATCHES, CASES = 16, 200

ALL_OPS = """
name: all_ops
input: {channels: 4, height: 8, width: 8}
classes: 10
vars: {dim: 16, alpha: 2, depths: [1, 2], mixer: gate, wide: alpha * dim, rates: [0.1, 0.2]}
blocks:
  gate:
    args: {hidden: 2 * C}
    body:
      - layer_norm
      - linear: {out: hidden}
      - split: {into: 2, id: [u, v]}
      - linear: {id: rows, axis: height, from: v}
      - multiply: {from: [u, rows]}
      - linear: {out: C}
  shifted:
    - shift: {axis: width, by: [1, -1, 0, 0], mode: zero}
    - linear
  squeeze:
    - global_pool: {id: mean, keep: true}
    - linear: {out: "max(C // 4, 1)"}
    - relu
    - linear: {out: 4 * C}
    - sigmoid: {id: weight}
    - multiply: {from: [input, weight]}
  two:
    inputs: [a, b]
    body:
      - concat: {from: [a, b]}
      - conv: {kernel: 1, out: C / 2}
  layer:
    - residual: [use: mixer, scale: 0.1, stochastic_depth: "rates[0]"]
    - residual:
        - group_norm: {groups: 4}
        - if: {condition: H > 4, then: [shifted], else: [squeeze]}
        - dropout: 0.1
  tokens:
    - flatten
    - residual: [affine, {linear: {axis: tokens}}, gelu: {approximate: tanh}]
    - unflatten: {into: {height: 4, width: 4}}
stem:
  - conv: {id: x, out: dim, kernel: 3, padding: 1}
  - batch_norm: {id: y}
  - two: {from: [x, y]}
stages:
  stage1: {repeat: "depths[0]", body: layer}
  stage2:
    vars: {mixer: shifted, alpha: 3}
    enter: {conv: {kernel: 2, stride: 2, out: wide}}
    repeat: "depths[1]"
    body: [layer, repeat: {times: 2, body: [avg_pool: 3, linear: {bias: false}]}]
  stage3: {body: [tokens, max_pool: {kernel: 3, stride: 2}]}
head: [global_pool, linear: {id: classifier, out: classes}]
"""

SPECS = {
    "all_ops": ALL_OPS,
    **{
        name: catalog.shipped()[name].read_text(encoding="utf-8")
        for name in ("smlpnet_t", "mixer_s32", "table5_multi_stage", "table3_weighted_sum")
    },
}
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, -1, 3, 7, 224, 10**6, 10**12, 10**30, -10**9, 0.5, -0.1, 1e-300,
    1e+300, float("nan"), float("inf"), "", "x", "input", "C", "H * W", "C / 3", "alpha * C", "N",
    "W", "dim", "gelu", "linear", "cross", "layer", "1 / 0", "9**9**9", "C[0]", "depths[0]",
    "depths[-1]", "depths", "__import__('os')", "a.b", "x" * 5000, "\u202eabc", "\U0001f525", "~",
    "*", "&a", "!!str", "channels", "height", "tokens", [], [[]], [1, 2], ["x", "row"],
    list(range(50)), {}, {"id": "x"}, {"choice": [1, 2]}, {"int": [1, 4]}, {"choice": []},
    {"from": "x"}, {"body": None}, {"use": "mixer"}, {"gelu": None}, {"linear": 8},
    {"residual": ["gelu"]}, {"repeat": {"times": 10000, "body": "layer"}},
    {"if": {"condition": "C > 8", "then": "gelu"}}, {"split": {"into": 2, "id": ["u", "w"]}},
    {"conv": {"kernel": 3, "stride": 2}}, {"add": {"from": ["x", "input"]}}, "smlpnet_t",
    "nothing.yaml",
)  # fmt: skip
CHARACTERS = "{}[]:,-#&*!|>'\"%@`~?\\ \n\t\0\x07éß中𝄞\u200b\u2028\ufeff0123456789abc_"


def mutate_text(text: str, rng: random.Random) -> str:
    """Damage at the level of characters and lines."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.choice((1, 1, 1, 2, 5, 30)))
        lines = text.splitlines(keepends=True) or [""]
        line = rng.randrange(len(lines))
        match rng.randrange(8):
            case 0:  # a character more
                text = text[:at] + rng.choice(CHARACTERS) + text[at:]
            case 1:  # some fewer
                text = text[:at] + text[end:]
            case 2:  # others instead
                text = text[:at] + rng.choice(CHARACTERS) + text[end:]
            case 3:  # a typo: two swapped
                text = text[:at] + text[at : at + 2][::-1] + text[at + 2 :]
            case 4:  # a bracket lost
                places = [i for i, c in enumerate(text) if c in "[]{}:,"]
                if places:
                    at = rng.choice(places)
                    text = text[:at] + text[at + 1 :]
            case 5:  # a line twice, or gone
                lines[line] = rng.choice((lines[line] * 2, ""))
                text = "".join(lines)
            case 6:  # another indentation
                lines[line] = " " * rng.randrange(6) + lines[line].lstrip(" ")
                text = "".join(lines)
            case _:  # cut short
                if rng.random() < 0.1:
                    text = text[:at]
    return text


Place = tuple[Any, Any]


def places(tree: Any) -> list[Place]:
    """Every (container, key or index) in a tree."""
    found: list[Place] = []
    todo = [tree]
    while todo:
        node = todo.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            found.append((node, key))
            if isinstance(node[key], dict | list):
                todo.append(node[key])
    return found


def mutate_tree(text: str, rng: random.Random) -> str:
    """Damage at the level of values: valid YAML that says something else."""
    tree = yaml.safe_load(text)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        all_places = places(tree)
        if not all_places:
            break
        container, key = rng.choice(all_places)
        value = copy.deepcopy(container[key])
        other_container, other = rng.choice(all_places)
        match rng.randrange(9):
            case 0:
                del container[key]
            case 1 | 2 | 3:
                container[key] = copy.deepcopy(rng.choice(VALUES))
            case 4:  # a value from elsewhere
                container[key] = copy.deepcopy(other_container[other])
            case 5:
                if isinstance(container, list):
                    container.insert(rng.randrange(len(container) + 1), value)
                else:
                    container[f"{key}{rng.choice('2x_')}"] = value
            case 6:  # another order
                if isinstance(container, list):
                    rng.shuffle(container)
                else:
                    entries = list(container.items())
                    rng.shuffle(entries)
                    container.clear()
                    container.update(entries)
            case 7:  # a number a little or a lot off
                if isinstance(value, int | float):
                    container[key] = value * rng.choice((-1, 0, 2, 3, 0.5, 1000)) + rng.choice(
                        (0, 1)
                    )
            case _:  # a key misspelt
                if isinstance(container, dict) and isinstance(key, str) and len(key) > 1:
                    at = rng.randrange(len(key))
                    container[key[:at] + rng.choice(("", "x", "-")) + key[at + 1 :]] = (
                        container.pop(key)
                    )
    return yaml.dump(tree, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Break off what takes too long."""

    def late(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(text: str) -> str:
    """`valid`, or the message; anything else is a failure of the test."""
    try:
        with limit(SECONDS):
            graph = expand(loads(text, "fuzz.yaml"))
            table = count(graph)
            assert table.params >= 0
            assert table.flops >= 0
            lower(graph)
    except ArchspecError as error:
        return check(error)
    return "valid"


def check(error: ArchspecError) -> str:
    """The message, which must have a place and a readable length."""
    message = str(error)
    assert error.mark is not None, f"no place in {message!r}"
    assert error.mark.line > 0, f"no line in {message!r}"
    assert error.mark.column > 0, f"no column in {message!r}"
    assert len(message) < 2000, f"{len(message)} characters: {message[:300]}"
    return message


def memory() -> float:
    """The most that this process has held, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("batch", range(BATCHES))
def test_damaged_specs(batch: int) -> None:
    mutate: Callable[[str, random.Random], str] = mutate_text if batch % 2 else mutate_tree
    outcomes = []
    before = memory()
    for case in range(CASES):
        rng = random.Random(1000 * batch + case)
        text = mutate(SPECS[rng.choice(sorted(SPECS))], rng)
        try:
            outcomes.append(outcome(text))
        except Exception as error:  # noqa: BLE001 - which is what must not happen
            pytest.fail(f"batch {batch}, case {case}: {type(error).__name__}: {error}\n{text}")
    assert memory() - before < MEGABYTES
    # the test is of use only while both happen often, and in many ways
    valid = outcomes.count("valid")
    assert 0.02 * CASES < valid < 0.8 * CASES
    assert len(set(outcomes)) > 0.3 * CASES


@pytest.mark.parametrize("name", SPECS)
def test_undamaged_specs(name: str) -> None:
    assert outcome(SPECS[name]) == "valid"


def test_limit_breaks_off() -> None:
    with pytest.raises(TimeoutError), limit(0.05):
        time.sleep(SECONDS)

"""Small spaces of every kind, and what is true of them by looking at each network."""

# ruff: noqa: E501 - a stage is read best in one line

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np

from archspec.counting import count
from archspec.errors import SpecError
from archspec.expansion import expand
from archspec.search.space import Rows, Space
from archspec.spec import loads

_TOP = "input: {channels: 3, height: 16, width: 16}\nclasses: 5\n"
_STEM = "stem: [{conv: {out: dim, kernel: 4, stride: 4}}]\n"
_HEAD = "head: [global_pool, {linear: {out: classes}}]\n"

SEPARABLE = {
    "widths per stage": """
        vars: {dim: 2, widths: [{int: [4, 12], step: 4}, {int: [4, 12], step: 4}], depth: {int: [1, 3]}}
        stages:
          a: {enter: {linear: {out: "widths[0]"}}, repeat: depth, body: [residual: [linear]]}
          b: {enter: {linear: {out: "widths[1]"}}, repeat: 2, body: [residual: [linear]]}
        """,
    "one mixer for all": """
        vars: {dim: {int: [4, 12], step: 4}, mixer: {choice: [rows, local]}}
        blocks:
          rows: {linear: {axis: width}}
          local: {conv: {kernel: 3}}
        stages:
          a: {repeat: {int: [1, 3]}, body: [residual: [use: mixer]]}
          b: {enter: {linear: {out: 2 * C}}, repeat: 2, body: [residual: [use: mixer]]}
        """,
    "a mixer in each stage": """
        vars: {dim: {choice: [4, 8]}}
        blocks:
          rows: {linear: {axis: width}}
          local: {conv: {kernel: 3}}
          layer: [residual: [use: mixer]]
        stages:
          a: {vars: {mixer: {choice: [rows, local]}}, repeat: {int: [1, 2]}, body: layer}
          b: {vars: {mixer: {choice: [rows, local]}}, repeat: {int: [1, 2]}, body: layer}
        """,
    "a kernel in a shared block": """
        vars: {dim: {choice: [4, 8]}}
        blocks: {local: [residual: [conv: {kernel: {choice: [1, 3, 5]}, groups: C}]]}
        stages: {a: {repeat: {int: [0, 2]}, body: local}, b: {body: local}}
        """,
    "holes in a list": """
        vars: {dim: 4, depths: [1, {int: [1, 3]}, {int: [1, 3]}]}
        stages:
          a: {repeat: "depths[0]", body: [residual: [linear]]}
          b: {repeat: "depths[1]", body: [residual: [linear]]}
          c: {repeat: "depths[2]", body: [residual: [conv: {kernel: 3}]]}
        """,
    "a step": """
        vars: {dim: {choice: [4, 8]}}
        stages:
          a: {repeat: {int: [1, 3]}, body: [{choice: [linear, conv: {kernel: 3}, identity]}]}
          b: {body: [{linear: {out: {choice: [3, C, 2 * C]}}}]}
        """,
    "holes in a choice": """
        vars: {dim: {choice: [4, 8]}}
        stages:
          a:
            body:
              - choice: [linear, conv: {kernel: {choice: [1, 3]}, groups: {choice: [1, C]}}]
          b: {repeat: {choice: [1, {int: [3, 5], step: 2}]}, body: linear}
        """,
    "a float that costs nothing": """
        vars: {dim: {choice: [4, 8]}, drop: {float: [0, 0.5], step: 0.25}}
        stages:
          a: {repeat: {int: [1, 3]}, body: [residual: [linear, stochastic_depth: drop]]}
          b: {body: [residual: [conv: {kernel: 3}, dropout: drop]]}
        """,
    "more rates than can be tried out": """
        vars: {dim: {choice: [4, 8]}, drop: {float: [0, 0.5], step: 0.25}, slope: {choice: [0, 1]}}
        blocks: {gone: {args: {rate: 0.1}, body: [stochastic_depth: rate]}}
        stages:
          a: {body: [residual: [linear, dropout: drop, leaky_relu: {negative_slope: slope}, gone: {rate: 0.2}]]}
          b: {vars: {slope: 2}, body: [linear, leaky_relu: {negative_slope: slope}, dropout: drop]}
        """,
    "a rate that is refused": """
        vars: {dim: {choice: [4, 8]}, drop: {float: [0, 1], step: 0.25}, less: drop / 2}
        stages:
          a: {body: [residual: [linear, dropout: drop]]}
          b: {repeat: {choice: [1, 2]}, body: [residual: [linear, stochastic_depth: less]]}
        """,
    "a float that costs": """
        vars: {dim: {choice: [4, 8]}, ratio: {float: [0.5, 2], step: 0.5}}
        stages:
          a: {body: [{linear: {out: ratio * C}}, linear]}
          b: {body: [{linear: {out: C * 2}}]}
        """,
    "words, truths and nothing": """
        vars:
          dim: {choice: [4, 8]}
          bias: {choice: [true, false]}
          axis: {choice: [width, height]}
          size: {choice: [null, 3]}
        blocks: {odd: {args: {kernel: 3}, body: [conv: {kernel: kernel, bias: bias}]}}
        stages:
          a: {body: [residual: [linear: {axis: axis, bias: bias}]]}
          b: {body: [{linear: {out: size}}, odd]}
        """,
    "a condition on a word": """
        vars: {dim: {choice: [4, 8]}, norm: {choice: [batch, layer, none]}}
        blocks:
          normal:
            if: {condition: norm == 'batch', then: batch_norm, else: [if: {condition: norm ==
              'layer', then: layer_norm}]}
        stages: {a: {repeat: {int: [1, 2]}, body: [normal, linear]}, b: {body: [normal]}}
        """,
    "a condition on a number": """
        vars: {dim: {int: [2, 12], step: 2}, depth: {int: [0, 3]}}
        stages:
          a: {repeat: depth, body: [if: {condition: C > 6, then: linear, else: {conv: {kernel: 3}}}]}
          b: {body: [linear]}
        """,
    "words in an expression": """
        vars: {dim: {int: [4, 16], step: 4}, kernel: {choice: [1, 3]}}
        blocks:
          rows: {linear: {axis: width}}
          local: {conv: {kernel: kernel}}
        stages:
          a: {repeat: {int: [1, 2]}, body: [use: "'local' if dim > 8 else 'rows'"]}
          b: {body: [linear]}
        """,
    "heads that do not divide the width": """
        vars: {dim: {int: [4, 12], step: 2}, heads: {choice: [1, 2, 3, 4]}}
        stages:
          a: {repeat: {int: [1, 2]}, body: [residual: [conv: {kernel: 3, groups: heads}]]}
          b: {body: [{linear: {out: C / heads}}]}
        """,
    "heads of each stage": """
        vars: {dim: {choice: [4, 6, 9]}, heads: [{choice: [1, 2, 3]}, {choice: [2, 3]}]}
        stages:
          a: {repeat: {int: [1, 2]}, body: [conv: {kernel: 3, groups: "heads[0]"}]}
          b: {enter: {linear: {out: 2 * C}}, body: [conv: {kernel: 1, groups: "heads[1]"}]}
        """,
    "thirds that come back whole": """
        vars: {dim: {choice: [4, 6]}, ratio: {choice: [1, 2, 3]}}
        stages: {a: {body: [{linear: {out: C / 3 * ratio}}]}, b: {repeat: {int: [1, 2]}, body: linear}}
        """,
    "holes in stem and head": """
        stem: [{conv: {out: {int: [4, 8], step: 2}, kernel: {choice: [2, 4]}, stride: 4, padding: 1}}]
        stages: {a: {repeat: {int: [1, 3]}, body: linear}}
        head: [{choice: [batch_norm, identity]}, global_pool, {linear: {out: classes, bias: {choice: [true, false]}}}]
        """,
    "a stride": """
        vars: {dim: {choice: [4, 8]}, stride: {choice: [1, 2, 4]}}
        stages:
          a: {enter: {conv: {kernel: stride, stride: stride}}, body: [linear: {axis: width}]}
          b: {repeat: {int: [1, 3]}, body: [linear: {axis: height}]}
        """,
    "two parts on one unusual hole": """
        vars: {dim: 4, pool: {choice: [[1, 3], [2, 3], [2, 5]]}}
        stages:
          a: {enter: {avg_pool: {kernel: "pool[1]", stride: "pool[0]"}}, body: linear}
          b: {repeat: {int: [1, 2]}, body: [conv: {kernel: "pool[1]"}]}
        """,
    "a variable that a stage hides": """
        vars: {dim: {choice: [4, 8]}, ratio: {choice: [1, 2]}, twice: 2 * ratio}
        stages:
          a: {vars: {ratio: {choice: [1, 3]}}, repeat: {int: [1, 2]}, body: [{linear: {out: twice * C}}, {linear: {out: C / twice}}]}
          b: {body: [{linear: {out: twice * C}}]}
          c: {vars: {twice: 5}, body: [{linear: {out: twice * C}}]}
        """,
    "an argument that hides a variable": """
        vars: {dim: {choice: [4, 8]}, mixer: {choice: [rows, local]}, kernel: {choice: [1, 3]}}
        blocks:
          rows: {linear: {axis: width}}
          local: {conv: {kernel: kernel}}
          layer: {args: {mixer: rows}, body: [use: mixer]}
        stages:
          a: {body: [layer]}
          b: {repeat: {int: [1, 2]}, body: [layer: {mixer: local}]}
          c: {body: [layer: {mixer: mixer}]}
        """,
    "variables behind variables": """
        vars:
          dim: {choice: [4, 8]}
          one: {choice: [two, three]}
          names: [one, four]
          size: {choice: [3, 7]}
          wider: {choice: [true, false]}
        blocks:
          two: {linear: {axis: width}}
          three: {conv: {kernel: 3}}
          four: {conv: {kernel: 1}}
        stages:
          a: {body: [use: "names[0]"]}
          b: {body: [use: "names[1]", linear: {out: "max(size, 5)"}]}
          c: {body: [linear: {out: "size if wider else 2"}]}
        """,
    "an imported block": """
        import: token_mlp
        vars: {dim: {choice: [4, 8]}, ratio: {choice: [1, 2]}}
        stages:
          a: {repeat: {int: [1, 2]}, body: [{token_mlp: {alpha: ratio}}]}
          b: {body: [linear]}
        """,
    "quotients and extremes": """
        vars: {dim: {int: [3, 9], step: 2}, ratio: {int: [1, 4]}}
        stages:
          a: {repeat: {int: [1, 2]}, body: [{linear: {out: "max(C // 2, ratio)"}}, {linear: {out: dim}}]}
          b: {enter: {linear: {out: "C // ratio + 1"}}, body: [linear]}
          c: {body: [conv: {kernel: 3}]}
        """,
    "grids that patches do not divide": """
        vars: {dim: 4, size: {choice: [1, 2, 3, 4]}, depth: {int: [1, 3]}}
        stages:
          a: {enter: {conv: {kernel: size, stride: size}}, repeat: depth, body: linear}
          b: {enter: {conv: {kernel: 2, stride: 2}}, body: linear}
        """,
    "axes that come and go": """
        vars: {dim: {choice: [4, 8]}}
        stages:
          a: {body: [{choice: [flatten, identity]}]}
          b: {repeat: {int: [1, 2]}, body: [linear]}
        """,
    "one network": "vars: {dim: {choice: [4]}}\nstages: {a: {body: linear}}",
}  # fmt: skip
"""Spaces whose costs are a sum over tables, and are known to be."""

DRAWN = {
    "too much at once": "stages: {a: {body: ["
    + ", ".join("{conv: {kernel: {choice: [1, [1, 3]]}}}" for _ in range(4))
    + "]}}\nvars: {dim: 2}",
    "variables of some networks only": """
        vars: {dim: 4, size: {int: [1, 4]}}
        stages: {a: {body: [{choice: [linear: {out: size}, conv: {kernel: 3}]}]}}
        """,
    "more layers than are allowed": """
        vars: {dim: {int: [2, 6]}}
        stages: {a: {repeat: {choice: [1, 9000]}, body: [repeat: {times: {choice: [1, 40]}, body: linear}]}}
        """,
}  # fmt: skip
"""Spaces whose costs are not known as a sum."""


def space(text: str) -> Space:
    """A space from the lines that are its own; stem and head are added where they lack."""
    text = textwrap.dedent(text)
    for key, lines in (("stem:", _STEM), ("head:", _HEAD)):
        text += "" if f"\n{key}" in f"\n{text}" else "\n" + lines
    return Space(loads(_TOP + text))


@dataclass(frozen=True)
class Truth:
    """What each network of a space costs, found one by one."""

    rows: Rows
    exists: np.ndarray
    flops: np.ndarray
    params: np.ndarray

    @classmethod
    def of(cls, space: Space) -> Truth:
        rows = space.all_rows()
        found = []
        for row in rows:
            try:
                table = count(expand(space.spec_of(row)))
                found.append((True, int(table.flops), int(table.params)))
            except SpecError:
                found.append((False, 0, 0))
        exists, flops, params = (np.array(column) for column in zip(*found, strict=True))
        return cls(rows, exists, flops, params)

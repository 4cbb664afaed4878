"""Where each rewrite must fire and where it must not: one line for each part of a precondition."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """Steps on 4 channels of 6×5 (other sizes in `size`), and how often the rewrite fires there."""

    rewrite: str
    why: str
    steps: str
    times: int
    size: dict[str, int] = field(default_factory=dict)


def _cases(rewrite: str, times: int, /, **steps: str) -> list[Case]:
    return [Case(rewrite, why, text, times) for why, text in steps.items()]


WIDE = "{gelu: {id: x}}, {relu: {id: y, from: x}}, {concat: {id: c, from: [x, y, x]}}"

CASES: list[Case] = [
    *_cases(
        "drop-identities", 1,
        identity="[identity, gelu]",
        dropout="[gelu, dropout: 0.5]",
        stochastic_depth="[gelu, stochastic_depth: 0.5, gelu]",
        shift_by_nothing="[{shift: {axis: width, by: [0, 0]}}, gelu]",
        pad_by_nothing="[{pad: {axis: width}}, gelu]",
        slice_of_all="[{slice: {axis: width, size: W}}, gelu]",
        rename_to_the_same="[{rename: {axes: {width: width}}}, gelu]",
        split_undone="[{split: {into: 2, id: [a, b]}}, {concat: {from: [a, b]}}, gelu]",
        split_undone_and_read="[{split: {into: 2, id: [a, b]}}, {concat: {id: c, from: [a, b]}}, "
        "{concat: {from: [c, a]}}]",
        nothing_else="[identity]",
    ),
    *_cases(
        "drop-identities", 0,
        shift="[{shift: {axis: width, by: 1}}, gelu]",
        pad="[{pad: {axis: width, after: 1}}, gelu]",
        slice_of_some="[{slice: {axis: width, start: 1}}, gelu]",
        rename="[{rename: {axes: {width: keys}}}, gelu]",
        parts_exchanged="[{split: {into: 2, id: [a, b]}}, {concat: {from: [b, a]}}]",
        other_axis="[{split: {into: 2, id: [a, b]}}, {concat: {axis: height, from: [a, b]}}]",
        some_parts="[{split: {into: 4, id: [a, b, c, d]}}, {concat: {id: e, from: [a, b]}}, "
        "{concat: {from: [e, c, d]}}]",
    ),
    *_cases(
        "fold-batch-norm", 1,
        after_depthwise="[{conv: {kernel: 3, groups: C, bias: false}}, batch_norm]",
        after_grouped="[{conv: {kernel: 3, groups: 2, out: 6, stride: 2}}, batch_norm, gelu]",
        after_linear="[{linear: 5}, batch_norm]",
        without_affine="[{linear: {bias: false}}, {batch_norm: {affine: false, eps: 0.01}}]",
        after_linear_on_tokens="[flatten, linear, batch_norm]",
        after_pooled_linear="[linear, global_pool, batch_norm]",
        after_batch_norm="[gelu, batch_norm, {batch_norm: {affine: false}}]",
        after_affine="[gelu, affine, batch_norm]",
        after_layer_norm="[gelu, layer_norm, batch_norm]",
        after_norm_without_bias="[gelu, {group_norm: {groups: 2, bias: false}}, batch_norm]",
        after_conv_of_further_axes="[{unflatten: {axis: height, into: {height: 3, rows: 2}}}, "
        "{conv: {kernel: 3}}, batch_norm]",
        before_linear="[gelu, batch_norm, {linear: {out: 7, bias: false}}]",
        before_conv="[gelu, batch_norm, {conv: {kernel: 3, padding: 0, out: 6, groups: 2}}]",
        before_patches="[batch_norm, {conv: {kernel: [2, 5], stride: [2, 5], bias: false}}]",
        before_two="[batch_norm: {id: b}, linear: {id: p}, conv: {id: q, kernel: 1, from: b}, "
        "add: {from: [p, q]}]",
        through_mean="[batch_norm, global_pool, linear: 3]",
        through_views="[batch_norm, flatten, {slice: {axis: tokens, start: 7}}, "
        "{shift: {axis: tokens, by: 3}}, {unflatten: {axis: tokens, into: {rows: 23, keys: 1}}}, "
        "{select: keys}, linear]",
        through_rename="[batch_norm, {rename: {axes: {channels: keys, width: channels}}}, "
        "{linear: {axis: keys}}]",
        through_pool="[batch_norm, {avg_pool: {kernel: 3, count_include_pad: false}}, linear]",
        through_pool_without_padding="[batch_norm, {avg_pool: {kernel: 3, padding: 0}}, linear]",
        through_dropout="[linear, dropout: 0.5, batch_norm]",
        through_mirror="[batch_norm, {pad: {axis: width, after: 1, mode: reflect}}, linear]",
        read_for_the_batch="[batch_norm: {id: b}, linear: {id: p}, "
        "param: {id: q, axes: {channels: C}, from: b}, add: {from: [p, q]}]",
    ),
    *_cases(
        "fold-batch-norm", 0,
        second_reader="[linear: {id: a}, batch_norm, gelu: {id: g}, add: {from: [a, g]}]",
        padding="[gelu, batch_norm, {conv: {kernel: 3}}]",
        padding_on_one_side="[gelu, batch_norm, {conv: {kernel: 3, padding: [0, 1]}}]",
        padded_pool="[batch_norm, avg_pool: 3, linear]",
        zeros_shifted_in="[batch_norm, {shift: {axis: width, mode: zero}}, linear]",
        zeros_padded="[batch_norm, {pad: {axis: width, after: 1}}, linear]",
        maximum="[batch_norm, {global_pool: max}, linear]",
        activation_between="[linear, gelu, batch_norm, gelu, linear]",
        along_another_axis="[{linear: {axis: width}}, batch_norm, {linear: {axis: height}}]",
        another_reader="[batch_norm: {id: b}, linear: {id: p}, add: {from: [b, p]}]",
        network_ends="[gelu, batch_norm]",
        channels_mixed_with_positions="[batch_norm, {flatten: {axes: [channels, height], "
        "into: channels}}, linear]",
        channels_pooled="[batch_norm, {global_pool: {axes: [channels], keep: true}}, linear]",
        layer_norm_without_affine="[gelu, {layer_norm: {affine: false}}, batch_norm]",
    ),
    *_cases(
        "fold-layer-norm", 1,
        into_linear="[layer_norm, {linear: {out: 3, bias: false}}]",
        into_two="[layer_norm: {id: n}, linear: {id: p}, linear: {id: q, from: n}, "
        "add: {from: [p, q]}]",
        group_norm="[group_norm: 2, linear]",
        along_height="[{layer_norm: {axis: height}}, {linear: {axis: height, out: 2}}]",
        into_patches="[layer_norm, {conv: {kernel: [3, 5], stride: [3, 5]}}]",
        through_mean="[layer_norm, flatten, global_pool, linear]",
        axis_renamed="[{layer_norm: {axis: height}}, {rename: {axes: {height: keys}}}, "
        "{linear: {axis: keys}}]",
        without_bias_into_padding="[{layer_norm: {bias: false}}, conv: {kernel: 3}]",
        group_norm_without_bias="[{group_norm: {bias: false}}, {linear: {bias: false}}]",
    ),
    *_cases(
        "fold-layer-norm", 0,
        other_axis="[layer_norm, {linear: {axis: width}}]",
        without_affine="[{layer_norm: {affine: false}}, linear]",
        another_reader="[layer_norm: {id: n}, linear: {id: p}, add: {from: [n, p]}]",
        activation_between="[layer_norm, gelu, linear]",
        padding="[layer_norm, conv: {kernel: 3}]",
        height_into_conv="[{layer_norm: {axis: height}}, {conv: {kernel: 1}}]",
        axis_pooled="[{layer_norm: {axis: height}}, global_pool, linear]",
        network_ends="[gelu, layer_norm]",
        before_it="[linear, layer_norm]",
    ),
    *_cases(
        "fold-affine", 1,
        scale_into_linear_before="[linear, scale: 0.5]",
        scale_into_linear_after="[gelu, scale, {linear: {bias: false}}]",
        scale_past_padding="[gelu, scale, conv: {kernel: 3, groups: 2}]",
        scale_past_zeros="[gelu, scale, {shift: {axis: width, mode: zero}}, "
        "{pad: {axis: height, before: 1}}, avg_pool: 3, linear]",
        scale_past_another_axis="[linear, {linear: {axis: width, bias: false}}, scale]",
        scale_forward_past_another_axis="[scale, {linear: {axis: width, bias: false}}, linear]",
        affine_into_linear="[gelu, affine, linear]",
        affine_into_conv_before="[{conv: {kernel: 3}}, affine]",
        affine_into_layer_norm="[gelu, layer_norm, affine]",
        affine_into_group_norm="[gelu, group_norm: 2, scale]",
        two_scales="[gelu, scale, scale]",
        two_affines="[gelu, affine, affine]",
        scale_after_affine="[gelu, affine, scale]",
        affine_after_scale="[gelu, scale, affine]",
        scale_after_batch_norm="[gelu, batch_norm, scale]",
    ),
    *_cases(
        "fold-affine", 0,
        second_reader="[linear: {id: a}, scale: {id: s}, add: {from: [a, s]}]",
        padding="[gelu, affine, conv: {kernel: 3}]",
        affine_past_another_axis="[gelu, affine, {linear: {axis: width, bias: false}}, linear]",
        scale_past_a_bias="[linear, {linear: {axis: width}}, scale]",
        activation_between="[linear, gelu, scale, gelu, linear]",
        norm_over_another_axis="[gelu, {layer_norm: {axis: height}}, affine]",
        norm_without_affine="[gelu, {layer_norm: {affine: false}}, scale]",
        sum_between="[linear: {id: p}, linear: {id: q}, add: {from: [p, q]}, scale]",
    ),
    *_cases(
        "batch-norm-to-affine", 2,
        grid_and_pooled="[batch_norm, gelu, global_pool, {batch_norm: {affine: false, eps: 0.1}}]",
    ),
    *_cases("batch-norm-to-affine", 0, other_norms="[layer_norm, group_norm, affine, scale]"),
    *_cases(
        "compose-linears", 1,
        wide="[{linear: {out: 9}}, {linear: {out: 3}}]",
        no_bias_first="[{linear: {out: 9, bias: false}}, linear: 3]",
        no_bias_last="[linear: 9, {linear: {out: 3, bias: false}}]",
        along_width="[{linear: {axis: width, out: 9}}, {linear: {axis: width, out: 2}}]",
    ),
    *_cases("compose-linears", 2, three="[linear: 9, linear: 8, linear: 3]"),
    *_cases(
        "compose-linears", 0,
        bottleneck="[linear: 1, linear: 4]",
        second_reader="[linear: {id: a}, linear: {id: b}, add: {from: [a, b]}]",
        activation_between="[linear: 9, gelu, linear: 3]",
        other_axis="[linear, {linear: {axis: width}}]",
    ),
    *_cases(
        "split-concat", 1,
        three_parts=f"[{WIDE}, {{linear: {{out: C / 3}}}}]",
        without_bias=f"[{WIDE}, {{linear: {{out: 1, bias: false}}}}]",
        unequal_parts="[{gelu: {id: x}}, {linear: {id: y, out: 3}}, {tanh: {id: z}}, "
        "{concat: {from: [z, x]}}, {linear: 3}]",
        along_width="[{gelu: {id: x}}, {relu: {id: y}}, {concat: {axis: width, from: [x, y]}}, "
        "{linear: {axis: width, out: W / 2}}]",
    ),
    *_cases(
        "split-concat", 0,
        second_reader=f"[{WIDE}, {{linear: {{id: l, out: 4}}}}, "
        "{linear: {id: m, out: 4, from: c}}, {add: {from: [l, m]}}]",
        other_axis=f"[{WIDE}, {{linear: {{axis: width}}}}]",
        larger_products=f"[{WIDE}, {{linear: {{out: 5}}}}]",
        convolution=f"[{WIDE}, {{conv: {{kernel: 1, out: 4}}}}]",
        activation_between=f"[{WIDE}, gelu, {{linear: {{out: 4}}}}]",
    ),
    *_cases(
        "commute-axes", 1,
        smaller_between="[{linear: {axis: height, out: 12}}, {linear: {out: 2}}]",
        without_biases="[{linear: {axis: height, out: 7, bias: false}}, "
        "{linear: {out: 4, bias: false}}]",
        bias_of_the_second="[{linear: {axis: height, out: 18, bias: false}}, {linear: {out: 2}}]",
        bias_of_the_first="[{linear: {axis: height, out: 18}}, {linear: {out: 2, bias: false}}]",
        channels_first="[{linear: {out: 12}}, {linear: {axis: width, out: 2}}]",
        neither_channels="[{linear: {axis: height, out: 18}}, {linear: {axis: width, out: 2}}]",
        into_a_sum="[{gelu: {id: x}}, {linear: {axis: height, out: 7}}, {linear: {id: y, out: 4}}, "
        "{linear: {axis: height, out: 7, from: x, id: z}}, {add: {from: [z, y]}}]",
        joining="[{gelu: {id: x}}, {linear: {id: p, bias: false}}, "
        "{linear: {axis: height, from: x}}, {linear: {id: q}}, {add: {from: [p, q]}}]",
        joining_a_split="[{gelu: {id: x}}, {linear: {id: l, out: 8}}, "
        "{split: {into: 2, id: [p, q]}}, {linear: {axis: height, from: x}}, {linear: {id: r}}, "
        "{add: {from: [p, q, r]}}]",
    ),
    *_cases(
        "commute-axes", 2,
        sparse_mlp="[{gelu: {id: x}}, {linear: {id: f, bias: false}}, "
        "{linear: {axis: width, from: x}}, {linear: {id: r, bias: false}}, "
        "{linear: {axis: height, from: x}}, {linear: {id: c, bias: false}}, "
        "{add: {from: [f, r, c]}}]",
        two_that_join="[{gelu: {id: x}}, {linear: {axis: width, from: x}}, {linear: {id: r}}, "
        "{linear: {axis: height, from: x}}, {linear: {id: c}}, {add: {from: [r, c]}}]",
    ),
    *_cases(
        "commute-axes", 0,
        same_size="[{linear: {axis: height, bias: false}}, {linear: {bias: false}}]",
        larger_between="[{linear: {axis: height, out: 3}}, {linear: {out: 8}}]",
        bias_costs_a_sum="[{linear: {axis: height, out: 7}}, {linear: {out: 4}}]",
        second_reader="[{linear: {id: a, axis: height, out: 12}}, {linear: {id: b, out: 1}}, "
        "{add: {from: [a, b]}}]",
        activation_between="[{linear: {axis: height, out: 12}}, gelu, {linear: {out: 2}}]",
        same_axis="[{linear: {out: 12}}, {linear: {out: 2}}]",
    ),
    Case(
        "commute-axes", "more_flops",
        "[{linear: {out: 12, bias: false}}, {linear: {axis: height, out: 2, bias: false}}]", 0,
        {"height": 1},
    ),
    *_cases(
        "merge-linears", 1,
        two="[linear: {id: p}, linear: {id: q, out: 7, from: input}, concat: {from: [p, q]}]",
        bias_of_one="[gelu: {id: x}, linear: {id: p, bias: false}, linear: {id: q, from: x}, "
        "add: {from: [p, q]}]",
        no_bias="[gelu: {id: x}, linear: {id: p, bias: false}, "
        "linear: {id: q, bias: false, from: x}, subtract: {from: [p, q]}]",
        along_height="[gelu: {id: x}, linear: {id: p, axis: height}, "
        "linear: {id: q, axis: height, from: x}, add: {from: [p, q]}]",
        one_is_split="[gelu: {id: x}, linear: {id: l, out: 8}, split: {into: 2, id: [p, q]}, "
        "linear: {id: r, from: x}, add: {from: [q, r, p]}]",
        three_apart="[gelu: {id: x}, linear: {id: p}, gelu: {id: g}, linear: {id: q, from: x}, "
        "linear: {id: r, from: x}, add: {from: [g, q, r]}]",
    ),
    *_cases(
        "merge-linears", 2,
        one_after_the_other="[gelu: {id: x}, linear: {id: p}, linear: {id: q, from: x}, "
        "linear: {id: r, from: p}, linear: {id: s, from: p}, add: {from: [q, r, s]}]",
    ),
    *_cases(
        "merge-linears", 0,
        other_axes="[gelu: {id: x}, linear: {id: p, axis: width}, "
        "linear: {id: q, axis: height, from: x}, add: {from: [p, q]}]",
        other_tensors="[gelu: {id: x}, linear: {id: p}, relu: {id: y, from: x}, "
        "linear: {id: q, from: y}, add: {from: [p, q]}]",
    ),
    Case(
        "merge-linears", "zeros_cost_more_than_the_input",
        "[gelu: {id: x}, linear: {id: p}, linear: {id: q, out: 50, bias: false, from: x}, "
        "concat: {from: [p, q]}]", 0, {"height": 1, "width": 1},
    ),
]  # fmt: skip

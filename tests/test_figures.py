"""Every shipped spec has the figures that its paper prints, and those derived for it.

Golden numbers: parameters and FLOPs (multiply-adds as fvcore counts them, norms included) of the
official code, adapted for the ablations, or of timm; printed figures from arXiv 2109.05422, Tables
1 to 6, and from the paper that each spec names. FLOPs there follow no single convention.
"""

from __future__ import annotations

import pytest

import archspec
from archspec import catalog

# name: parameters, FLOPs in G to three places (None: not derived elsewhere)
DERIVED: dict[str, tuple[int, float | None]] = {
    "smlpnet_t": (24_123_584, 5.012),
    "smlpnet_s": (48_558_136, 10.348),
    "smlpnet_b": (65_880_408, 14.028),
    "smlpnet_t_alpha2": (19_175_584, 3.968),
    "dwconv_t": (22_540_776, 4.400),
    "mixer_s32": (19_104_624, 1.005),
    "mixer_s16": (18_528_264, None),
    "mixer_b16": (59_880_472, 12.621),
    "mixer_l16": (208_196_168, 44.597),
    "gmixer_12": (12_701_080, 2.669),
    "table1_local_only": (22_540_776, 4.400),
    "table1_global_only": (19_096_384, None),
    "table2_without_1": (65_794_392, None),
    "table2_without_1_2": (64_293_032, None),
    "table2_without_1_3": (49_929_032, None),
    "table2_without_1_4": (45_128_040, None),
    "table3_sum": (33_241_144, 7.053),
    "table3_weighted_sum": (33_279_736, None),
    "table4_parallel": (16_705_184, None),
    "table4_sequential_identity": (16_705_184, None),
    "table4_sequential": (14_234_784, None),
    "table5_multi_stage": (22_671_936, 4.193),
    "table5_single_stage": (30_417_656, 6.491),
    "resmlp_12": (15_350_872, 3.010),
    "resmlp_24": (30_020_680, 5.961),
    "resmlp_36": (44_690_488, 8.913),
    "gmlp_ti": (5_867_328, 1.344),
    "gmlp_s": (19_422_656, 4.422),
    "gmlp_b": (73_075_392, 15.781),
    "resnet50": (25_557_032, 4.112),
    "resnet152": (60_192_808, 11.559),
    "regnety_4gf": (20_646_656, 3.998),
    "regnety_8gf": (39_180_068, 7.999),
    "regnety_16gf": (83_590_140, 15.958),
    "convnext_tiny": (28_589_128, 4.470),
    "convnext_small": (50_223_688, None),
    "convmixer_1024_20": (24_383_464, None),
    "convmixer_768_32": (21_110_248, None),
    "poolformer_s12": (11_915_176, 1.823),
    "poolformer_s24": (21_388_968, None),
    "mambaout_tiny": (26_545_096, 4.486),
    "inception_next_tiny": (28_055_680, 4.195),
    "starnet_s1": (2_869_168, 0.425),
    "repvit_m0_9": (5_489_328, 0.832),
    "asmlp_t": (28_282_696, 4.383),
    "asmlp_s": (49_594_696, None),
    "asmlp_b": (87_752_808, None),
    "vip_s7": (25_114_984, 6.924),
    "dynamixer_s": (26_265_960, 7.324),
    "s2mlp_deep": (53_916_520, 10.490),
    "s2mlp_wide": (72_239_848, 14.007),
    "cyclemlp_b1": (15_155_400, 2.131),
    "cyclemlp_b2": (26_802_504, 3.890),
    "cyclemlp_b3": (38_385_720, 6.853),
    "hire_mlp_t": (18_041_672, 2.149),
    "wave_mlp_t": (17_193_160, 2.470),
    "spach_ms_s_mlp": (46_542_011, 8.045),
    "spach_ms_s_conv": (43_576_168, 7.162),
    "spach_ms_s_hybrid": (63_028_584, 11.079),
    "shiftvit_t": (28_566_664, 4.609),
    "gfnet_ti": (7_511_784, 1.278),
    "gfnet_xs": (15_985_768, None),
    "gfnet_s": (24_869_608, None),
    "gfnet_b": (43_120_616, None),
    "fnet": (14_953_576, None),
    "repmlpnet_t224": (38_293_608, 2.829),
    "deit_s": (22_050_664, 4.608),
    "deit_b": (86_567_656, 17.583),
    "vit_b16": (86_567_656, 17.583),
    "deepvit_s": (27_312_632, 6.382),
    "deepvit_l": (55_636_016, 12.523),
    "swin_t": (28_288_354, 4.509),
    "swin_s": (49_606_258, 8.769),
    "swin_b": (87_768_224, 15.468),
    "cswin_t": (22_320_552, 4.341),
    "cswin_s": (34_643_304, None),
    "cswin_b": (77_382_184, None),
    "pvt_v2_b1": (14_009_000, None),
    "convformer_s18": (26_774_448, None),
    "caformer_s18": (26_341_656, None),
    "poolformer_v2_s12": (11_891_712, None),
    "efficientvit_b1": (9_102_024, None),
}

# Public implementations of these end in adaptive average pooling, of which fvcore counts one per
# element; ours is a mean, of which it counts nothing. Channels · height · width, in `DERIVED`.
ADAPTIVE_POOL = {
    "resnet50": 2048 * 7 * 7,
    "resnet152": 2048 * 7 * 7,
    "regnety_4gf": 1088 * 7 * 7,
    "regnety_8gf": 2016 * 7 * 7,
    "regnety_16gf": 3024 * 7 * 7,
    "convnext_tiny": 768 * 7 * 7,
    "poolformer_s12": 512 * 7 * 7,
    "inception_next_tiny": 768 * 7 * 7,
    "starnet_s1": 192 * 7 * 7,
    "asmlp_t": 768 * 7 * 7,
    "wave_mlp_t": 2 * 64 * 56**2 + 2 * 128 * 28**2 + 4 * 320 * 14**2 + 3 * 512 * 7**2,
    "shiftvit_t": 768 * 7 * 7,
    "repmlpnet_t224": 2 * 64 * 56**2 + 2 * 128 * 28**2 + 6 * 256 * 14**2 + 3 * 512 * 7**2,
}
EXACT_FLOPS = {
    "smlpnet_t": 5_011_528_960,
    "smlpnet_s": 10_348_137_984,
    "smlpnet_b": 14_028_487_424,
    "smlpnet_t_alpha2": 3_967_868_160,
}


def test_every_network_has_derived_figures() -> None:
    networks = {
        name
        for name in catalog.shipped()
        if (spec := archspec.load(name)).is_network and not spec.holes
    }
    assert networks == set(DERIVED)


@pytest.mark.parametrize("name", DERIVED)
def test_derived(name: str) -> None:
    cost = archspec.cost(name)
    params, flops = DERIVED[name]
    assert cost.params == params
    if flops is not None:
        assert round((cost.flops + ADAPTIVE_POOL.get(name, 0)) / 1e9, 3) == flops


@pytest.mark.parametrize("name", EXACT_FLOPS)
def test_exact_flops(name: str) -> None:
    assert archspec.cost(name).flops == EXACT_FLOPS[name]


@pytest.mark.parametrize("name", DERIVED)
def test_published(name: str) -> None:
    header = archspec.load(name).header
    published = header.published
    assert header.source
    cost = archspec.cost(name)
    if published.params is not None:
        assert published.params.agrees(cost.params)
    if published.flops is not None:
        assert published.flops.agrees(cost.flops)
    assert published.params or published.flops or published.top1


@pytest.mark.parametrize(
    ("stages", "params"),
    [(1, 65_791_928), (2, 64_265_928), (3, 49_783_656), (4, 44_962_952)],
)
def test_plain_removal_is_a_variant(stages: int, params: int) -> None:
    """Table 2 with the sMLP taken out and nothing put in its place."""
    skipped = {f"stages.stage{i}.vars.mixer": "skip" for i in range(1, stages + 1)}
    assert archspec.cost(archspec.load("smlpnet_b").with_values(skipped)).params == params

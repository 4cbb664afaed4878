"""What the tests look at, found out in a process that has timm; prints it as JSON."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

import archspec
from archspec.checkpoints import checkpoint
from archspec.errors import ArchspecError
from archspec.files import sha256
from archspec.layers import StochasticDepth
from tests.timm_models import install

install()

import timm  # noqa: E402
from timm.data import resolve_model_data_config  # noqa: E402
from timm.models import get_pretrained_cfg, is_model, model_entrypoint  # noqa: E402

TIMMS = {name: model_entrypoint(name) for name in timm.list_models()}

import archspec.timm  # noqa: E402

SMALL = {"dim": 8, "depths": [1, 2, 1, 1], "img_size": (64, 96)}
SPEC = {"dim": 8, "depths": [1, 2, 1, 1], "input.height": 64, "input.width": 96}


def message(call: Callable[[], Any]) -> str:
    try:
        call()
    except ArchspecError as error:
        return str(error)
    raise AssertionError("nothing was refused")


def rate(model: nn.Module) -> float:
    """The highest of stochastic depth."""
    return max((m.p for m in model.modules() if isinstance(m, StochasticDepth)), default=0.0)


def registry() -> dict[str, Any]:
    """What timm lists, before and after."""
    ours = timm.list_models("archspec*")
    kept = all(model_entrypoint(name) is function for name, function in TIMMS.items())

    def resnet50(**kwargs: Any) -> nn.Module:
        raise AssertionError

    return {
        "ours": ours,
        "timm's are let be": kept and not set(ours) & set(TIMMS),
        "swin": timm.list_pretrained("archspec_swin_t*"),
        "clash": message(lambda: archspec.timm._register("resnet50", resnet50)),
        "resnet50 is timm's": model_entrypoint("resnet50") is TIMMS["resnet50"],
        "means": {
            name: getattr(get_pretrained_cfg(f"archspec_{name}"), "mean")  # noqa: B009
            for name in ("vit_b16", "mixer_b16", "swin_t.official", "swin_t")
        },
        "slash": is_model("archspec/smlpnet_b"),
    }


def classifier() -> dict[str, Any]:
    """A small model's parts, as timm's users reach for them."""
    torch.manual_seed(0)
    model = timm.create_model(
        "archspec_smlpnet_t", num_classes=7, in_chans=4, drop_path_rate=0.5, **SMALL
    ).eval()
    spec = archspec.load("smlpnet_t").with_values(
        SPEC | {"classes": 7, "input.channels": 4, "drop_path": 0.5}
    )
    plain = archspec.build(spec).eval()
    plain.load_state_dict(model.state_dict())
    small = {"dim": 24, "depths": [1, 1, 1, 1], "img_size": 28}
    kept = timm.create_model("archspec_vip_s7", drop_rate=0.0, **small)  # the spec's own: 0.1
    none = timm.create_model("archspec_vip_s7", drop_path_rate=0.0, **small)
    images = torch.randn(2, 4, 64, 96)
    with torch.no_grad():
        logits, features = model(images), model.forward_features(images)
        hidden = model.forward_head(features, pre_logits=True)
        torch._dynamo.reset()
        compiled = torch.compile(model, fullgraph=True, backend="eager")(images)
        exported = torch.export.export(model, (images,)).module()(images)
        again = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        found = {
            "same": [
                torch.equal(logits, other)
                for other in (
                    plain(images), model.forward_head(features), model.get_classifier()(hidden),
                    *(each(images) for each in again),
                )
            ],
            "close": [
                torch.allclose(logits, each, rtol=1e-4, atol=1e-5) for each in (compiled, exported)
            ],
            "rates": [rate(model), rate(kept), rate(none)],
            "features": list(features.shape),
            "numbers": [
                model.num_classes, model.in_chans, model.num_features, model.head_hidden_size,
            ],
            "data": resolve_model_data_config(model)["input_size"],
            "classifier": model.default_cfg["classifier"],
            "info": model.feature_info[1],
        }  # fmt: skip
        model.reset_classifier(3)
        found["reset"] = list(model(images).shape)
        model.reset_classifier(0)
        found["without"] = torch.equal(model(images), hidden)
        tokens = timm.create_model("archspec_deit_s", depth=1, dim=64, img_size=32, num_classes=0)
        images = torch.randn(2, 3, 32, 32)
        found["tokens"] = list(tokens.forward_features(images).shape)
        found["pooled"] = list(tokens(images).shape)
    return found


def features() -> dict[str, Any]:
    model = timm.create_model(
        "archspec_smlpnet_t", features_only=True, out_indices=(1, 3), in_chans=1, **SMALL
    )
    return {
        "shapes": [list(feature.shape) for feature in model(torch.randn(2, 1, 64, 96))],
        "channels": model.feature_info.channels(),
        "reduction": model.feature_info.reduction(),
        "head": [name for name, _ in model.named_parameters() if name.startswith("head")],
        "mean": model.pretrained_cfg["mean"],
        "classifier": "classifier" in model.pretrained_cfg,
    }


def own(folder: str) -> dict[str, Any]:
    """A user's spec, and a checkpoint with another number of classes."""
    path = Path(folder) / "mine.yaml"
    path.write_text("extends: smlpnet_t\nclasses: 5\nvars: {dim: 8, depths: [1, 1, 1, 1]}\n")
    weights = Path(folder) / "mine.pth"
    torch.manual_seed(1)
    small = archspec.load(path).with_values({"input.height": 32, "input.width": 32})
    saved = archspec.build(small)
    torch.save(saved.state_dict(), weights)
    kwargs: dict[str, Any] = {
        "spec": str(path), "img_size": 32, "pretrained": True,
        "pretrained_cfg_overlay": {"file": str(weights)},
    }  # fmt: skip
    model = timm.create_model("archspec", **kwargs).eval()
    tuned = timm.create_model("archspec", num_classes=9, **kwargs).eval()
    stages = timm.create_model("archspec", features_only=True, **kwargs).eval()
    loaded = timm.create_model(
        "archspec", spec=str(path), img_size=32, checkpoint_path=str(weights)
    ).eval()
    plain = Path(folder) / "plain.yaml"
    plain.write_text(
        "input: {height: 8, width: 8}\nclasses: 4\n"
        "stem: [flatten, {linear: {axis: tokens, out: 5}}]\n"
        "head: [global_pool, {linear: {out: classes}}]\n"
    )
    bare = timm.create_model("archspec", spec=plain)  # without stages
    images = torch.randn(1, 3, 32, 32)
    expected = saved.eval()(images)
    return {
        "loaded": [torch.equal(each(images), expected) for each in (model, loaded)],
        "tuned": [
            list(tuned(images).shape),
            torch.equal(tuned.forward_features(images), model.forward_features(images)),
        ],
        "stages": torch.equal(stages(images)[-1], model.forward_features(images)),
        "plain": [
            list(bare.forward_features(torch.randn(1, 3, 8, 8)).shape), bare.feature_info,
        ],
    }  # fmt: skip


def public() -> dict[str, Any]:
    """Weights that `archspec weights` has brought here."""
    spec = archspec.load("starnet_s1")
    kept = checkpoint(spec, "timm").file
    assert kept is not None
    torch.manual_seed(2)
    whole = archspec.build(spec).eval()
    kept.parent.mkdir(parents=True)
    save_file(whole.state_dict(), kept)
    facts = {"sha256": sha256(kept), "size": kept.stat().st_size, "vouched_by": None}
    kept.with_name(f"{kept.name}.json").write_text(json.dumps(facts))
    name, images = "archspec_starnet_s1", torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        model = timm.create_model(f"{name}.timm", pretrained=True).eval()
        tuned = timm.create_model(name, pretrained=True, num_classes=7).eval()
        stages = timm.create_model(name, pretrained=True, features_only=True).eval()
        features = model.forward_features(images)
        mixer = timm.create_model("archspec", spec="mixer_b16", depth=1)
        return {
            "mean": mixer.default_cfg["mean"],
            "logits": torch.equal(model(images), whole(images)),
            "stages": torch.equal(stages(images)[-1], features),
            "tuned": [
                list(tuned(images).shape), torch.equal(tuned.forward_features(images), features)
            ],
        }  # fmt: skip


def refusals(folder: str) -> list[str]:
    path = Path(folder) / "odd.yaml"
    path.write_text(
        "input: {height: 8, width: 8}\nclasses: 4\nstages: {one: {body: [gelu]}}\n"
        "head: [global_pool, {linear: {out: classes}}, softmax]\n"
    )

    def make(name: str, **kwargs: Any) -> Callable[[], Any]:
        return lambda: timm.create_model(name, **kwargs)

    calls = [
        make("archspec_mixer_s16", alpha=2),
        make("archspec_mixer_s16", drop_path_rate=0.1),
        make("archspec_mixer_s16", drop_rate=0.1),
        make("archspec_mixer_s16", global_pool="max"),
        make("archspec_mixer_s16", pretrained=True),
        make(
            "archspec_mixer_s16",
            pretrained=True,
            pretrained_cfg_overlay={"url": "https://example.org/mixer.pth"},
        ),
        make("archspec_mixer_s16", out_indices=(0,)),
        make("archspec_mixer_s16", spec="mixer_s32"),
        make("archspec"),
        make("archspec", spec=str(path)),
        make("archspec", spec="nothing"),
        make("archspec.official", spec="mixer_b16", pretrained=True),
    ]
    return [message(call).replace(folder, "FOLDER") for call in calls]


if __name__ == "__main__":
    found = {
        "registry": registry(),
        "classifier": classifier(),
        "features": features(),
        "public": public(),
        "own": own(sys.argv[1]),
        "refusals": refusals(sys.argv[1]),
    }
    print(json.dumps(found))

"""The shipped networks as models of timm, once this module is imported.

    import archspec.timm
    import timm

    timm.create_model("archspec_smlpnet_t", num_classes=10)
    timm.create_model("archspec", spec="mine.yaml", features_only=True)

Names begin with `archspec_`, so that none is one of timm's own (whose names have no slash either).
A tag is the name of a mapping under `weights` in the spec: `archspec_swin_t.official`.

Needs timm (`pip install 'archspec-vision[timm]'`); nothing else in archspec imports it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor, nn

from archspec import api
from archspec.backbone import HEAD, Sections, feature_info, sections, to_grid
from archspec.checkpoints import checkpoint, fetch
from archspec.errors import ArchspecError, SpecError
from archspec.expansion import expand
from archspec.figures import shipped_figures
from archspec.graph import CallNode, Graph, OpNode
from archspec.shape import CHANNELS
from archspec.spec import Spec, as_spec, load

try:
    from timm.models import (
        PretrainedCfg,
        generate_default_cfgs,
        get_pretrained_cfg,
        is_model,
        list_pretrained,
        model_entrypoint,
        register_model,
        resolve_pretrained_cfg,
    )
except ImportError as error:
    raise ArchspecError(
        f"timm cannot be imported here ({error})", hint="pip install 'archspec-vision[timm]'"
    ) from None

PREFIX = "archspec"
DROP_PATH = "drop_path"
"""What specs call the rate of stochastic depth."""

_OF_TIMM = re.compile(r"https://huggingface\.co/timm/([^/]+)/")
_IMAGES = ("mean", "std", "interpolation", "crop_pct")
"""What timm says of how a checkpoint wants its images."""


class Model(Sections):
    """A network with what timm expects of a classifier.

    Parameters have the names of `archspec.build`, so that either reads the other's checkpoints.
    """

    num_classes: int = 0
    in_chans: int = 0
    num_features: int = 0
    """Channels that `forward_features` gives."""
    head_hidden_size: int = 0
    """Channels that the classifier reads."""
    feature_info: list[dict[str, Any]] | None = None
    """Of the stages' outputs, where these are grids of positions."""
    pretrained_cfg: dict[str, Any] | None = None
    default_cfg: dict[str, Any] | None = None

    def __init__(self, network: nn.Module, spec: Spec, graph: Graph) -> None:
        """Take the sections of a built network.

        Raises:
            SpecError: it has no head that ends in a linear map to the classes.
        """
        self._classifier = classifier(graph)
        super().__init__(network, graph, HEAD)
        (read,) = sections(graph)[-1].graph.inputs
        self._is_grid = read.is_grid
        with contextlib.suppress(SpecError):  # a classifier may do without
            self.feature_info = feature_info(graph)
        self.num_classes, self.in_chans = spec.classes, int(graph.inputs[0][CHANNELS])
        self.num_features = int(read.get(CHANNELS, 0))
        last = self.get_classifier()
        assert isinstance(last, nn.Linear), "a linear map of a vector"
        self.head_hidden_size = last.in_features

    def forward_features(self, x: Tensor) -> Tensor:
        """The last stage's output: (batch, channels, height, width), or (batch, tokens, channels).

        Tokens are all that there are, a class token among them.
        """
        x = self._entry(x)
        for name in self._sections[:-1]:
            x = self.get_submodule(name)(x)
        return to_grid(x, None) if self._is_grid else x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """From what `forward_features` gives to logits, or to what the classifier reads."""
        if self._is_grid:
            x = x.permute(0, 2, 3, 1)
        if not pre_logits:
            logits: Tensor = self.get_submodule(HEAD)(x)
            return logits
        read: list[Tensor] = []
        hook = self.get_classifier().register_forward_pre_hook(lambda _, x: read.append(x[0]))
        try:
            self.get_submodule(HEAD)(x)
        finally:
            hook.remove()
        return read[0]

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) in, (batch, classes) out."""
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        """The last linear map."""
        return self.get_submodule(self._classifier)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new classifier there; with 0 classes none, so that its input comes out.

        Raises:
            ArchspecError: another pooling is asked for: the spec says how it is done.
        """
        _refuse_pooling(global_pool)
        known = next(self.parameters())
        made: nn.Module = nn.Identity()
        if num_classes > 0:
            made = nn.Linear(
                self.head_hidden_size, num_classes, device=known.device, dtype=known.dtype
            )
        self.set_submodule(self._classifier, made)
        self.num_classes = num_classes


def classifier(graph: Graph) -> str:
    """The path of the linear map that a network ends in.

    Raises:
        SpecError: it ends in something else.
    """
    path: list[str] = []
    node = next((each for each in sections(graph) if each.id == HEAD), None)
    while node is not None:
        path.append(node.id)
        last = next((n for n in node.graph.nodes if n.id == node.graph.output.node), None)
        if isinstance(last, OpNode) and last.op.name == "linear":
            return ".".join([*path, last.id])
        node = last if isinstance(last, CallNode) else None
    raise SpecError(
        f"{graph.name} does not end in a linear map to the classes, as timm's models do",
        hint="end its head with 'linear: {id: classifier, out: classes}'",
    )


def create(
    spec: Spec | str | Path,
    variant: str,
    pretrained: bool = False,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: Mapping[str, Any] | None = None,
    cache_dir: Any = None,
    **kwargs: Any,
) -> nn.Module:
    """What `timm.create_model` calls.

    Args:
        spec: the network.
        variant: its name in timm.
        pretrained: load the public weights that `pretrained_cfg` names; position embeddings of
            another image size are resized, and another `num_classes` gets a new classifier.
        pretrained_cfg: a tag (a mapping of the spec's), or all there is to know as timm has it.
        pretrained_cfg_overlay: what is to be otherwise in it, such as `file`.
        cache_dir: of no use here: files are kept where `archspec weights` keeps them.
        kwargs: `num_classes`, `in_chans`, `img_size`, `drop_path_rate`, `features_only` and
            `out_indices`, `device`, `dtype`; any other is a variable of the spec.

    Raises:
        ArchspecError: there is no such variable, network or checkpoint.
    """
    spec = as_spec(spec)
    before = spec.classes
    cfg = resolve_pretrained_cfg(variant, pretrained_cfg, dict(pretrained_cfg_overlay or {}))
    kwargs.pop("pretrained_model_args", None)  # timm's own book-keeping
    given = {name: kwargs.pop(name) for name in ("device", "dtype") if name in kwargs}
    features = bool(kwargs.pop("features_only", False))
    out_indices = kwargs.pop("out_indices", None)
    classes = kwargs.pop("num_classes", None)
    _refuse_pooling(kwargs.pop("global_pool", None))
    spec = spec.with_values(_values(spec, kwargs), origin="create_model:")
    weights = _weights(spec, cfg) if pretrained else None
    if weights is None and classes and not features:
        spec = spec.with_values({"classes": classes})
    graph = expand(spec)
    model: Any = api.build(
        spec, features_only=features, out_indices=out_indices, weights=weights, interpolate=True,
        **given,
    )  # fmt: skip
    if not features:
        model = Model(model, spec, graph)
        if classes is not None and classes != model.num_classes:
            model.reset_classifier(classes)
    known = replace(cfg, architecture=variant, input_size=spec.image, num_classes=before).to_dict()
    if features:  # as timm leaves them out
        known = {key: known[key] for key in known if key not in ("num_classes", "classifier")}
    else:
        known["classifier"] = classifier(graph)
    model.pretrained_cfg = model.default_cfg = known
    return model  # type: ignore[no-any-return]


def _values(spec: Spec, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """timm's arguments as values of the spec."""
    values = dict(kwargs)
    if (channels := values.pop("in_chans", None)) is not None:
        values["input.channels"] = channels
    if (size := values.pop("img_size", None)) is not None:
        height, width = (size, size) if isinstance(size, int) else size
        values["input.height"], values["input.width"] = height, width
    rate = values.pop("drop_path_rate", None)
    if rate is not None and DROP_PATH in spec.vars:
        values[DROP_PATH] = rate
    elif rate:
        raise SpecError(
            f"{spec.name} takes no drop_path_rate: it has no variable {DROP_PATH!r}",
            hint="leave it out, or write a spec that extends it and has one",
        )
    if values.pop("drop_rate", None):
        raise SpecError(
            f"{spec.name} takes no drop_rate", hint="'dropout' in the head of a spec does that"
        )
    return values


def _weights(spec: Spec, cfg: Any) -> Path:
    """The checkpoint that timm means by `pretrained=True`, downloaded if it is not here.

    Raises:
        WeightsError, DownloadError: as `archspec.checkpoints.fetch`.
    """
    if cfg.file:
        return Path(cfg.file)
    known = {mapping.url for mapping in spec.header.weights.values()}
    if cfg.hf_hub_id or cfg.state_dict or (cfg.url and cfg.url not in known):
        raise ArchspecError(
            "of a checkpoint that the spec does not name, archspec takes the file only",
            hint="pretrained_cfg_overlay={'file': FILE}",
        )
    return fetch(spec, cfg.tag or None).file


def _refuse_pooling(global_pool: str | None) -> None:
    if global_pool not in (None, "avg"):
        raise ArchspecError(
            f"global_pool={global_pool!r}: the head of the spec says how positions are pooled",
            hint="model.forward_features gives them unpooled",
        )


def _pretrained(spec: Spec) -> dict[str, Any]:
    """What timm keeps of a network's checkpoints, by name and tag."""
    name = f"{PREFIX}_{spec.name}"
    common = {
        "input_size": spec.image, "fixed_input_size": True, "num_classes": spec.classes,
        "description": spec.header.about, "architecture": name,
    }  # fmt: skip
    found: dict[str, Any] = {}
    for tag, mapping in spec.header.weights.items():
        if mapping.url is None:
            continue
        cfg = _theirs(mapping.url)
        images = {key: getattr(cfg, key) for key in _IMAGES}
        found[f"{name}.{tag}"] = PretrainedCfg(
            tag=tag,
            url=mapping.url,
            license=mapping.license,
            origin_url=mapping.source,
            **images,
            **common,
        )
    return found or {name: PretrainedCfg(**common)}


def _theirs(url: str) -> Any:
    """What timm itself knows of a checkpoint that it offers too; or else its defaults."""
    hub = _OF_TIMM.match(url)
    if hub is not None:
        with contextlib.suppress(RuntimeError):  # a tag that this version of timm does not have
            return get_pretrained_cfg(hub[1], allow_unregistered=False)
    return _by_file().get(PurePosixPath(url).name, PretrainedCfg())


@cache
def _by_file() -> dict[str, Any]:
    """timm's checkpoints that have an address outside the Hub, by the file's name."""
    configs = filter(None, map(get_pretrained_cfg, list_pretrained()))
    return {PurePosixPath(cfg.url).name: cfg for cfg in configs if isinstance(cfg.url, str)}


def _register(name: str, function: Callable[..., nn.Module]) -> None:
    """Under a name that is not taken by another."""
    if is_model(name) and model_entrypoint(name).__module__ != __name__:
        raise ArchspecError(f"timm has a model {name!r} already, which is not archspec's")
    function.__name__ = function.__qualname__ = name
    function.__module__ = __name__
    register_model(function)


def _shipped(name: str) -> Callable[..., nn.Module]:
    def entrypoint(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        if "spec" in kwargs:
            raise ArchspecError(
                f"{PREFIX}_{name} is a shipped spec: another one is timm.create_model({PREFIX!r}, "
                "spec=…)"
            )
        return create(name, f"{PREFIX}_{name}", pretrained, **kwargs)

    return entrypoint


def _any(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """A spec's file, or the name of a shipped one."""
    if "spec" not in kwargs:
        raise ArchspecError(f"{PREFIX!r} needs a spec: timm.create_model({PREFIX!r}, spec=FILE)")
    spec = as_spec(kwargs.pop("spec"))
    asked = kwargs.pop("pretrained_cfg", None)
    if not asked or isinstance(asked, str):
        known = {cfg.tag: cfg for cfg in _pretrained(spec).values()}
        tag = checkpoint(spec, asked).name if asked else next(iter(known))
        asked = known.get(tag)
    return create(spec, PREFIX, pretrained, asked, **kwargs)


_SPECS = [load(row["name"]) for row in shipped_figures() if row["params"] is not None]
default_cfgs = generate_default_cfgs(
    {PREFIX: PretrainedCfg()}
    | {key: cfg for spec in _SPECS for key, cfg in _pretrained(spec).items()}
)
"""Where timm's `register_model` looks for them."""
__all__: list[str] = ["Model", "create"]  # which register_model adds to

_register(PREFIX, _any)
for _spec in _SPECS:
    _register(f"{PREFIX}_{_spec.name}", _shipped(_spec.name))

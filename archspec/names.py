"""The words that a spec makes up: ids, sources, names of blocks and variables."""

from __future__ import annotations

import keyword

from archspec.errors import SpecError, brief
from archspec.graph import INPUT
from archspec.source import HOLE_KEYS, Key, Node

MAX_NAME = 60
"""How many characters a name may have."""

# Attributes of torch.nn.Module: a submodule of that name would break it. Kept by a test.
RESERVED = frozenset(
    """
    T_destination add_module apply bfloat16 buffers call_super_init children compile cpu
    cuda double dump_patches eval extra_repr float forward get_buffer get_extra_state
    get_parameter get_submodule half ipu load_state_dict modules mtia named_buffers
    named_children named_modules named_parameters parameters register_backward_hook
    register_buffer register_forward_hook register_forward_pre_hook
    register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook
    requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty train
    training type xpu zero_grad graph code print_readable recompile add_submodule
    delete_submodule delete_all_unused_submodules meta shape_env to_folder self
    torch nn F math operator
    """.split()
)


def ids_of(node: Node) -> tuple[Key, ...]:
    """The ids that a step declares, without checking anything else about it."""
    if not isinstance(node.value, dict) or len(node.value) != 1:
        return ()
    ((_, value),) = node.value.items()
    if not isinstance(value.value, dict) or "id" not in value.value:
        return ()
    return words(value.value["id"])


def words(node: Node) -> tuple[Key, ...]:
    items = node.value if isinstance(node.value, tuple) else (node,)
    return tuple(Key(item.value, item.mark) for item in items if isinstance(item.value, str))


def sources_of(node: Node) -> tuple[Key, ...]:
    return _words_only(node, "'from' takes the id of a step or a list of ids")


def _words_only(node: Node, what: str) -> tuple[Key, ...]:
    """The words of `node`, when it holds at least one and nothing else."""
    found = words(node)
    count = len(node.value) if isinstance(node.value, tuple) else 1
    if not found or len(found) != count:
        raise SpecError(f"{what}, found {node.kind}", mark=node.mark)
    return found


def identifier(key: Key, what: str) -> Key:
    """`key`, unless it cannot be the name of `what` (and so of a submodule)."""
    if not key.isidentifier() or not key.isascii() or key.startswith("_") or len(key) > MAX_NAME:
        raise SpecError(
            f"{what} must be a plain name (letters a to z, digits, _; at most {MAX_NAME}), "
            f"found {brief(str(key))}",
            mark=key.mark,
        )
    if key in RESERVED or key in HOLE_KEYS or key == INPUT or keyword.iskeyword(key):
        raise SpecError(
            f"{str(key)!r} cannot be {what}: the name has a meaning of its own", mark=key.mark,
            hint="pick another name",
        )  # fmt: skip
    return key


def identifiers(node: Node) -> tuple[Key, ...]:
    keys = _words_only(node, "'id' must be a name or a list of names")
    for key in keys:
        identifier(key, "an id")
    if len(set(keys)) != len(keys):
        raise SpecError("'id' names two outputs alike", mark=node.mark)
    return keys

"""What is true of the options of all commands."""

from __future__ import annotations

from typing import get_type_hints

from typer.models import ArgumentInfo

from archspec.cli.app import _load_commands, app


def test_options_whose_placeholder_is_their_name_say_their_name() -> None:
    """typer 0.27 calls an option by its placeholder where the two differ in their case alone."""
    _load_commands()
    seen = 0
    for group in (app, *(each.typer_instance for each in app.registered_groups)):
        assert group is not None
        for command in (*group.registered_commands, group.registered_callback):
            assert command is not None
            assert command.callback is not None
            hints = get_type_hints(command.callback, include_extras=True)
            for name, option in (
                (n, o) for n, h in hints.items() for o in getattr(h, "__metadata__", ())
            ):
                seen += 1
                if option.metavar == name.upper() and not isinstance(option, ArgumentInfo):
                    # in an annotation, typer takes the first name for a default until it is used
                    assert option.default != ..., f"{command.callback.__name__} {name}"
    assert seen > 100

"""The command line: options that commands share, and how refusals reach the user.

Exit codes: 0 all is well; 1 a check failed; 2 wrong input, with one message on stderr; 3 a backend
of `archspec compile` cannot be used here; 130 interrupted. Results go to stdout, everything else
to stderr.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

import typer

from archspec.errors import ArchspecError

app = typer.Typer(
    name="archspec",
    help="Vision token mixers as YAML: exactly costed, built, drawn, searched, compiled.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

SpecArgument = Annotated[
    str,
    typer.Argument(
        metavar="SPEC", help="A YAML file, or the name of a shipped spec (see 'archspec specs')."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "-s", metavar="NAME=VALUE",
        help="Override a variable or any value: alpha=2, 'depths=[2,2,6,2]', input.height=256.",
    ),
]  # fmt: skip
InputOption = Annotated[
    str | None,
    typer.Option("--input", "-i", metavar="CxHxW", help="Another input size, such as 3x256x256."),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights", "-w", metavar="FILE|NAME",
        help="A checkpoint (.safetensors, .pth), or the name of public weights (see 'archspec "
        "weights'). Default: those of a training or search that is named, else random ones.",
    ),
]  # fmt: skip
InterpolateOption = Annotated[
    bool,
    typer.Option(
        "--interpolate",
        help="Resize the checkpoint's position embeddings to this image size.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:1.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from archspec import __version__

        typer.echo(f"archspec {__version__}")
        raise typer.Exit


def load_spec(name: str, sets: list[str] | None = None, image: str | None = None) -> Any:
    """The spec that a command was given, with `--input` and `--set` applied."""
    from archspec.spec import load

    return overridden(load(name), sets, image)


def overridden(spec: Any, sets: list[str] | None, image: str | None) -> Any:
    """A spec with what `--input` and `--set` say instead."""
    if image is not None:
        spec = spec.with_values(_image(image), origin="--input")
    values = named_values(sets, "--set")
    return spec.with_values(values, origin="--set") if values else spec


def named_values(items: list[str] | None, option: str) -> dict[str, Any]:
    """What a repeated option NAME=VALUE gave; values are read as YAML."""
    from archspec import source

    values: dict[str, Any] = {}
    for item in items or []:
        key, equals, text = item.partition("=")
        name = f"{option} {key.strip()}"
        if not equals or not key.strip():
            raise ArchspecError(f"{option} takes NAME=VALUE, found {item!r}")
        if not text.strip():
            raise ArchspecError(f"{name} has no value", hint=f"'{name}=null' removes it")
        values[key.strip()] = source.parse(text, name).plain()
    return values


def _image(text: str) -> dict[str, int]:
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(re.fullmatch("0*[1-9][0-9]{0,17}", p) for p in parts):
        raise ArchspecError(
            f"--input takes channels x height x width, found {text!r}",
            hint="such as --input 3x224x224: channels come first",
        )
    names = ("input.channels", "input.height", "input.width")
    return dict(zip(names, map(int, parts), strict=True))


@contextlib.contextmanager
def busy(what: str) -> Iterator[None]:
    """Say on a terminal what is being waited for."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def tell(text: str) -> None:
    """Say on stderr something that the user should know."""
    typer.echo(f"note: {text}", err=True)


def _load_commands() -> None:
    import importlib
    import pkgutil

    import archspec.cli as package

    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("tables"):
            continue  # loaded by the command that prints them
        importlib.import_module(f"{package.__name__}.{module.name}")


def main() -> NoReturn:
    """Run the command line; every refusal becomes one message and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without × gets a ? for it
    _load_commands()
    code = 0
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except ArchspecError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        discard_output()  # the reader has gone (`archspec … | head`); nothing is wrong
    except OSError as error:
        print(f"error: cannot write the output: {error.strerror or error}", file=sys.stderr)
        discard_output()
        code = 2
    sys.exit(code)


def discard_output() -> None:
    """Send what is still to be printed nowhere, so that Python's exit does not trip over it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

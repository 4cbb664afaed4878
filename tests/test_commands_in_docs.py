"""Every command that the documents show exists, and takes what it is given there."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from archspec.cli.app import _load_commands, app
from archspec.search.addresses import shown

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELLS = ("sh", "bash", "sbatch", "console")
_load_commands()
COMMAND: Any = typer.main.get_command(app)
UsageError: Any = typer.BadParameter.__bases__[0]
"""What the command line raises, be it of click or of Typer's own copy of it."""


def lines(text: str) -> Iterator[str]:
    """The command lines of a document: in its shell blocks, and indented ones."""
    for kind, body in FENCE.findall(text):
        if kind in SHELLS:
            yield from body.replace("\\\n", " ").splitlines()
    for line in FENCE.sub("", text).splitlines():
        if line.startswith("    "):
            yield line


def commands(text: str) -> Iterator[list[str]]:
    """The words after `archspec` in each of them."""
    for line in lines(text):
        found = re.search(r"(?:^|\s|-m )archspec (?!=)(.*)", line.split(" # ")[0])
        if found is not None and "…" not in line:
            words = shlex.split(found[1].partition(" > ")[0])
            yield [re.sub(r"\$\w+", "1", word) for word in words]


def parse(words: list[str]) -> None:
    """Let the command line read the words, and do nothing.

    Raises:
        UsageError: there is no such command or option, or it takes no such value.
    """
    command = COMMAND
    context = command.make_context("archspec", list(words))
    while hasattr(command, "resolve_command") and (
        rest := [*context._protected_args, *context.args]
    ):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, found.make_context(name, rest, parent=context)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_they_parse(document: Path) -> None:
    found = list(commands(document.read_text()))
    for words in found:
        try:
            parse(words)
        except typer.Exit:
            pass
        except UsageError as error:
            pytest.fail(f"archspec {shlex.join(words)}: {error.format_message()}")
    assert found or document.name in ("evidence.md", "language.md")


@pytest.mark.parametrize(
    "line", ["archspec serach", "archspec search --wrokers 4", "archspec search --workers many"]
)
def test_that_check_can_fail(line: str) -> None:
    (words,) = commands(f"    {line}\n")
    with pytest.raises(UsageError):
        parse(words)


# -- docs/cluster.md -------------------------------------------------------------------------------

CLUSTER = (ROOT / "docs" / "cluster.md").read_text()


@pytest.mark.parametrize("body", [body for kind, body in FENCE.findall(CLUSTER) if kind in SHELLS])
def test_scripts_are_shell(body: str) -> None:
    done = subprocess.run(["bash", "-n"], input=body, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def job() -> dict[str, Any]:
    (text,) = [body for kind, body in FENCE.findall(CLUSTER) if kind == "yaml"]
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_the_job_is_one_by_kubernetes_own_schemas() -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    version = validator.latest_version()
    validator.validate(job(), version, strict=True)
    wrong = job()
    wrong["spec"]["template"]["spec"]["containers"][0]["resources"]["limit"] = {}
    with pytest.raises(validator.ValidationError):
        validator.validate(wrong, version, strict=True)


def test_the_job_s_command() -> None:
    pod = job()["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"][0] == "archspec"
    parse([*container["command"][1:], *container["args"]])
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    given = dict(arg.removeprefix("--").split("=", 1) for arg in container["args"])
    roots = [mount["mountPath"] for mount in container["volumeMounts"]]
    for name in ("data", "runs"):
        assert any(given[name].startswith(root) for root in roots)


def test_no_command_has_a_password() -> None:
    urls = re.findall(r"postgresql\+psycopg://[^'\s|]+", CLUSTER)
    assert urls
    assert all(shown(url) == url.partition("?")[0] for url in urls)

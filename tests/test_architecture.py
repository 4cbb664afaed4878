"""Imports go one way: each module may import those of lower layers, and none above it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "archspec"

# From the bottom up. A module may import what stands in an earlier line, or in its own.
LAYERS = [
    ["errors"],
    ["clock", "files", "sizes", "source", "columns"],
    ["expr", "shape"],
    ["program"],
    ["ops"],
    ["graph", "document", "catalog"],
    ["names", "steps", "inherit", "rename", "download"],
    ["wiring"],
    ["parser"],
    ["spec"],
    ["scope", "checkpoints"],
    ["expander"],
    ["expansion", "counting"],
    ["many", "layers", "resolution"],
    ["lower", "memory"],
    ["module", "codegen", "measure", "draw", "formula", "schema", "interpolate"],
    ["weights", "check", "report", "figures", "backbone"],
    ["api"],
    ["timm"],
    ["written", "diff"],
    ["search"],
    ["compile"],
    ["plot"],
    ["cli", "__init__", "__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports(source: str, package: str = "archspec") -> Iterator[str]:
    """The modules of the package that a source file imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [node.module]
            if node.module == package:
                names = [f"{package}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == package and len(parts) > 1:
                yield parts[1]


def typing_only(source: str) -> str:
    """The source without its `if TYPE_CHECKING:` blocks, which import nothing at run time."""

    class Strip(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            guarded = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            return None if guarded else node

    return ast.unparse(Strip().visit(ast.parse(source)))


def violations(files: dict[str, str]) -> list[str]:
    """`a imports b` for every import that goes up. `files`: module → source."""
    return [
        f"{name} imports {target}"
        for name, source in files.items()
        for target in imports(typing_only(source))
        if target in LEVEL and LEVEL[target] > LEVEL[name]
    ]


def modules() -> dict[str, str]:
    found: dict[str, str] = {}
    # two of its folders are links, to ../search and ../compile
    folders = (PACKAGE, PACKAGE / "search", PACKAGE / "compile")
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        top = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        found[top] = found.get(top, "") + path.read_text().replace(
            "from __future__ import annotations", ""
        )
    return found


def test_every_module_has_a_layer() -> None:
    assert set(modules()) == set(LEVEL)


def test_imports_go_one_way() -> None:
    assert violations(modules()) == []


@pytest.mark.parametrize(
    "source",
    [
        "from archspec.cli import main",
        "import archspec.check",
        "from archspec import api",
        "def f():\n    from archspec.module import to_module",
    ],
)
def test_the_check_can_fail(source: str) -> None:
    assert violations({"counting": source})


HEAVY = (
    "torch", "fvcore", "sympy", "matplotlib", "networkx", "numpy", "optuna", "sklearn", "scipy",
    "PIL", "pyarrow", "kornia", "lightning_fabric", "timm",
)  # fmt: skip

LIGHT = {
    "import archspec": "import archspec",
    "import archspec.search": "import archspec.search",
    "import archspec.compile": "import archspec.compile",
    "what is to be compiled": "from archspec.compile.subject import find; find('smlpnet_t')",
    "search --help": "from archspec.cli.app import _load_commands, app; _load_commands(); "
    "app(['search', '--help'], standalone_mode=False)",
    "cost": "import archspec; archspec.cost('smlpnet_b').flops",
    "--help": "import sys; sys.argv = ['archspec', '--help']; "
    "from archspec.cli.app import _load_commands, app; _load_commands(); "
    "app(standalone_mode=False)",
    "specs": "from archspec.cli.app import _load_commands, app; _load_commands(); "
    "app(['specs', '--max-flops', '5G'], standalone_mode=False)",
    "diff": "from archspec.cli.app import _load_commands, app; _load_commands(); "
    "app(['diff', 'smlpnet_t', 'smlpnet_s'], standalone_mode=False)",
    "cost command": "from archspec.cli.app import _load_commands, app; _load_commands(); "
    "app(['cost', 'smlpnet_t'], standalone_mode=False)",
}


def loaded_by(code: str) -> list[str]:
    """Which of the heavy libraries a fresh Python has loaded after running `code`."""
    report = f"import sys; print(*[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return done.stderr.split()


@pytest.mark.parametrize("name", LIGHT)
def test_light_paths_load_nothing_heavy(name: str) -> None:
    assert loaded_by(LIGHT[name]) == []


def test_that_check_can_fail_too() -> None:
    assert "torch" in loaded_by("import archspec.module")


def test_no_submodule_hides_a_function() -> None:
    """Importing `archspec.cost`, were there such a module, would replace the function."""
    import archspec

    assert not set(archspec._HOME) & set(LEVEL)
    import archspec.search

    names = {path.stem for path in (PACKAGE / "search").iterdir()}
    assert not set(archspec.search._HOME) & names

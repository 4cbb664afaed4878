"""The figures of all shipped specs, computed once and remembered until a file changes.

Counting a network takes milliseconds, but there are many. The memory is a JSON file in the user's
cache folder; a missing, stale, broken or unwritable one only means that counting is done again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from archspec import catalog
from archspec.errors import ArchspecError
from archspec.files import write_text

PACKAGE = Path(__file__).parent


def shipped_figures() -> list[dict[str, Any]]:
    """One row per shipped spec: name, folder, about, source, params, flops, top1, holes."""
    state = _state()
    file = _cache_file()
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        remembered = json.loads(file.read_text(encoding="utf-8"))
        if remembered["state"] == state:
            return list(remembered["rows"])
    rows = [_row(name, path) for name, path in catalog.shipped().items()]
    with contextlib.suppress(OSError, ArchspecError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"state": state, "rows": rows}))
    return rows


def _state() -> str:
    """Changes whenever a spec or a rule of counting may have."""
    digest = hashlib.sha256()
    for folder in (PACKAGE, catalog.FOLDER):  # the second may be a link out of the first
        for path in sorted(folder.rglob("*.[py][ya]*")):
            if path.suffix in (".py", ".yaml"):
                status = path.stat()
                digest.update(f"{path} {status.st_mtime_ns} {status.st_size}\n".encode())
    return digest.hexdigest()


def _cache_file() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("archspec-vision") / "figures.json"


def _row(name: str, path: Path) -> dict[str, Any]:
    from archspec.counting import count
    from archspec.expansion import expand
    from archspec.spec import load

    spec = load(path)
    folder = path.relative_to(catalog.FOLDER).parent.as_posix()
    row: dict[str, Any] = {
        "name": name, "folder": "" if folder == "." else folder, "about": spec.header.about,
        "source": spec.header.source, "params": None, "flops": None,
        "top1": spec.header.published.top1, "holes": len(spec.holes),
    }  # fmt: skip
    if spec.is_network and not spec.holes:
        table = count(expand(spec))
        row |= {"params": int(table.params), "flops": int(table.flops)}
    return row

"""What `make audit` says of what pip-audit found, or could not find."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "audit.py"
SKIPPED = ("audit SKIPPED: no list of known vulnerabilities can be reached", 0)
FLAW = {"id": "PYSEC-2024-1", "fix_versions": ["1.3", "2.0"]}


@pytest.mark.parametrize(
    ("packages", "verdict"),
    [
        (None, SKIPPED),
        ([{"name": "a", "skip_reason": "Dependency not found"}], SKIPPED),
        ([{"name": "a", "version": "1", "vulns": []}],
         ("audit: 1 packages, 0 known vulnerabilities", 0)),
        ([{"name": "a", "version": "1.2", "vulns": [FLAW]}, {"name": "b", "skip_reason": "?"}],
         ("a 1.2: PYSEC-2024-1, mended in 1.3, 2.0\n"
          "audit: 1 packages, 1 known vulnerabilities\n"
          "not audited: 1 packages that the list does not know", 1)),
    ],
)  # fmt: skip
def test_the_verdict(packages: Any, verdict: tuple[str, int]) -> None:
    report = "" if packages is None else json.dumps({"dependencies": packages})
    assert runpy.run_path(str(SCRIPT))["told"](report) == verdict

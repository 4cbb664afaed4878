"""What an audit of the dependencies found: `make audit`.

Takes the JSON of pip-audit, whose own exit code is the same for a vulnerability and for no network,
and which finds nothing wrong with packages that it has asked nobody about.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def told(report: str) -> tuple[str, int]:
    """The verdict, and the exit code: 1 for known vulnerabilities.

    Args:
        report: pip-audit's JSON; empty if it came to no end.
    """
    packages = json.loads(report)["dependencies"] if report.strip() else []
    known = [package for package in packages if "vulns" in package]
    if not known:
        return "audit SKIPPED: no list of known vulnerabilities can be reached", 0
    lines = [
        f"{package['name']} {package['version']}: {flaw['id']}, mended in "
        + (", ".join(flaw["fix_versions"]) or "no version")
        for package in known
        for flaw in package["vulns"]
    ]
    left = len(packages) - len(known)
    lines.append(f"audit: {len(known)} packages, {len(lines)} known vulnerabilities")
    if left:
        lines.append(f"not audited: {left} packages that the list does not know")
    return "\n".join(lines), int(any(package["vulns"] for package in known))


if __name__ == "__main__":
    path = Path(sys.argv[1])
    text, code = told(path.read_text(encoding="utf-8") if path.is_file() else "")
    print(text)
    sys.exit(code)

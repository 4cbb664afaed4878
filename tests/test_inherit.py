"""What a spec hands down to those that extend it, and what stays its own."""

from __future__ import annotations

from pathlib import Path

import archspec

BASE = """
about: A linear classifier.
source: https://example.org/paper
published: {params: 7, top1: 50}
input: {channels: 3, height: 8, width: 8}
classes: 1
head: [global_pool, linear: classes]
weights:
  theirs:
    source: https://example.org/code
    license: MIT
    url: https://example.org/base.pth
    sha256: 0123abcd
    top1: 51
    names: {fc.*: head.linear.*}
"""


def test_what_describes_one_network_is_not_inherited(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "wide.yaml").write_text("extends: base.yaml\nclasses: 2\n")
    header = archspec.load(tmp_path / "wide.yaml").header
    assert header.name is header.about is header.source is header.published.top1 is None
    mapping = header.weights["theirs"]
    assert mapping.url is mapping.sha256 is mapping.top1 is None
    assert mapping.license == "MIT"
    assert mapping.names == {"fc.*": "head.linear.*"}


def test_a_size_names_its_own_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "wide.yaml").write_text(
        "extends: base.yaml\nweights: {theirs: {url: https://example.org/wide.pth}}\n"
    )
    mapping = archspec.load(tmp_path / "wide.yaml").header.weights["theirs"]
    assert mapping.url == "https://example.org/wide.pth"
    assert mapping.sha256 is None
    assert mapping.source == "https://example.org/code"
    assert mapping.names == {"fc.*": "head.linear.*"}


def test_a_block_that_two_imports_bring_is_whole(tmp_path: Path) -> None:
    """Merged with itself, the null of an argument that must be given would take it away."""
    (tmp_path / "wide.yaml").write_text(
        "blocks: {wide: {args: {out: null}, body: [linear: {out: out}]}}\n"
    )
    (tmp_path / "deep.yaml").write_text("import: wide.yaml\nblocks: {deep: [wide: 4, wide: 8]}\n")
    spec = tmp_path / "both.yaml"
    spec.write_text(
        "import: [wide.yaml, deep.yaml]\nstem: [deep, wide: 2, global_pool]\nclasses: 2\n"
    )
    assert archspec.cost(spec).params == 3 * 4 + 4 + 4 * 8 + 8 + 8 * 2 + 2

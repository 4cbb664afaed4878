"""What the rewrites did to a network, as plain data: what `archspec compile --explain` shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from archspec.compile.job import Bench, Request
from archspec.compile.rewriting import collapsed, rewrite


def explain(bench: Bench, request: Request) -> dict[str, Any]:
    """Which rewrites fired where for a request, and what they save.

    FLOPs are of one image; bytes those of a whole batch of the size that the artefact is made to
    be fastest at, if each op ran on its own.
    """
    settings = request.settings
    element_bytes = {"bf16": 2, "fp16": 2, "int8": 1, "fp8": 1}.get(settings.precision, 4)
    told = rewrite(
        bench.network, request.chosen, batch=settings.batch.opt, element_bytes=element_bytes
    )
    return {
        "backend": request.backend.name,
        "precision": settings.precision,
        "batch": settings.batch.opt,
        "fired": [asdict(firings) for firings in collapsed(told.fired)],
        "by_rewrite": {
            name: {"times": one.times, "flops": one.flops, "bytes": one.traffic.total}
            for name, one in told.by_rewrite.items()
        },
        "before": {"flops": told.flops_before, "bytes": told.before.total},
        "after": {"flops": told.flops_after, "bytes": told.after.total},
    }

"""How a search is followed in a terminal, and how Ctrl-C ends it in good order."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from archspec.search.listener import Listener

if TYPE_CHECKING:
    from archspec.search.plan import Plan
    from archspec.search.record import TrialRecord


class Display(Listener):
    """Lines about each trial on stderr; on a terminal also what goes on at the moment."""

    def __init__(self, *, quiet: bool = False) -> None:
        from rich.console import Console

        self._console = Console(
            stderr=True, highlight=False, markup=False, emoji=False,
            width=None if sys.stderr.isatty() else 120,
        )  # fmt: skip
        self._status: Any = None
        self._quiet = quiet
        self._plan: Plan | None = None
        self._began = time.monotonic()
        self._done = self._before = 0
        self._best: float | None = None
        self._trial = self._epoch = ""
        self._steps = (0, 0)

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def stopping(self) -> None:
        self._say("stopping after this step; press Ctrl-C again to stop at once")

    # -- what is heard -----------------------------------------------------------------------------

    def busy(self, what: str) -> None:
        self._show(what)

    def note(self, text: str) -> None:
        self._say(text)

    def resumed(self, finished: int, again: int) -> None:
        more = f"; {again} that were cut are run again" if again else ""
        self._say(f"going on with a study of {finished} finished trials{more}")

    def planned(self, plan: Plan) -> None:
        self._plan, self._began, self._before = plan, time.monotonic(), plan.finished
        self._done = plan.finished
        if not self._quiet:
            from archspec.cli.tables_search import plan_table

            self._console.print(plan_table(plan))

    def began(self, number: int, choices: Mapping[str, Any], cost: Mapping[str, int]) -> None:
        from archspec.cli.tables import giga

        self._trial = f"trial {number}, {giga(cost['flops'])} FLOPs"
        self._epoch, self._steps = "", (0, 0)
        self._update()

    def step(self, step: int, steps: int) -> None:
        self._steps = (step, steps)
        self._update()

    def epoch(self, number: int, epoch: int, accuracy: float) -> None:
        self._epoch = f", epoch {epoch}: {accuracy:.1%}"
        self._steps = (0, 0)
        self._update()

    def ended(self, trial: TrialRecord, finished: int, best: float | None) -> None:
        from archspec.cli.tables_search import trial_line

        self._done, self._best = finished, best
        assert self._plan is not None
        self._say(trial_line(trial, self._plan.settings.objectives))
        self._trial = ""
        self._update()

    def finalist(self, number: int, place: int, places: int, seed: int) -> None:
        self._trial = f"finalist {place} of {places} (trial {number}, seed {seed})"
        self._epoch, self._steps = "", (0, 0)
        self._update()

    def finalist_ended(self, number: int, seed: int, accuracy: float | None) -> None:
        shown = "failed" if accuracy is None else f"{accuracy:.1%}"
        self._say(f"trial {number:>4}  again with seed {seed}: {shown}")

    # -- how it looks ------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def _show(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)

    def _update(self) -> None:
        if self._status is None or self._plan is None:
            return
        plan = self._plan
        step, steps = self._steps
        now = f"{self._trial}{self._epoch}" + (f", step {step} of {steps}" if step else "")
        parts = [f"{self._done} of {plan.trials} trials", now]
        if self._best is not None:
            from archspec.cli.tables_search import value_text

            parts.append(f"best {value_text(plan.settings.objectives[0], self._best)}")
        tried = self._done - self._before
        if tried > 0:
            rate = tried / (time.monotonic() - self._began) * 3600
            left = (plan.trials - self._done) / rate * 3600
            parts.append(f"{rate:.0f} trials/h, {duration(left)} left for the trials")
        self._show(" · ".join(part for part in parts if part))


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return (
        f"{minutes // 60} h {minutes % 60} min" if minutes < 60 * 48 else f"{minutes // 1440} days"
    )


@contextlib.contextmanager
def stoppable(display: Display) -> Iterator[Callable[[], bool]]:
    """A question whether Ctrl-C (or SIGTERM) was given; the second time, it works as ever."""
    asked = False

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        display.stopping()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

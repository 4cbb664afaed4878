"""How a search is followed in a terminal, and how Ctrl-C ends it in good order."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from archspec.search.listener import Listener

if TYPE_CHECKING:
    from rich.console import Group

    from archspec.search.plan import Plan
    from archspec.search.record import TrialRecord

_CHOOSING = "choosing the next network"
STOPPING = "stopping after this step; Ctrl-C again stops at once"


class Display(Listener):
    """A line for each trial on stderr; on a terminal also two lines of what goes on now."""

    def __init__(self, *, quiet: bool = False) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        is_terminal = sys.stderr.isatty()
        self._console = Console(
            stderr=True, highlight=False, markup=False, emoji=False,
            force_terminal=is_terminal, width=None if is_terminal else 10_000,
        )  # fmt: skip
        self._spinner = Spinner("dots")
        self._quiet = quiet
        self._plan: Plan | None = None
        self._pace = Pace()
        self._best: float | None = None
        self._own = Doing()
        self._workers: dict[int, Doing] = {}
        self.is_stopping = False
        self._live = Live(
            console=self._console, get_renderable=self._now, transient=True, refresh_per_second=5,
        ) if is_terminal else None  # fmt: skip

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def is_training(self) -> bool:
        """Whether a question whether to stop is about to be asked: at the next step, or by those
        who look after workers."""
        return self._own.is_training or bool(self._workers)

    def stopping(self) -> None:
        """Say that Ctrl-C was understood. Called by a signal's handler: it may not print."""
        self.is_stopping = True
        if self._live is None:
            os.write(sys.stderr.fileno(), f"{STOPPING}\n".encode())

    # -- what is heard -----------------------------------------------------------------------------

    def busy(self, what: str) -> None:
        self._workers = {}
        self._own.busy(what)

    def note(self, text: str) -> None:
        self._console.print(text)

    def resumed(self, finished: int, again: int) -> None:
        cut = "1 that was cut goes on" if again == 1 else f"{again} that were cut go on"
        more = f"; {cut}" if again else ""
        trials = "1 finished trial" if finished == 1 else f"{finished:,} finished trials"
        self.note(f"going on with a study of {trials}{more}")

    def planned(self, plan: Plan) -> None:
        self._plan = plan
        self._pace = Pace(plan.trials, plan.finished, plan.finalists, plan.seconds)
        if not self._quiet:
            from archspec.cli.tables_search import plan_table

            self._console.print(plan_table(plan))

    def began(self, number: int, choices: Mapping[str, Any], cost: Mapping[str, int]) -> None:
        self._own.began(number, choices, cost)

    def step(self, step: int, steps: int) -> None:
        self._own.step(step, steps)

    def epoch(self, number: int, epoch: int, accuracy: float) -> None:
        self._own.epoch(number, epoch, accuracy)

    def of_worker(self, worker: int, event: str, *given: Any) -> None:
        doing = self._workers.setdefault(worker, Doing())
        if event in ("busy", "began", "step", "epoch"):
            getattr(doing, event)(*given)
        elif event == "note":
            self.note(f"worker {worker}: {given[0]}")
        elif event == "ended":
            doing.busy(_CHOOSING)
            self.ended(*given)

    def ended(self, trial: TrialRecord, finished: int, best: float | None) -> None:
        from archspec.cli.tables_search import trial_line

        assert self._plan is not None
        self._pace.ended(trial, finished)
        self._best = best
        self._own.busy(_CHOOSING)
        self._line(trial_line(trial, self._plan.settings.objectives))

    def finalist(self, number: int, place: int, places: int, seed: int) -> None:
        self._pace.finalist(place, places)
        self._workers = {}
        self._own.begin(f"finalist {place} of {places} (trial {number}, fresh seed {seed})")

    def finalist_ended(self, number: int, seed: int, accuracy: float | None) -> None:
        shown = "failed" if accuracy is None else f"{accuracy:.1%}"
        self._line(f"trial {number:>4}  again with seed {seed}: {shown}")

    # -- how it looks ------------------------------------------------------------------------------

    def _line(self, text: str) -> None:
        """One line, cut at the edge of a terminal."""
        self._console.print(text, no_wrap=True, overflow="ellipsis")

    def _now(self) -> Group:
        """What goes on now; asked several times a second."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        rows = Table.grid(padding=(0, 1))
        rows.add_column(width=1)
        rows.add_column(no_wrap=True, overflow="ellipsis")
        epochs = 0 if self._plan is None else self._plan.epochs
        for number, doing in sorted(self._workers.items()):
            text = f"worker {number}  {doing.text(epochs)}"
            rows.add_row(self._spinner if number == min(self._workers) else "", Text(text))
        if not self._workers:
            rows.add_row(self._spinner, Text(self._own.text(epochs)))
        if self.is_stopping:
            rows.add_row("", Text(STOPPING))
        lines: list[Any] = [rows]
        if self._plan is not None:
            lines.append(Text(self._summary(), style="dim", no_wrap=True, overflow="ellipsis"))
        return Group(*lines)

    def _summary(self) -> str:
        """`3 of 12 trials · best accuracy 94.4% · 120 trials/h · 4 min left`."""
        assert self._plan is not None
        parts = [f"{self._pace.done:,} of {self._plan.trials:,} trials"]
        if self._best is not None:
            from archspec.cli.tables_search import value_text

            objective = self._plan.settings.objectives[0]
            parts.append(f"best {objective} {value_text(objective, self._best)}")
        if (rate := self._pace.per_hour()) is not None:
            parts.append(f"{rate:,.0f} trials/h" if rate >= 10 else f"{rate:.1f} trials/h")
        if (left := self._pace.left()) is not None:
            parts.append(f"about {duration(left)} left")
        return "  " + " · ".join(parts)


class Doing:
    """What one process does now."""

    def __init__(self) -> None:
        self.busy("")

    def busy(self, what: str) -> None:
        self.begin(what)
        self.is_training = False

    def begin(self, what: str) -> None:
        self._what, self._epoch, self._steps = what, (0, 0.0), (0, 0)
        self.is_training = True

    def began(self, number: int, choices: Mapping[str, Any], cost: Mapping[str, int]) -> None:
        from archspec.cli.tables import giga

        self.begin(f"trial {number}, {giga(cost['flops'])} FLOPs")

    def step(self, step: int, steps: int) -> None:
        self._steps = (step, steps)

    def epoch(self, number: int, epoch: int, accuracy: float) -> None:
        self._epoch, self._steps = (epoch, accuracy), (0, 0)

    def text(self, epochs: int) -> str:
        """`trial 3, 795 K FLOPs · epoch 2 of 4, step 12 of 45 · 88.1% after epoch 1`.

        Args:
            epochs: of a whole training; 0 while that is not known.
        """
        parts = [self._what]
        if self.is_training and epochs:
            step, steps = self._steps
            epoch, accuracy = self._epoch
            if step:
                parts.append(f"epoch {epoch + 1} of {epochs}, step {step} of {steps}")
            if epoch:
                parts.append(f"{accuracy:.1%} after epoch {epoch}")
        return " · ".join(parts)


class Pace:
    """How fast a search goes, and how long it is going to take."""

    def __init__(
        self, trials: int = 0, done: int = 0, finalists: int = 0, seconds: float | None = None
    ) -> None:
        self.done = done
        self._trials, self._before, self._finalists = trials, done, finalists
        self._planned = seconds
        self._began = self._since = time.monotonic()
        self._whole: list[float] = []
        self._place: tuple[int, int] | None = None
        self._first = 1
        self._rate: float | None = None

    def ended(self, trial: TrialRecord, finished: int) -> None:
        self.done = finished
        if trial.state == "complete" and trial.seconds:
            self._whole.append(trial.seconds)
        tried = self.done - self._before
        if tried > 0:
            self._rate = tried / max(time.monotonic() - self._began, 1e-9)

    def finalist(self, place: int, places: int) -> None:
        if self._place is None:
            self._since, self._first = time.monotonic(), place
        self._place = (place, places)

    def per_hour(self) -> float | None:
        return None if self._rate is None else self._rate * 3600

    def left(self) -> float | None:
        """Seconds, finalists included; None while nothing is known."""
        now = time.monotonic()
        if self._place is not None:
            place, places = self._place
            done = place - self._first
            each = (now - self._since) / done if done else self._each()
            return None if each is None else each * (places - place + 1)
        if self._rate is None:
            return None if self._planned is None else max(0.0, self._planned - now + self._began)
        return max(0, self._trials - self.done) / self._rate + (self._each() or 0) * self._finalists

    def _each(self) -> float | None:
        """Of a whole training."""
        return sum(self._whole) / len(self._whole) if self._whole else None


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
    """A question whether Ctrl-C (or SIGTERM) was given.

    While a network is trained, the first one is only noted: the question is asked at the next step.
    At any other time, and the second time, it raises KeyboardInterrupt as ever.
    """
    asked = False

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked or not display.is_training:
            raise KeyboardInterrupt
        asked = True
        display.stopping()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

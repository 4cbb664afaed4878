"""Results over trials, and the best so far."""

from __future__ import annotations

from archspec.search.record import Record
from archspec.search.report import marks, results, words
from archspec.search.report.style import INK, QUIET, Hint, Plot, legend, panels, settings

TITLE = "Progress"


def plot(record: Record) -> Plot | None:
    """One panel per objective; None while no trial has ended."""
    from matplotlib.ticker import MaxNLocator

    ended = [t for t in record.trials if t.state in ("complete", "pruned", "failed")]
    if not ended:
        return None
    last = max(trial.number for trial in record.trials)
    hints: dict[str, list[Hint]] = {}
    with settings():
        figure, axes = panels(len(record.objectives), width=10, height=3.4, columns=1)
        for index, (objective, ax) in enumerate(zip(record.objectives, axes, strict=True)):
            points = []
            for trial in ended:
                value = results.final(record, trial, index)
                if value is None:
                    value = results.last_rung(record, trial, index)
                if value is not None:
                    points.append((trial, trial.number, words.scaled(objective, value)))
            hints |= marks.scatter(record, ax, f"progress{index}", points)
            steps = results.best_so_far(record, index)
            if steps:
                numbers = [number for number, _ in steps] + [last]
                values = [words.scaled(objective, value) for _, value in steps]
                ax.step(
                    numbers, [*values, values[-1]], where="post", color=INK, linewidth=1.1,
                    label="best so far", zorder=2,
                )  # fmt: skip
            failed = [trial.number for trial in ended if trial.state == "failed"]
            if failed:
                ax.plot(
                    failed, [0.03] * len(failed), "x", color=QUIET, markersize=5,
                    transform=ax.get_xaxis_transform(), label="failed", zorder=3,
                )  # fmt: skip
            if not points:
                ax.set_yticks([])
            else:
                ax.margins(y=0.1)
            ax.set_xlim(-0.5 - last * 0.01, last * 1.01 + 0.5)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.set_ylabel(words.label(objective))
        axes[-1].set_xlabel("trial")
        legend(figure, axes[0])
    return Plot("progress", TITLE, figure, hints)

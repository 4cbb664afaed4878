"""How well one ranking agrees with another: Kendall's τ with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST = 4
"""Pairs below which τ says nothing."""
RESAMPLES = 1000
SEED = 0


class Agreement(NamedTuple):
    """Kendall's τ-b of two lists of figures, from -1 (reversed) over 0 to 1 (same order)."""

    tau: float
    low: float
    """Lower end of the 95 % confidence interval."""
    high: float
    n: int
    """Pairs that were compared."""

    def __str__(self) -> str:
        text = f"{self.tau:+.2f} [{self.low:+.2f}, {self.high:+.2f}], n = {self.n}"
        return text.replace("-", "−")


def kendall(x: Sequence[float], y: Sequence[float]) -> Agreement | None:
    """Kendall's τ-b (ties are accounted for) and its 95 % bootstrap percentile interval.

    The resampling is seeded: the same figures give the same interval.

    Args:
        x: one figure for each thing compared; a pair with a NaN or an infinity is left out.
        y: the others, in the same order.

    Returns:
        None where τ says nothing: fewer than four pairs, or one side is constant.

    Raises:
        ValueError: the lists have different lengths.
    """
    import numpy as np
    from scipy.stats import kendalltau

    if len(x) != len(y):
        raise ValueError(f"x and y have different lengths: {len(x)} and {len(y)}")
    pairs = np.array([x, y], dtype=np.float64)
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    n = pairs.shape[1]
    if n < FEWEST or (pairs == pairs[:, :1]).all(axis=1).any():
        return None
    tau = float(kendalltau(pairs[0], pairs[1]).statistic)
    low, high = np.nanquantile(_resampled(pairs), (0.025, 0.975))
    return Agreement(tau, float(low), float(high), n)


def _resampled(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """τ-b of bootstrap resamples; NaN for one in which a side is constant.

    With w how often each pair was drawn and s the signs of differences, τ-b of a resample is
    w·(sx sy)·w / √(w·sx²·w  w·sy²·w): all resamples are products of matrices.
    """
    import numpy as np

    n = pairs.shape[1]
    drawn = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    times = drawn.astype(np.float32)
    sx, sy = (np.sign(side[:, None] - side[None, :]).astype(np.int8) for side in pairs)

    def form(signs: NDArray[np.int8]) -> NDArray[np.float64]:
        rows = times @ signs.astype(np.float32)
        total: NDArray[np.float64] = np.einsum("rn,rn->r", rows, times, dtype=np.float64)
        return total

    with np.errstate(invalid="ignore", divide="ignore"):
        taus: NDArray[np.float64] = form(sx * sy) / np.sqrt(form(sx * sx) * form(sy * sy))
    return taus

"""A Gaussian process over networks inside the budget: `--sampler gp`.

Candidates as for TPE; a Matérn-5/2 process fitted to the places of the networks so far (their ranks
as normal scores, so that how results are scaled does not matter), and expected improvement.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from archspec.search.samplers.base import fresh
from archspec.search.samplers.candidates import Kernels, positions
from archspec.search.samplers.history import History
from archspec.search.samplers.tpe import UNIFORM, FeasibleTPESampler
from archspec.search.space import Rows

MOST = 300
"""Networks that the process is fitted to: the best ones, and then the latest."""
WIDTHS = (0.05, 0.2)
"""Of the kernels around the best ones, from which candidates are drawn."""
CLIMBS = 4
"""How often candidates are drawn anew around those that promise most."""
_BEST = 8


class FeasibleGPSampler(FeasibleTPESampler):
    """Bayesian optimisation over the feasible set."""

    def propose(self, past: History, rng: np.random.Generator) -> tuple[int, ...]:
        from scipy.special import ndtr, ndtri
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        uniform = fresh(self.feasible, past, rng, UNIFORM)
        if past.results < self.startup:
            return tuple(uniform[0].tolist())
        order = np.argsort(past.ranks, kind="stable")
        keep = np.unique(
            np.concatenate([order[: MOST // 2], np.arange(past.results)[-MOST // 2 :]])
        )
        x, ranks = self._encode(past.rows[keep]), past.ranks[keep]
        spread = np.argsort(np.argsort(ranks, kind="stable"), kind="stable")
        y = ndtri(1 - (spread + 0.5) / len(spread))  # higher is better
        scale = ConstantKernel(1.0, (0.1, 10.0))
        kernel = scale * Matern(np.full(x.shape[1], 1.0), (0.05, 20.0), nu=2.5)
        process = GaussianProcessRegressor(
            kernel + WhiteKernel(0.1, (1e-4, 1.0)), random_state=self.seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a length scale at its bound: harmless
            process.fit(x, y)
        noise = process.kernel_.k2.noise_level
        goal = process.predict(x).max()

        def improvement(rows: Rows) -> NDArray[np.float64]:
            """What each of them is expected to be better by than the best so far."""
            mean, deviation = process.predict(self._encode(rows), return_std=True)
            # of the accuracy itself: what training makes of it by chance is no improvement
            deviation = np.sqrt(np.maximum(deviation**2 - noise, 1e-12))
            z = (mean - goal) / deviation
            return np.asarray(
                deviation * (z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)), np.float64
            )

        best = past.rows[order[:_BEST]]
        near = [self._near(Kernels(self.space, w, best), past, rng) for w in WIDTHS]
        candidates = np.unique(np.concatenate([uniform, *near]), axis=0)
        gain = improvement(candidates)
        for _ in range(CLIMBS):
            top = candidates[np.argsort(-gain, kind="stable")[:_BEST]]
            found = self._near(Kernels(self.space, min(WIDTHS), top), past, rng)
            candidates = np.concatenate([top, found])
            gain = improvement(candidates)
        return tuple(candidates[np.argmax(gain)].tolist())

    def _encode(self, rows: Rows) -> NDArray[np.float64]:
        """Numbers from 0 to 1; one column for each of the other choices."""
        columns: list[NDArray[np.float64]] = []
        for d, dim in enumerate(self.space.dims):
            if dim.is_ordered:
                columns.append(positions(dim.values, dim.log)[rows[:, d]][:, None])
            else:
                columns.append(np.eye(len(dim))[rows[:, d]])
        return np.concatenate(columns, axis=1)


SAMPLER = ("gp", FeasibleGPSampler)

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
            kernel + WhiteKernel(0.1, (1e-4, 1.0)), random_state=self.seed, normalize_y=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a length scale at its bound: harmless
            process.fit(x, y)
        best = Kernels(self.space, self._width(_BEST), past.rows[order[:_BEST]])
        candidates = np.concatenate([uniform, self._near(best, past, rng)])
        mean, deviation = process.predict(self._encode(candidates), return_std=True)
        z = (mean - y.max()) / np.maximum(deviation, 1e-9)
        improvement = deviation * (z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))
        return tuple(candidates[np.argmax(improvement)].tolist())

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

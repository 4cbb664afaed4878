"""Kernels around networks: the density of their mixture."""

from __future__ import annotations

import numpy as np
import pytest

from archspec.search.samplers import candidates
from archspec.search.samplers.candidates import Kernels
from archspec.search.space import Space
from tests.search.searches import space


def test_a_density_sums_to_one() -> None:
    little = Space(space())
    networks = little.all_rows()
    kernels = Kernels(little, 0.2, networks[:5])
    assert np.exp(kernels.log_density(networks)).sum() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("block", [1, 100, candidates._BLOCK])
def test_a_mixture_is_the_mean_of_its_kernels(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of them, and however many networks are looked at in one go."""
    monkeypatch.setattr(candidates, "_BLOCK", block)
    little = Space(space())
    networks = little.all_rows()
    centres = networks[np.random.default_rng(2).integers(0, len(networks), 40)]
    each = [Kernels(little, 0.2, centre[None]).log_density(networks) for centre in centres]
    found = Kernels(little, 0.2, centres).log_density(networks)
    assert found == pytest.approx(np.log(np.exp(each).mean(axis=0)), rel=1e-12)

"""AdamW, its schedule and its losses."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archspec.search.train.recipe import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101); weights of one axis (norms, biases, scales) do not decay."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    is_cuda = any(p.is_cuda for p in parameters)
    # one kernel for all weights on CUDA; elsewhere PyTorch's choice
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=recipe.peak_lr,
        fused=True if is_cuda else None,
    )


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Of a step counted from 1 over all epochs, with `steps` in each.

    It rises linearly to the highest one at the end of the warm-up, and falls along a cosine to
    `min_lr` at the last step.
    """
    warmup, last = round(recipe.warmup * steps), recipe.epochs * steps
    if step <= warmup:
        return recipe.peak_lr * step / warmup
    done = (step - warmup) / (last - warmup)
    half = (recipe.peak_lr - recipe.min_lr) / 2
    return recipe.min_lr + half * (1 + math.cos(math.pi * done))


def mixed_loss(
    logits_BK: Tensor, labels_B: Tensor, others_B: Tensor, weight: float, smoothing: float
) -> Tensor:
    """Mean cross entropy with smoothed labels, `weight` of them and the rest of the others."""
    loss = F.cross_entropy(logits_BK, labels_B, label_smoothing=smoothing)
    if weight == 1.0:
        return loss
    other = F.cross_entropy(logits_BK, others_B, label_smoothing=smoothing)
    return weight * loss + (1 - weight) * other

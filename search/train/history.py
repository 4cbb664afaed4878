"""What a training reports."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Epoch:
    """One epoch. Two are equal when they were trained alike, however long they took."""

    number: int
    """From 1."""
    accuracy: float
    """On held-out images, 0 to 1."""
    loss: float
    """Mean cross entropy on held-out images, in nats."""
    train_loss: float
    """Mean loss that was trained on; smoothed labels and mixup keep it above `loss`."""
    lr: float
    """Learning rate of the last step."""
    seconds: float = field(compare=False)
    """Wall time, with the evaluation."""
    images_per_second: float = field(compare=False)
    """Of the training alone."""


@dataclass(frozen=True)
class Result:
    """A training that came to its end."""

    history: tuple[Epoch, ...]
    micro_batch: int
    """Images per forward pass, after halvings for want of memory."""

    @property
    def accuracy(self) -> float:
        """Of the last epoch, on held-out images, 0 to 1."""
        return self.history[-1].accuracy

    @property
    def seconds(self) -> float:
        """Wall time of all epochs, those before a resume included."""
        return sum(epoch.seconds for epoch in self.history)

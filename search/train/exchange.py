"""What processes that train one network together tell each other. Alone, it costs nothing.

S images of a batch of B are this process's share.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Exchange:
    """Between the processes of one Fabric, after `fabric.launch()`.

    On CUDA, batch norm normalises by the statistics of the whole batch (SyncBatchNorm), as on one
    device. PyTorch has no such thing on the CPU: there each process normalises its share, and the
    running statistics are averaged before each evaluation.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.rank, self.size = fabric.global_rank, fabric.world_size
        self._fabric = fabric
        self._synced: list[nn.SyncBatchNorm] = []
        self._statistics: list[Tensor] = []

    def adopted(self, model: nn.Module) -> nn.Module:
        """The network to train: the same weights, with batch norm as it is done here."""
        if self.size == 1:
            return model
        if self._fabric.device.type == "cuda":
            convert: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
            synced = convert(model)
            self._synced = [m for m in synced.modules() if isinstance(m, nn.SyncBatchNorm)]
            groups: Callable[[int], tuple[Any, Any]] = torch.distributed.new_subgroups
            self._alone, _ = groups(1)
            return synced
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
                found = module.running_mean, module.running_var
                self._statistics += [tensor for tensor in found if tensor is not None]
        return model

    def share(self, count: int) -> range:
        """Which of `count` images are this process's; sizes differ by one at most."""
        return range(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def largest_share(self, count: int) -> int:
        """The most images that any process has of `count`."""
        return -(-count // self.size)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes."""
        return self._reduced(value, "mean")

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes."""
        return self._reduced(value, "sum")

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process."""
        if self.size == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self._fabric.device)) > 0)

    def average_statistics(self) -> None:
        """Make the running statistics of batch norm the same in all processes: their mean."""
        if not self._statistics:
            return
        flat = self.mean(torch.cat([tensor.flatten() for tensor in self._statistics]))
        parts = torch.split(flat, [tensor.numel() for tensor in self._statistics])
        for tensor, part in zip(self._statistics, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def held_back(self, net: Any, is_held: bool) -> contextlib.AbstractContextManager[None]:
        """Add up gradients here, without exchanging them yet."""
        if not is_held or self.size == 1:
            return contextlib.nullcontext()
        context: contextlib.AbstractContextManager[None] = self._fabric.no_backward_sync(net)
        return context

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Let batch norm tell the others nothing."""
        for module in self._synced:
            module.process_group = self._alone
        try:
            yield
        finally:
            for module in self._synced:
                module.process_group = None

    def _reduced(self, value: Tensor, how: str) -> Tensor:
        if self.size == 1:
            return value
        # of a copy: Fabric reduces in place
        reduced = self._fabric.all_reduce(value.detach().clone(), reduce_op=how)
        assert isinstance(reduced, Tensor)
        return reduced

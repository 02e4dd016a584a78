"""Training, beside the loop: several processes, each with batches of its own, and one gradient.

With W processes and A micro-batches, every step sees W · A batches and goes by the mean of their
gradients: two processes do what one does with twice the micro-batches. Which process sees which
batch is a function of the step, so that a run that was stopped goes on exactly.

Processes are started by `torchrun` (or `accelerate launch`); without it there is one. Each holds a
copy of the model (distributed data parallel), or, with `shard: true`, a part of every parameter,
which is gathered when its layer computes (FSDP2: Zhao et al., "PyTorch FSDP", VLDB 2023, in torch's
per-parameter form).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import nn

if TYPE_CHECKING:
    from vipe.training.method import Method


class Processes:
    """The processes of a run, seen from one of them.

    Args:
        accumulate: A, micro-batches of a step in each process.
        shard: Whether each holds a part of every parameter, in place of a copy.
    """

    def __init__(self, *, accumulate: int = 1, shard: bool = False) -> None:
        # Which parameters a step trains depends on the stage of the run. The buffers are the
        # language model's, alike everywhere, and statistics of norms, which are calibrated.
        copies = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
        # The others wait while the main one encodes; the usual half an hour is too short for that.
        patience = InitProcessGroupKwargs(timeout=timedelta(days=1))
        self._accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision="no",  # the recipe says what is computed in what
            kwargs_handlers=[copies, patience],
        )
        self.accumulate = accumulate
        self.shard = shard and self._accelerator.num_processes > 1
        self._root: Any = None

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self._accelerator.device

    @property
    def main(self) -> bool:
        """Whether this is the one that writes files and shows progress."""
        return self._accelerator.is_main_process

    @property
    def batches(self) -> int:
        """W · A: batches of a step, in all processes."""
        return self.accumulate * self._accelerator.num_processes

    def places(self, first: int, last: int) -> range:
        """Which batches this process sees in the steps from `first` up to `last`, in order."""
        begin = self._accelerator.process_index
        return range(
            first * self.batches + begin, last * self.batches, self._accelerator.num_processes
        )

    def main_first(self) -> AbstractContextManager[None]:
        """Let the main process go through a `with` block before the others enter it."""
        return self._accelerator.main_process_first()

    def place(self, method: Method) -> None:
        """Put a method on its device, and split its parameters if they are to be.

        Comes before its optimizer is made, which has to hold the parts.
        """
        method.to(self.device)
        if not self.shard:
            return
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.device.type, (self._accelerator.num_processes,))
        for layer in method.language.body.layers:
            fully_shard(layer, mesh=mesh)
        self._root = fully_shard(method, mesh=mesh)

    def joined(self, method: Method) -> nn.Module:
        """Return the method as all processes compute it together."""
        return method if self.shard else self._accelerator.prepare_model(method)

    @contextmanager
    def micro_batch(self, model: nn.Module, *, last: bool) -> Iterator[None]:
        """Let a micro-batch add to the gradients; with the last of a step they are everyone's."""
        with nullcontext() if last else self._accelerator.no_sync(model):
            yield

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of a micro-batch's share of the step."""
        (loss / self.accumulate).backward()

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Return the means over processes, which all have values of the same names."""
        numbers = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        found: Any = self._accelerator.reduce(numbers, "mean")
        return dict(zip(values, found.tolist(), strict=True))

    def wait(self) -> None:
        """Wait for all."""
        self._accelerator.wait_for_everyone()

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Hold what is trained whole, to look at it from outside of steps; all take part.

        The language model's layers gather themselves.
        """
        if self._root is None:
            yield
            return
        self._root.unshard()
        try:
            yield
        finally:
            self._root.reshard()

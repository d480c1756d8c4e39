"""How much to compute at once: by free memory, and less when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

FREE_DIVISOR = 4
"""At most the free memory divided by this is planned for."""
MOST_BYTES = {"cpu": 2**30, "cuda": 2**33}
"""Bytes beyond which larger batches are no faster."""
CGROUP = Path("/sys/fs/cgroup")


def planned_bytes(device: torch.device) -> int:
    """Bytes that activations may take."""
    return min(free_bytes(device) // FREE_DIVISOR, MOST_BYTES.get(device.type, MOST_BYTES["cpu"]))


def free_bytes(device: torch.device) -> int:
    """Free bytes of a device; for the CPU, of the machine or, if less, of the container."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    fields = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    free = next(int(field[1]) * 1024 for field in fields if field[0] == "MemAvailable:")
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
    except OSError:  # no container
        return free
    return free if limit == "max" else max(0, min(free, int(limit) - used))


class AllocatedBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes that operations inside it allocate for results, even if freed again."""

    total: int = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation; views and in-place operations allocate nothing."""
        result = func(*args, **(kwargs or {}))
        inputs = {each.untyped_storage().data_ptr() for each in _tensors((args, kwargs))}
        self.total += sum(
            each.nbytes
            for each in _tensors(result)
            if each.untyped_storage().data_ptr() not in inputs
        )
        return result


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


def in_batches(
    total: int, batch_size: int, run: Callable[[slice], Result]
) -> list[tuple[slice, Result]]:
    """``run`` on slices of at most ``batch_size`` rows, which is halved whenever memory runs out.

    Raises:
        RuntimeError, MemoryError: what ``run`` raises, unless smaller batches can avoid it.
    """
    done: list[tuple[slice, Result]] = []
    start = 0
    while start < total:
        rows = slice(start, min(start + batch_size, total))
        try:
            done.append((rows, run(rows)))
            start = rows.stop
            continue
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or rows.stop - rows.start == 1:
                raise
        # After the except clause the failed batch's tensors are freed.
        batch_size = (rows.stop - rows.start) // 2
        logger.warning("out of memory: continuing with batches of %d masked images", batch_size)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return done


OUT_OF_MEMORY = (
    "can't allocate memory",  # torch's CPU allocator
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",  # the driver, beside torch's allocator
)
"""Texts of a ``RuntimeError`` where those who ran out of memory have no type of their own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)

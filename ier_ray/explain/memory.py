"""How much to compute at once: from free memory, and less when it runs out."""

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

FREE_SHARE = 4
"""At most one part in four of the free memory is planned for."""
ENOUGH = {"cpu": 2**30, "cuda": 2**33}
"""Bytes beyond which more at once is no faster."""
CGROUP = Path("/sys/fs/cgroup")


def planned_bytes(device: torch.device) -> int:
    """Bytes that activations may take."""
    return min(free_bytes(device) // FREE_SHARE, ENOUGH.get(device.type, ENOUGH["cpu"]))


def free_bytes(device: torch.device) -> int:
    """Free memory of a device; of the machine, or the container's share of it, for the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    fields = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    free = next(int(field[1]) * 1024 for field in fields if field[0] == "MemAvailable:")
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
    except OSError:  # no container
        return free
    return free if limit == "max" else max(0, min(free, int(limit) - used))


class AllocatedBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what the operations inside it allocate for their results, freed again or not."""

    total: int = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation; views and changes in place allocate nothing."""
        made = func(*args, **(kwargs or {}))
        there = {each.untyped_storage().data_ptr() for each in _tensors((args, kwargs))}
        self.total += sum(
            each.nbytes for each in _tensors(made) if each.untyped_storage().data_ptr() not in there
        )
        return made


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


def in_batches(
    total: int, batch_size: int, run: Callable[[slice], Result]
) -> list[tuple[slice, Result]]:
    """``run`` on slices of at most ``batch_size`` rows; half as many whenever memory runs out.

    Raises:
        RuntimeError: of ``run`` itself; when memory runs out for a single row, that error.
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
        # Out here the failed batch's tensors are gone.
        batch_size = (rows.stop - rows.start) // 2
        logger.warning("out of memory: going on with batches of %d masked images", batch_size)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return done


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; torch's CPU allocator has no type of its own."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)

"""Peak memory of a training process with configs/paper.yaml: of steps, saving and resuming.

Steps: each row is a process of its own: the pair of networks at full width, Adam, two images per
domain, two steps (the first creates Adam's moments, the second needs all memory at once), on the
CPU. ``worker`` wraps the model as training workers do: its gradients are views of DDP's buckets.
Beside it are ``ddp_default``, which keeps a copy of the gradients, and ``one_process`` without DDP.

Saving and resuming: the most that the process held beyond the training state (weights and Adam's
moments), beside a way that has whole files in memory. Resident memory is counted: what the process
allocated and the pages of files that it mapped, not the system's cache of files that it read or
wrote.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import io
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.distributed
from subjects.checkpoints import untrained_manifest
from subjects.memory import in_new_process
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ier_ray import storage
from ier_ray.config import parse_settings, read_settings_file
from ier_ray.data.provenance import SeenRows
from ier_ray.emotions import FOUR
from ier_ray.models import build_joint_model
from ier_ray.models.joint import JointModel
from ier_ray.training.checkpoint import save_checkpoint
from ier_ray.training.context import LocalContext
from ier_ray.training.schedule import epoch_passes
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import TrainState, start
from ier_ray.training.step import DeviceBatch, optimizer_step

CONFIG = Path(__file__).parent.parent / "configs" / "paper.yaml"
BATCH, STEPS = 2, 2
GIB = 2**30


def as_worker(model: nn.Module) -> nn.Module:
    from ier_ray.cluster.worker import DDP_OPTIONS  # noqa: PLC0415 (Ray: most rows need none)

    return DistributedDataParallel(model, **DDP_OPTIONS)


WRAPS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "worker": as_worker,
    "ddp_default": DistributedDataParallel,
    "one_process": lambda model: model,
}


class Wrapping(LocalContext):
    """One process that wraps the model in one of several ways."""

    how: str = "one_process"

    def wrap(self, model: nn.Module) -> nn.Module:
        return WRAPS[self.how](model)


def paper_settings(width: float) -> TrainSettings:
    values = read_settings_file(str(CONFIG))
    values["optimizer"]["batch_size"] = BATCH
    values["model"]["width"] = width
    values["schedule"]["pretrained"] = None  # these weights fill existing tensors: no more memory
    return parse_settings(TrainSettings, values, source=str(CONFIG))


def measure(how: str, width: float) -> dict[str, Any]:
    """Train in this process, which must be a new one: its peak memory is the result."""
    settings = paper_settings(width)
    with tempfile.TemporaryDirectory() as directory:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{directory}/store", rank=0, world_size=1
        )
        context = Wrapping(Path(directory))
        context.how = how
        state = start(settings, FOUR, context)
        loss = epoch_passes(settings, settings.schedule.warmup_epochs)[0]
        size = settings.model.image_size
        before = resident()
        started = time.perf_counter()
        for _ in range(STEPS):
            images, labels = torch.randn(2, BATCH, 3, size, size), torch.randint(4, (2, BATCH))
            batch = DeviceBatch(images[0], labels[0], images[1], labels[1])
            (parts,) = optimizer_step(state, loss, [batch], settings.optimizer, count=1)
        seconds = (time.perf_counter() - started) / STEPS
        torch.distributed.destroy_process_group()
    return {
        "weights": sum(p.numel() for p in state.model.parameters()),
        "before": before,
        "peak": resident(),
        "seconds": seconds,
        "loss": float(parts.total),
    }


def resident() -> int:
    """Peak resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def save_in_memory(directory: Path, model: JointModel, state: dict[str, Any]) -> None:
    """As :func:`save_checkpoint`, by the libraries' functions that make whole files in memory."""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    weights = safetensors.torch.save(tensors)
    storage.write_bytes(f"{directory}/model.safetensors", weights)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    storage.write_bytes(f"{directory}/trainer_state.pt", buffer.getvalue())


def resume_in_memory(directory: Path, settings: TrainSettings) -> TrainState:
    """Build the training state and fill it from files read whole, by way of a second model."""
    trained = start(settings, FOUR, LocalContext(directory / "none"))
    saved = build_joint_model(settings.model, num_classes=len(FOUR.classes))
    saved.load_state_dict(
        safetensors.torch.load(storage.read_bytes(f"{directory}/model.safetensors"))
    )
    trained.model.load_state_dict(saved.state_dict())
    state = io.BytesIO(storage.read_bytes(f"{directory}/trainer_state.pt"))
    trained.optimizer.load_state_dict(torch.load(state, weights_only=True)["optimizer"])
    return trained


def resume(directory: Path, settings: TrainSettings) -> TrainState:
    """As a worker does."""
    trained = start(settings, FOUR, LocalContext(directory.parent))
    if trained.progress.epoch != 1:
        raise RuntimeError(f"{directory}: was not resumed")
    return trained


def measure_saving(directory: str, width: float) -> dict[str, dict[str, float]]:
    """Both ways of saving, in this process; files stay in the directory."""
    settings = paper_settings(width)
    trained = start(settings, FOUR, LocalContext(Path(directory)))
    for parameter in trained.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    trained.optimizer.step()  # makes the moments
    trained.optimizer.zero_grad(set_to_none=True)
    manifest = untrained_manifest(
        settings.model, normalization=settings.data.normalization, epoch=1, step=1
    )
    state = {"optimizer": trained.optimizer.state_dict(), "epoch": 1, "step": 1, "history": []}
    target = Path(directory) / "last"
    ways: dict[str, Callable[[], None]] = {
        "save_in_memory": lambda: save_in_memory(target, trained.model, state),
        "save": lambda: save_checkpoint(target, trained.model, manifest, state, SeenRows.none()),
    }
    found = {}
    for how, save in ways.items():
        with PeakMemory() as peak:
            save()
        found[how] = {"extra": peak.extra, "seconds": peak.seconds}
    found["save"]["file"] = max(file.stat().st_size for file in target.iterdir())
    return found


def measure_resuming(directory: str, width: float) -> dict[str, dict[str, float]]:
    """Both ways of resuming from ``directory/last``, in this process; ours first, unwarmed."""
    settings = paper_settings(width)
    found = {}
    for how, way in (("resume", resume), ("resume_in_memory", resume_in_memory)):
        with PeakMemory() as peak:
            trained = way(Path(directory) / "last", settings)
        tensors = [*trained.model.state_dict().values()]
        for moments in trained.optimizer.state.values():
            tensors += moments.values()
        state = sum(tensor.nbytes for tensor in tensors)
        found[how] = {"extra": peak.extra - state, "seconds": peak.seconds}
        del trained, tensors, moments
    return found


class PeakMemory:
    """The most resident memory while a block runs, beyond that at its begin, and its seconds."""

    def __enter__(self) -> PeakMemory:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # freed memory that is still held would hide new memory
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        self._before = self._read("VmRSS")
        self._started = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        self.seconds = time.perf_counter() - self._started
        self.extra = self._read("VmHWM") - self._before

    def _read(self, name: str) -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        raise LookupError(name)


def checkpoint_rows(width: float) -> dict[str, dict[str, float]]:
    """Saving and resuming, printed; each by its name."""
    with tempfile.TemporaryDirectory() as directory:
        found = in_new_process(measure_saving, directory, width)
        found |= in_new_process(measure_resuming, directory, width)
    largest = found["save"]["file"]
    print(f"beyond the training state, the largest file being {largest / GIB:.2f} GiB")
    print(f"{'':<18}{'peak GiB':>9}{'of the file':>13}{'s':>7}")
    for how, row in found.items():
        row["of_file"] = row["extra"] / largest
        print(f"{how:<18}{row['extra'] / GIB:>9.2f}{row['of_file']:>13.2f}{row['seconds']:>7.1f}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the width, under 50 s")
    width = 0.25 if parser.parse_args().quick else 1.0
    print(f"{CONFIG.name}, width {width:g}, {BATCH} images of each domain, float32, CPU")
    print(f"{'':<14}{'peak GiB':>9}{'bytes/weight':>14}{'s/step':>8}{'loss':>8}", flush=True)
    found = {}
    for how in WRAPS:
        row = found[how] = in_new_process(measure, how, width)
        print(
            f"{how:<14}{row['peak'] / GIB:>9.2f}{row['peak'] / row['weights']:>14.1f}"
            f"{row['seconds']:>8.1f}{row['loss']:>8.3f}",
            flush=True,
        )
    checkpoints = checkpoint_rows(width)
    record = {
        "weights": found["worker"]["weights"],
        **{f"{how}_peak_gib": row["peak"] / GIB for how, row in found.items()},
        "floor_gib": 16 * found["worker"]["weights"] / GIB,
        "ratio": found["worker"]["peak"] / found["ddp_default"]["peak"],
        "largest_file_gib": checkpoints["save"]["file"] / GIB,
        **{f"{how}_extra_gib": row["extra"] / GIB for how, row in checkpoints.items()},
        **{f"{how}_extra_of_file": row["of_file"] for how, row in checkpoints.items()},
        **{f"{how}_s": row["seconds"] for how, row in checkpoints.items()},
        "batch_size": BATCH,
        "width": width,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()

"""Two ranks without Ray: the same weights as one process with all their images."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed
from support.steps import RANKS, descending, double_batches, train_state, weights_after
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from ier_ray.data.streams import Batch, JointBatch
from ier_ray.losses import JointLoss
from ier_ray.training.context import LocalContext, share_buffers
from ier_ray.training.initialization import initialize_new_layers
from ier_ray.training.meters import gathered
from ier_ray.training.optimization import freeze_trunks
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import TrainState

LOSSES = {
    "same_image": JointLoss(balance=2.0, regularization=0.01),
    "mcd": JointLoss(balance=2.0, mode="mcd"),
    "dann": JointLoss(balance=2.0, mode="dann"),
    "frozen": JointLoss(balance=2.0, gradient="ier"),
}


def prepared(name: str) -> TrainState:
    """The train state of a case."""
    state = descending(LOSSES[name].mode)
    if name == "frozen":
        freeze_trunks(state.model)
    return state


def run_rank(rank: int, directory: str) -> None:
    """Every loss, then batch normalization: starting two processes takes longest."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{directory}/store", rank=rank, world_size=RANKS
    )
    for name in LOSSES:
        torch.save(train_rank(rank, name), f"{directory}/{name}-{rank}.pt")
    torch.save(run_batch_norm(rank, directory), f"{directory}/batch_norm-{rank}.pt")
    torch.save(run_initialization(rank, directory), f"{directory}/initialization-{rank}.pt")
    torch.save(run_gathering(rank, directory), f"{directory}/gathered-{rank}.pt")
    torch.distributed.barrier()  # else a rank may leave while the other still communicates
    os._exit(0)  # without tearing torch's threads down, which aborts the process now and then


def train_rank(rank: int, name: str) -> dict[str, Tensor]:
    """Every second batch of four images, two of them a step."""
    plain = prepared(name)
    trained = replace(plain, wrapped=DistributedDataParallel(plain.model))
    return weights_after(trained, LOSSES[name], double_batches(12, 4)[rank::RANKS], accumulate=2)


class GlooRank(LocalContext):
    """A rank of a plain process group."""

    def sum(self, tensor: Tensor) -> Tensor:
        torch.distributed.all_reduce(tensor)
        return tensor


def run_batch_norm(rank: int, directory: str) -> list[dict[str, Tensor]]:
    """Train batch normalization on data of the rank's own; its buffers before and after sharing."""
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    wrapped = DistributedDataParallel(model)
    generator = torch.Generator().manual_seed(rank)
    for _ in range(2):
        wrapped(torch.randn(8, 4, generator=generator)).sum().backward()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    share_buffers(model, GlooRank(Path(directory), rank=rank, world_size=RANKS))
    return [before, dict(model.named_buffers())]


def run_initialization(rank: int, directory: str) -> dict[str, Tensor]:
    """New layers scaled by images of the rank's own."""
    generator = torch.Generator().manual_seed(rank)
    pixels = torch.randint(256, (8, 32, 32, 3), generator=generator, dtype=torch.uint8)
    batch = Batch(pixels, torch.zeros(8, dtype=torch.int64))
    values = {"data": {"fer": "a", "ier": "b"}, "model": {"image_size": 32, "width": 0.05}}
    model = train_state().model
    initialize_new_layers(
        model,
        TrainSettings.model_validate(values),
        [JointBatch(batch, batch)],
        GlooRank(Path(directory), rank=rank, world_size=RANKS),
    )
    return model.state_dict()


def run_gathering(rank: int, directory: str) -> list[Tensor]:
    """Rows of all ranks where each has some, and where the last one has none."""
    context = GlooRank(Path(directory), rank=rank, world_size=RANKS)
    some = [torch.full((rows, 3), float(rank)) for rows in ((2, 1), (4,))[rank]]
    return [gathered(some, context), gathered(some if rank == 0 else [], context)]


@pytest.fixture(scope="module")
def saved_by_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes that train together leave."""
    directory = tmp_path_factory.mktemp("ranks")
    spawn(run_rank, (str(directory),), nprocs=RANKS)
    return directory


@pytest.mark.parametrize("name", LOSSES)
def test_two_ranks_of_two_batches_are_one_process_with_all_sixteen_images(
    name: str, saved_by_ranks: Path
) -> None:
    first, second = (torch.load(saved_by_ranks / f"{name}-{rank}.pt") for rank in range(RANKS))
    start = weights_after(prepared(name), LOSSES[name], [], accumulate=1)
    alone = weights_after(prepared(name), LOSSES[name], double_batches(3, 16), accumulate=1)
    for weight, expected in alone.items():
        torch.testing.assert_close(first[weight], second[weight], rtol=0, atol=0, msg=weight)
        torch.testing.assert_close(first[weight], expected, rtol=0, atol=1e-9, msg=weight)
        if name == "frozen" and ".features." in weight:
            assert torch.equal(expected, start[weight])
        else:
            assert (expected - start[weight]).abs().max() > 1e-4


def test_ranks_validate_with_the_running_statistics_of_the_checkpoint(
    saved_by_ranks: Path,
) -> None:
    (saved, first), (other, second) = (
        torch.load(saved_by_ranks / f"batch_norm-{rank}.pt") for rank in range(RANKS)
    )
    assert set(saved) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert (saved["1.running_mean"] - other["1.running_mean"]).abs().max() > 1e-3
    for name, expected in saved.items():
        torch.testing.assert_close(first[name], expected, rtol=0, atol=0, msg=name)
        torch.testing.assert_close(second[name], expected, rtol=0, atol=0, msg=name)


def test_every_rank_gets_the_rows_of_all_in_order(saved_by_ranks: Path) -> None:
    expected = torch.tensor([0.0] * 3 + [1.0] * 4)[:, None].expand(7, 3)
    for rank in range(RANKS):
        both, one = torch.load(saved_by_ranks / f"gathered-{rank}.pt")
        assert torch.equal(both, expected)
        assert torch.equal(one, torch.zeros(3, 3))


def test_ranks_start_with_the_new_layers_that_the_first_one_scaled(saved_by_ranks: Path) -> None:
    first, second = (
        torch.load(saved_by_ranks / f"initialization-{rank}.pt") for rank in range(RANKS)
    )
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    drawn = train_state().model.state_dict()
    assert not torch.equal(first["ier.classifier.6.weight"], drawn["ier.classifier.6.weight"])

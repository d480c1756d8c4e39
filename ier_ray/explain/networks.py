"""Networks of any origin: private copies, what their output must be, and what calling them shows.

An explanation calls a network with many masked images. That is right only if a row of its output
depends on nothing but that row's image: not on chance, not on earlier calls, not on other rows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ier_ray.errors import NetworkError
from ier_ray.explain.memory import is_out_of_memory

Network = Callable[[Tensor], Tensor]
"""Maps images ``(M, C, H, W)`` to logits ``(M, K)``."""

FORWARD = RLock()
"""Held while a network is traced, and while other threads call one: tracing replaces the call of
every module in the process, so calls in other threads would become part of the trace."""

UNUSUAL = 8.0
"""Values of images that may disturb others in a batch, over the image's largest."""


def private_copy(network: nn.Module) -> nn.Module:
    """A copy that can be called and traced without any effect on the network.

    Modules and buffers are copied. Parameters share their numbers with the network's, which
    :func:`examine` keeps from being overwritten.

    Raises:
        NetworkError: when it cannot be copied, is in training mode or is not initialized.
    """
    require_ready(network)
    parameters = list(network.parameters())
    computed = [  # weights that old weight_norm or pruning computed, which deepcopy refuses
        value
        for module in network.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    ]
    try:
        memo: dict[int, Any] = {id(each): each.detach().clone() for each in computed}
        memo |= {id(each): nn.Parameter(each.detach(), each.requires_grad) for each in parameters}
        return copy.deepcopy(network, memo)
    except Exception as error:  # attributes of the user's classes may raise anything
        raise NetworkError(
            f"the network cannot be copied ({in_one_line(error)}), and explaining runs a copy to "
            f"leave it as it is: remove what copy.deepcopy cannot copy, or run the network itself "
            f"with DenseEvaluator(..., batch_size=1)"
        ) from error


def require_ready(network: object) -> None:
    """Raise NetworkError unless a network is a module, initialized and in eval mode."""
    if not isinstance(network, nn.Module):
        raise NetworkError(
            f"the network must be a torch.nn.Module, got {type(network).__name__}: "
            f"run other functions of images with DenseEvaluator"
        )
    for name, parameter in network.named_parameters():
        if nn.parameter.is_lazy(parameter):
            raise NetworkError(
                f"parameter {name} of the network is not initialized: call it with an image first"
            )
    training = [name for name, module in network.named_modules() if _is_training(module)]
    if training:
        raise NetworkError(
            f"the network is in training mode: call .eval() first "
            f"({len(training)} modules are, the first is {training[0] or 'the network itself'})"
        )


def _is_training(module: nn.Module) -> bool:
    """Whether a module runs in training mode; graphs and bare containers never read their flag."""
    graph = type(module).__module__.startswith(("torch.fx.", "torch.export."))
    reads = not graph and type(module) is not nn.Module
    return reads and getattr(module, "training", False)  # frozen TorchScript has none


def logits_of(network: Network, images: Tensor) -> Tensor:
    """Logits ``(M, K)`` of images ``(M, C, H, W)``, which the network gets contiguous.

    Raises:
        NetworkError: when the network fails, or returns anything else.
        RuntimeError, MemoryError: when memory runs out.
    """
    shape = tuple(images.shape)  # the network may change its input in place
    try:
        output = network(images.contiguous())
    except NetworkError:
        raise
    except Exception as error:  # the user's code may raise anything
        if is_out_of_memory(error):
            raise
        raise NetworkError(
            f"the network fails on {images.dtype} images of shape {shape}: {in_one_line(error)}"
        ) from error
    return as_logits(output, shape[0])


def in_one_line(error: Exception) -> str:
    """An error of other people's code: its type and the first line of its message."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def as_logits(output: object, rows: int) -> Tensor:
    """A network's output for ``rows`` images, if it is logits ``(rows, K)``.

    Raises:
        NetworkError: when it is not; the message says what it is.
    """
    if not isinstance(output, Tensor):
        raise NetworkError(
            f"the network must return logits (images, classes) as one tensor, got "
            f"{type(output).__name__}: wrap it in a module that returns the logits alone"
        )
    found = f"{output.dtype} of shape {tuple(output.shape)} for {rows} images"
    if output.dim() != 2 or output.shape[0] != rows or not output.shape[1]:
        raise NetworkError(
            f"the network must return logits (images, classes), got {found}: "
            f"wrap it in a module that returns one row of logits for each image"
        )
    if not output.is_floating_point():
        raise NetworkError(f"the network must return logits, which are real numbers, got {found}")
    return output


@dataclass(frozen=True)
class Examined:
    """What calling a network showed.

    Attributes:
        logits: ``(P, K)``; of each image, called alone.
        independent: whether each row of a batch is what the network says of its image alone.
    """

    logits: Tensor
    independent: bool


@torch.inference_mode()
def examine(network: Network, images: Tensor, *, batches: bool = True) -> Examined:
    """Call a network on images ``(P, C, H, W)``: each alone, the first again, one with others.

    A module is copied first: what it keeps of these images goes with the copy.

    Args:
        batches: whether to try batches; without, ``independent`` is False.

    Raises:
        NetworkError: when it cannot be copied, fails, does not return logits, changes its
            parameters, draws random numbers, or gives the first image other logits.
    """
    if isinstance(network, nn.Module):
        network = private_copy(network)
    with torch.random.fork_rng(_cuda_devices(images)):
        before = _random_states(images)
        with _Unchanged(network):
            first = logits_of(network, images[:1].clone())
        rest = [logits_of(network, images[i : i + 1].clone()) for i in range(1, len(images))]
        again = logits_of(network, images[:1].clone())
        drawn = not all(map(torch.equal, before, _random_states(images)))
    if drawn or not agree(first, again):
        raise NetworkError(
            "the network's output is not determined by its image: "
            + ("it draws random numbers" if drawn else "two calls with one image differ")
            + " (noise or dropout in forward, or state that is kept from call to call); "
            "explain a network without that"
        )
    logits = torch.cat([first, *rest])
    return Examined(logits, batches and _independent(network, images, logits))


def _independent(network: Network, images: Tensor, logits: Tensor) -> bool:
    """Whether the last image has the same logits in a batch with each of several others."""
    try:
        return all(
            agree(logits_of(network, torch.cat([other, images[-1:]]))[1:], logits[-1:])
            for other in _disturbing(images)
        )
    except (NetworkError, RuntimeError, MemoryError):  # it takes single images only
        return False


def _disturbing(images: Tensor) -> Iterator[Tensor]:
    """Images ``(1, C, H, W)`` whose influence on others shows: no numbers, very bright, very dark.

    What is computed from one that is not a number is no number either, however small its part.
    """
    noise = torch.linspace(0.5, 1, images[0].numel(), dtype=torch.float64).view_as(images[:1])
    bright = noise.to(images) * UNUSUAL * (1 + images.abs().max())
    yield from (torch.full_like(bright, torch.nan), bright, -bright)


def agree(found: Tensor, expected: Tensor) -> bool:
    """Whether logits agree up to rounding in their precision, relative to the largest."""
    if found.shape != expected.shape:
        return False
    scale = float(expected.nan_to_num(0, 0, 0).abs().max())
    tolerance = torch.finfo(expected.dtype).eps ** 0.5 * scale
    return torch.allclose(found, expected, rtol=0, atol=tolerance, equal_nan=True)


def _cuda_devices(images: Tensor) -> list[torch.device]:
    return [images.device] if images.is_cuda else []


def _random_states(images: Tensor) -> list[Tensor]:
    return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, _cuda_devices(images))]


class _Unchanged(TorchDispatchMode):
    """Refuses operations that would overwrite a network's parameters."""

    def __init__(self, network: object) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        named = network.named_parameters() if isinstance(network, nn.Module) else ()
        self._names = {each.untyped_storage().data_ptr(): name for name, each in named if len(each)}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Collection[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation that overwrites none of them."""
        given = dict(kwargs or {})
        for index, argument in enumerate(func._schema.arguments):
            value = args[index] if index < len(args) else given.get(argument.name)
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and isinstance(value, Tensor):
                name = self._names.get(value.untyped_storage().data_ptr())
                if name is not None:
                    raise NetworkError(
                        f"the network overwrites its parameter {name} whenever it is called: "
                        f"explain a copy of it whose forward leaves parameters as they are"
                    )
        return func(*args, **given)

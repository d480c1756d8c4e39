"""Features of any layer of a network, one vector per image."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from torch import Tensor, nn

from ier_ray.errors import SettingsError
from ier_ray.models.classifier import EmotionClassifier
from ier_ray.models.joint import last_dense

Pool = Literal["mean", "flatten"]


def layer_features(
    network: EmotionClassifier, inputs: Tensor, *, layer: str | None = None, pool: Pool = "mean"
) -> Tensor:
    """The output of a layer ``(N, d)`` for a batch of inputs.

    Args:
        inputs: normalized images ``(N, 3, S, S)``; for caption_bert token ids ``(N, L)``.
        layer: name as in ``network.named_modules()``; by default the features are the *input* of
            the last dense layer.
        pool: ``mean`` over the positions of a map or the tokens of a sequence, or ``flatten``.

    Raises:
        SettingsError: when there is no such layer, it does not run exactly once in a forward pass,
            or its output has no vector per image.
    """
    seen: list[Tensor] = []

    def keep_input(_: nn.Module, given: tuple[Any, ...]) -> None:
        seen.append(_vectors(network, given[0], "the last dense layer's input", len(inputs), pool))

    def keep_output(_module: nn.Module, _given: tuple[Any, ...], output: Any) -> None:
        seen.append(_vectors(network, output, f"layer {layer!r}", len(inputs), pool))

    if layer is None:
        hook = last_dense(network).register_forward_pre_hook(keep_input)
    else:
        hook = layer_named(network, layer).register_forward_hook(keep_output)
    try:
        network(inputs)
    finally:
        hook.remove()
    return ran_once(layer, seen)


def ran_once(layer: str | None, seen: list[Tensor]) -> Tensor:
    """What was seen of a layer in a forward pass.

    Raises:
        SettingsError: when it did not run exactly once.
    """
    if len(seen) != 1:
        raise SettingsError(
            f"layer {layer!r} runs {len(seen)} times in a forward pass; "
            f"choose one that runs once, such as the block around it"
        )
    return seen[0]


def layer_named(network: nn.Module, layer: str) -> nn.Module:
    """The layer of a name.

    Raises:
        SettingsError: when there is none, with the nearest names.
    """
    layers: dict[str, nn.Module] = dict(network.named_modules())
    del layers[""]  # the network itself
    if layer not in layers:
        inside = [name for name in layers if name.endswith(f".{layer}")]
        near = (inside + difflib.get_close_matches(layer, layers, n=3))[:3]
        hint = f"did you mean {', '.join(near)}?" if near else f"they begin with {_tops(network)}"
        raise SettingsError(f"layer {layer!r} is not one of the network's {len(layers)}; {hint}")
    return layers[layer]


def _tops(network: nn.Module) -> str:
    return ", ".join(name for name, _ in network.named_children())


def _vectors(network: nn.Module, output: Any, what: str, images: int, pool: Pool) -> Tensor:
    """A copy as vectors ``(N, d)``: the next layer may overwrite the output in place."""
    given = one_per_image(output, what, images)
    if pool == "flatten" or given.dim() == 2:
        return given.flatten(1).clone()
    if given.dim() == 3:
        return given.mean(1)  # tokens come before channels
    return given.mean(_positions(network, given, what))


def one_per_image(output: Any, what: str, images: int) -> Tensor:
    """A layer's output, which has numbers for each image.

    Raises:
        SettingsError: when it is not one tensor, or has none.
    """
    if not isinstance(output, Tensor) or output.dim() < 2 or len(output) != images:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise SettingsError(
            f"{what} gives {shape}, not one tensor for each of {images} images; choose another"
        )
    return output


def _positions(network: nn.Module, maps: Tensor, what: str) -> tuple[int, int]:
    """Axes of the positions of square maps: swin's have their channels last."""
    first, second, third = maps.shape[1:]
    normalizes_channels = any(isinstance(module, nn.LayerNorm) for module in network.modules())
    if first == second == third and normalizes_channels:
        raise SettingsError(
            f"{what} gives maps of {first} channels and as many rows, which cannot be told apart; "
            f"use pool flatten"
        )
    return (1, 2) if first == second != third else (2, 3)

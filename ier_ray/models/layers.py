"""Outputs of several layers in one forward pass; for each architecture, layers along its depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from ier_ray.models.captions import PADDING
from ier_ray.models.classifier import EmotionClassifier
from ier_ray.models.features import layer_named, one_per_image, ran_once

INPUT = ".input"
"""Ends the name of what a layer reads; without it, a name means what the layer gives."""
LOGITS = "logits"
"""What the network gives."""

VGG_POOLS = ("features.4", "features.9", "features.16", "features.23", "features.30")
DEFAULT_LAYERS: dict[str, tuple[str, ...]] = {
    "emotion_net": (
        *VGG_POOLS,
        *(f"branches.{index}" for index in range(4)),
        "classifier.0.input",  # the concatenation
        "classifier.1",
        "classifier.4",
    ),
    "vgg16": (
        *(f"network.{name}" for name in VGG_POOLS),
        "network.classifier.1",
        "network.classifier.4",
    ),
    "alexnet": (
        "network.features.2",
        "network.features.5",
        "network.features.12",
        "network.classifier.2",
        "network.classifier.5",
    ),
    "resnet": (
        "network.maxpool",
        *(f"network.layer{index}" for index in range(1, 5)),
        "network.avgpool",
    ),
    "efficientnet": (*(f"network.features.{index}" for index in range(9)), "network.avgpool"),
    "deep_emotion": ("network.features.3", "network.features.7", "network.classifier.2"),
    "vit": (
        *(f"network.encoder.layers.encoder_layer_{index}" for index in range(12)),
        "network.encoder.ln",
    ),
    "swin": (*(f"network.features.{index}" for index in (1, 3, 5, 7)), "network.flatten"),
    "caption_bert": tuple(f"network.bert.encoder.layer.{index}" for index in range(12)),
}
"""For each architecture, layers from the first to the last; the logits follow."""


def default_layers(architecture: str) -> tuple[str, ...]:
    """The layers of an architecture, in the order of the forward pass, and the logits."""
    return (*DEFAULT_LAYERS[architecture], LOGITS)


def layer_outputs(
    network: EmotionClassifier, inputs: Tensor, layers: Sequence[str]
) -> dict[str, Tensor]:
    """What layers give for a batch, ``(N, d)`` each, by their names.

    Maps are flattened, never pooled: scores of pooled maps are others. Of a caption's tokens the
    mean is taken over those that are no padding.

    Args:
        inputs: as the network reads them.
        layers: names as in ``network.named_modules()``, with ``.input`` for what a layer reads, or
            ``logits``.

    Raises:
        SettingsError: when a layer does not exist, does not run exactly once in a forward pass, or
            gives no numbers for each image.
    """
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}

    def keep(name: str) -> Callable[[Any], None]:
        return lambda given: seen[name].append(vectors(name, given, inputs))

    with ExitStack() as hooks:
        for name in seen:
            hooks.enter_context(watched(network, name, keep(name)))
        network(inputs)
    return {name: ran_once(name, found) for name, found in seen.items()}


@contextmanager
def watched(network: EmotionClassifier, name: str, keep: Callable[[Any], None]) -> Iterator[None]:
    """Call ``keep`` with what a layer gives or reads, whenever it runs.

    Raises:
        SettingsError: when there is no such layer.
    """

    def before(_: nn.Module, given: tuple[Any, ...]) -> None:
        keep(given[0])

    def after(_module: nn.Module, _given: tuple[Any, ...], output: Any) -> None:
        keep(output)

    if name == LOGITS:
        hook = network.register_forward_hook(after)
    elif name.endswith(INPUT):
        hook = layer_named(network, name.removesuffix(INPUT)).register_forward_pre_hook(before)
    else:
        hook = layer_named(network, name).register_forward_hook(after)
    try:
        yield
    finally:
        hook.remove()


def vectors(name: str, output: Any, inputs: Tensor) -> Tensor:
    """A layer's output as ``(N, d)``, copied: the next layer may overwrite it in place.

    Raises:
        SettingsError: when it is not one tensor with numbers for each image.
    """
    if isinstance(output, tuple) and len(output) == 1:  # a layer of transformers'
        (output,) = output
    given = one_per_image(output, f"layer {name!r}", len(inputs))
    if given.dim() == 3 and not inputs.is_floating_point():  # tokens of captions
        words = (inputs != PADDING).unsqueeze(2).to(given.dtype)
        return (given * words).sum(1) / words.sum(1).clamp(min=1)
    return given.flatten(1).clone()

"""Initial scale of the layers that pretrained weights do not fill, from the first batch.

He initialization expects inputs of unit variance. The maps of a pretrained trunk have any other
scale: the one of the data that its weights were trained on, and of their normalization.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ier_ray.data.schema import Domain
from ier_ray.data.streams import JointBatch
from ier_ray.models.classifier import EmotionClassifier
from ier_ray.models.joint import JointModel, last_dense
from ier_ray.training.context import TrainContext, share_tensors
from ier_ray.training.settings import TrainSettings

logger = logging.getLogger(__name__)

LOGIT_RMS = 0.1
"""Root mean square of the first logits: their cross-entropy is about ln K + LOGIT_RMS² / 2."""
SENSIBLE_RMS = (0.01, 100.0)
"""Root mean squares of a trunk's output within which its weights are believed to fit the images."""


def initialize_new_layers(
    model: JointModel, settings: TrainSettings, batches: Sequence[JointBatch], context: TrainContext
) -> None:
    """Scale the new layers of both networks by rank 0's first batches, each by its own domain's.

    Networks that start from a trained checkpoint stay as they are, and a copy of ``fer`` remains
    one. No label is read. Every rank calls it; all of them get rank 0's weights.
    """
    schedule = settings.schedule
    if not schedule.scale_new_layers:
        return
    kept: list[Domain] = []
    if schedule.fer_checkpoint is not None:
        kept.append("fer")
    if schedule.ier_start == "fer":
        kept.append("ier")
    domains = [domain for domain in settings.domains if domain not in kept]
    if context.rank == 0:
        inputs: dict[Domain, Tensor] = {}
        for domain in domains:
            pixels = torch.cat([getattr(joint, domain).images for joint in batches])
            inputs[domain] = settings.preprocessing.inputs(pixels.to(context.device))
        networks: dict[Domain, EmotionClassifier] = {d: getattr(model, d) for d in domains}
        if networks:
            initialize_networks(networks, inputs, settings)
        if schedule.ier_start == "fer" and "fer" in model.networks:
            model.ier.load_state_dict(model.fer.state_dict())
    share_tensors(model.parameters(), context)


def initialize_networks(
    networks: dict[Domain, EmotionClassifier], inputs: dict[Domain, Tensor], settings: TrainSettings
) -> None:
    """Scale each network's new layers by its own inputs.

    Pretrained trunks whose activations are out of any sensible range are named. Where their layers
    are a chain, they are scaled by the inputs of all networks, so that equal trunks remain equal;
    beside a network from a trained checkpoint, which is not scaled, they stay as they are.
    """
    met = [rms for d, network in networks.items() for rms in scale_new_layers(network, inputs[d])]
    strange = [rms for rms in met if not SENSIBLE_RMS[0] <= rms <= SENSIBLE_RMS[1]]
    if settings.schedule.pretrained is None or not strange:
        return
    scalable = all(map(math.isfinite, met)) and settings.schedule.fer_checkpoint is None
    chains = {d: network.pretrained_chain() if scalable else [] for d, network in networks.items()}
    logger.warning(
        "schedule.pretrained %s: the trunk's activations on the first batch have a root mean "
        "square of %.4g, expected are %g to %g: the weights were probably made for other inputs, "
        "such as pixels from 0 to 255 (Keras, Caffe) or another normalization than "
        "data.normalization %s. %s Set data.normalization to what the weights were made with "
        "(torchvision's: imagenet), or use other weights",
        settings.schedule.pretrained,
        strange[0],
        *SENSIBLE_RMS,
        settings.data.normalization,
        "The layers of the trunk are scaled to unit activations."
        if any(chains.values())
        else "They stay as they are.",
    )
    everything = torch.cat(list(inputs.values()))
    for domain, network in networks.items():
        if chains[domain]:
            scale_chain(network, chains[domain], everything)
            scale_new_layers(network, inputs[domain])


@torch.no_grad()
def scale_new_layers(network: EmotionClassifier, inputs: Tensor) -> list[float]:
    """Give each new layer's outputs zero mean and unit variance, and the logits a small scale.

    In forward order, as LSUV (Mishkin and Matas, *All you need is a good init*, 2016): a layer's
    weights are multiplied by one factor. Its biases center every unit, because the maps of a ReLU
    network have a mean that would otherwise be most of the variance. The last layer is scaled to
    logits of :data:`LOGIT_RMS` without being centered. A layer with constant or non-finite outputs
    stays as it is.

    Args:
        inputs: a first batch: normalized images ``(N, 3, S, S)``, or token ids.

    Returns:
        Root mean square of each new layer's input as it was met, in forward order.
    """
    filled = {id(parameter) for parameter in network.pretrained_parameters()}
    last = last_dense(network)
    seen: list[float] = []

    def scale(layer: Any, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        seen.append(root_mean_square(arguments[0]))
        if layer is last:
            mean, spread = output.new_zeros(1), root_mean_square(output) / LOGIT_RMS
        else:
            mean, spread = unit_statistics(layer, output)
        if not (math.isfinite(spread) and spread > 0):
            return output
        layer.weight /= spread
        layer.bias.sub_(mean.flatten()).div_(spread)
        return (output - mean) / spread

    with ExitStack() as hooks, as_trained(network):
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear) and id(layer.weight) not in filled:
                hooks.callback(layer.register_forward_hook(scale).remove)
        network.forward(inputs)  # not through __call__, which may be compiled
    return seen


def unit_statistics(layer: nn.Module, output: Tensor) -> tuple[Tensor, float]:
    """Mean of each unit or channel, and the root of the mean of their variances."""
    dims = (0, 2, 3) if isinstance(layer, nn.Conv2d) else tuple(range(output.ndim - 1))
    variance, mean = torch.var_mean(output, dim=dims, keepdim=True, correction=0)
    return mean, float(variance.mean().sqrt())


@torch.no_grad()
def scale_chain(network: EmotionClassifier, chain: Sequence[nn.Module], inputs: Tensor) -> None:
    """Give each layer of a chain of ReLU layers outputs with a root mean square of 1.

    Only the scale of the chain's activations changes: ReLU and pools commute with a positive
    factor, so each layer's biases are divided by the product of all factors before it.

    Args:
        chain: the layers in forward order (:meth:`EmotionClassifier.pretrained_chain`).
    """
    product = 1.0

    def divide_bias(layer: Any, _: object) -> None:
        layer.bias /= product

    def scale(layer: Any, _: object, output: Tensor) -> Tensor:
        nonlocal product
        factor = root_mean_square(output)
        if not (math.isfinite(factor) and factor > 0):
            return output
        layer.weight /= factor
        layer.bias /= factor
        product *= factor
        return output / factor

    with ExitStack() as hooks, as_trained(network):
        for layer in chain:
            hooks.callback(layer.register_forward_pre_hook(divide_bias).remove)
            hooks.callback(layer.register_forward_hook(scale).remove)
        network.forward(inputs)


@contextmanager
def as_trained(network: nn.Module) -> Iterator[None]:
    """A network in its own mode without dropout, and without a change of its running statistics."""
    modes = {module: module.training for module in network.modules()}
    kept = [(buffer, buffer.clone()) for buffer in network.buffers()]
    network.eval()
    for module, training in modes.items():
        if isinstance(module, _BatchNorm):
            module.train(training)
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for buffer, content in kept:
            buffer.copy_(content)


def root_mean_square(values: Tensor) -> float:
    """Root of the mean square of all elements."""
    return float(values.float().square().mean().sqrt())

"""Networks that incremental inference finds hard, and both ways through them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ier_ray.explain import (
    DenseEvaluator,
    IncrementalEvaluator,
    Masking,
)
from ier_ray.explain.evaluators import logit
from ier_ray.explain.incremental.tracing import trace


class Crooked(nn.Module):
    """Everything a window can meet: strides, dilation, groups, uneven kernels and paddings."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, (3, 5), stride=(1, 2), padding=(2, 1))
        self.norm = nn.BatchNorm2d(6)
        self.dilated = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=3, bias=False)
        self.pointwise = nn.Conv2d(6, 6, 1)
        self.overlapping = nn.MaxPool2d(3, stride=2, padding=1)
        self.mean = nn.AvgPool2d(2, stride=1)
        self.last = nn.Conv2d(12, 5, 2, stride=2)
        self.head = nn.Linear(5, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(M, 3)``."""
        first = functional.relu(self.norm(self.first(images)))
        added = self.dilated(first) + self.pointwise(first)
        pooled = self.overlapping(torch.cat([added, first], 1))
        return self.head(self.last(self.mean(pooled)).tanh().mean((2, 3)))


def prepared(network: nn.Module, *, seed: int = 0) -> nn.Module:
    """In eval mode and double precision, with running statistics of some data."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) / 5)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return network.double().eval()


def crooked() -> nn.Module:
    torch.manual_seed(0)
    return prepared(Crooked())


def images(height: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(height * width)
    image, baseline = torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64)
    return image, baseline


def both_ways(
    network: nn.Module, masking: Masking, height: int, width: int, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    image, baseline = images(height, width)
    incremental = IncrementalEvaluator(trace(network), image, baseline, logit, **options)
    return incremental(masking), DenseEvaluator(network, image, baseline, logit)(masking)

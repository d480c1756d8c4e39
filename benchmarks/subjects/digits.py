"""A small CNN on scikit-learn's digits (8x8 pixels, ten classes)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from sklearn.datasets import load_digits
from torch import Tensor, nn

TRAINING, EPOCHS, BATCH = 1400, 12, 64


def digits_images() -> tuple[Tensor, Tensor]:
    """Images ``(1797, 1, 8, 8)`` in [0, 1] and labels; the first 1400 are trained on."""
    digits = load_digits()
    return torch.tensor(digits.images / 16, dtype=torch.float32)[:, None], torch.tensor(
        digits.target
    )


def held_out_digits(count: int) -> list[tuple[Tensor, Tensor]]:
    """Images ``(1, 8, 8)`` that were not trained on, and their baseline: black."""
    images, _ = digits_images()
    return [(image, torch.zeros_like(image)) for image in images[TRAINING : TRAINING + count]]


def digits_network() -> tuple[nn.Module, float]:
    """The trained network and its held-out accuracy; a few seconds."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    images, labels = digits_images()
    for _ in range(EPOCHS):
        for rows in torch.randperm(TRAINING).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(network(images[rows]), labels[rows]).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        correct = network(images[TRAINING:]).argmax(1) == labels[TRAINING:]
    return network, correct.float().mean().item()

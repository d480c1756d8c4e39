"""What the two networks hand to the loss."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Compared = Literal["logits", "cross", "contested", "features", "domains"]
"""What a discrepancy compares, as a pair of the ``fer`` and the ``ier`` network's:

``logits``: logits, each network on its own domain. ``cross``: logits, both on the IER images.
``contested``: as ``cross``, with the gradient reversed between head and trunk.
``features``: inputs of the last dense layer, each network on its own domain. ``domains``: the
domain discriminator's logits of those features, gradient reversed.
"""


class JointOutputs(NamedTuple):
    """What one forward pass of both networks gives; logits are ``(batch, classes)``."""

    fer: Tensor
    """Logits of ``fer`` on the FER images."""
    ier: Tensor
    """Logits of ``ier`` on the IER images."""
    compared: tuple[Tensor, Tensor]
    """The pair that the discrepancy compares."""
    ier_on_fer: Tensor | None = None
    """Logits of ``ier`` on the FER images, where the loss needs them."""

    def in_full_precision(self) -> JointOutputs:
        """The same in float32 or better: losses are not computed in half precision."""
        first, second = self.compared
        return JointOutputs(
            full(self.fer),
            full(self.ier),
            (full(first), full(second)),
            None if self.ier_on_fer is None else full(self.ier_on_fer),
        )


def full(values: Tensor) -> Tensor:
    """Values of half precision as float32, others as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))

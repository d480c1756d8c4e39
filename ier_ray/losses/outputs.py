"""The outputs of the two networks that the loss reads."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Compared = Literal["logits", "cross", "contested", "features", "cross_features", "domains"]
"""The pair of tensors that a discrepancy compares, one of each network (``fer``, ``ier``):

``logits``: logits, each network on its own domain. ``cross``: logits, both on the IER images.
``contested``: as ``cross``, with the gradient reversed between head and trunk.
``features``: inputs of the last dense layer, each network on its own domain. ``cross_features``:
the same, both on the IER images. ``domains``: the domain discriminator's logits on ``features``,
with the gradient reversed.
"""


class JointOutputs(NamedTuple):
    """Outputs of one forward pass of both networks; logits are ``(batch, classes)``."""

    fer: Tensor
    """Logits of ``fer`` on the FER images."""
    ier: Tensor
    """Logits of ``ier`` on the IER images."""
    compared: tuple[Tensor, Tensor]
    """The pair that the discrepancy compares."""
    ier_on_fer: Tensor | None = None
    """Logits of ``ier`` on the FER images, where the loss needs them."""

    def in_full_precision(self) -> JointOutputs:
        """The same outputs in float32 or wider: losses are not computed in half precision."""
        first, second = self.compared
        return JointOutputs(
            at_least_float32(self.fer),
            at_least_float32(self.ier),
            (at_least_float32(first), at_least_float32(second)),
            None if self.ier_on_fer is None else at_least_float32(self.ier_on_fer),
        )


def at_least_float32(values: Tensor) -> Tensor:
    """Half-precision values as float32; others unchanged."""
    return values.to(torch.promote_types(values.dtype, torch.float32))

"""The paper's other wording of its discrepancy: at the last hidden layer, not at the outputs."""

from __future__ import annotations

from torch import Tensor


def hidden_discrepancy(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference of two networks' features of the same images.

    Args:
        first, second: features ``(B, d)``, the inputs of the last dense layer. ``B`` may be 0: the
            result is 0.

    Source: section 3.3, "specifically at the last hidden layer of the network", with the absolute
    difference of Eq. 3.
    """
    return (first - second).abs().sum() / max(1, first.numel())

"""Networks as other people write them, generated from a seed."""

from support.strangers.generator import Stranger, generate

__all__ = ["Stranger", "generate"]

"""Reading of shard sets for benchmarks that measure training."""

from reading.decoded import FromMemory, Held

__all__ = ["FromMemory", "Held"]

"""Fine-tuning runs and probes on the same splits."""

from tuning.bench import METHODS, PROBES, Bench
from tuning.measure import as_predictions, last_maps, probed, trained

__all__ = [
    "METHODS",
    "PROBES",
    "Bench",
    "as_predictions",
    "last_maps",
    "probed",
    "trained",
]

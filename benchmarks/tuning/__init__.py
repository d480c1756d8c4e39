"""Fine-tuning runs and probes on the same splits."""

from tuning.bench import DOMAINS, METHODS, PROBES, Bench
from tuning.measure import as_predictions, last_maps, probed, trained

__all__ = [
    "DOMAINS",
    "METHODS",
    "PROBES",
    "Bench",
    "as_predictions",
    "last_maps",
    "probed",
    "trained",
]

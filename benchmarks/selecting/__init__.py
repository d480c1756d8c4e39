"""Selection of an epoch in benchmarks that train in one process."""

from selecting.best_epoch import BestEpoch

__all__ = ["BestEpoch"]

"""The figures that the paper prints, as data."""

from ier_ray.experiments.paper.reading import PaperTable, PaperValue, paper_table

__all__ = ["PaperTable", "PaperValue", "paper_table"]

"""Metrics of a running service, and the names of metrics in PromQL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
LABELS = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]|\bby\s*\([^()]*\)")
"""Selectors, ranges, and the labels that are grouped by."""
IDENTIFIER = re.compile(r"(?<![0-9.])[a-zA-Z_:][a-zA-Z0-9_:]*")
FUNCTIONS = frozenset({"sum", "rate", "histogram_quantile"})


def metrics_in(expression: str) -> set[str]:
    """The metrics of an expression: whatever is neither label, range nor function."""
    bare = LABELS.sub(" ", STRING.sub("", expression))
    return set(IDENTIFIER.findall(bare)) - FUNCTIONS


@dataclass(frozen=True)
class Scrape:
    """Samples of all targets: name, labels, value."""

    samples: list[tuple[str, dict[str, str], float]]

    @classmethod
    def of(cls, targets: Iterable[str]) -> Scrape:
        """What targets ``HOST:PORT`` say now."""
        texts = [httpx.get(f"http://{target}/metrics", timeout=30).text for target in targets]
        return cls(
            [
                (sample.name, dict(sample.labels), sample.value)
                for text in texts
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            ]
        )

    @property
    def names(self) -> set[str]:
        return {name for name, *_ in self.samples}

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels."""
        return sum(
            value
            for found, has, value in self.samples
            if found == name and labels.items() <= has.items()
        )

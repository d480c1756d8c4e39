"""A table as files: Parquet and JSON for programs, Markdown and a page for people."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
from jinja2 import Environment, PackageLoader, StrictUndefined

from ier_ray import storage
from ier_ray.experiments.comparing import MARGIN, Comparison
from ier_ray.experiments.entries import Entry
from ier_ray.experiments.paper import PaperTable, PaperValue
from ier_ray.experiments.table import Table

SHARES = ("accuracy", "balanced_accuracy", "macro_f1", "increase", "model_agreement")
"""Measures that are shown in percent."""
SYMBOLS = {"percent": " %", "seconds": " s", "kappa": "", "words": ""}


def write_table(table: Table, directory: str) -> None:
    """Write all files of a table, each whole or not at all."""
    rows = [entry.model_dump(mode="json") for entry in table.entries]
    for row in rows:
        row["paper"] = None if row["paper"] is None else str(row["paper"])
    with storage.writing(storage.join(directory, "table.parquet")) as stream:
        pq.write_table(pa.Table.from_pylist(rows, schema=ENTRY_SCHEMA), stream)
    storage.write_json(storage.join(directory, "table.json"), table.model_dump(mode="json"))
    for name in ("table.md", "table.html"):
        storage.write_bytes(storage.join(directory, name), rendered(table, name).encode())


ENTRY_SCHEMA = pa.schema(
    [
        ("row", pa.string()),
        ("column", pa.string()),
        ("measure", pa.string()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("std", pa.float64()),
        ("majority", pa.float64()),
        ("units", pa.int64()),
        ("images", pa.int64()),
        ("paper", pa.string()),
        ("paper_spread", pa.float64()),
        ("keys", pa.list_(pa.string())),
    ]
)
"""Columns of ``table.parquet``, one row per cell."""


def rendered(table: Table, name: str) -> str:
    """The table by a template of this package; a page loads nothing."""
    environment = Environment(
        loader=PackageLoader("ier_ray.experiments", "templates"),
        autoescape=name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    by_place = {(entry.row, entry.column): entry for entry in table.entries}
    return environment.get_template(name).render(
        table=table,
        cell=lambda row, column: by_place[row, column],
        shown=shown,
        failures=failures(table),
        difference=difference,
        margin=f"{100 * MARGIN:g}",
        printed=printed,
    )


def shown(entry: Entry) -> str:
    """A cell in a few characters: the figure, its interval and its spread over folds and seeds."""
    if entry.state != "finished" or entry.value is None:
        return entry.state
    factor = 100.0 if entry.measure in SHARES else 1.0

    def written(value: float) -> str:
        return f"{factor * value:.1f}" if factor > 1 else f"{value:.3g}"

    text = written(entry.value) + (" %" if factor > 1 else "")
    if entry.low is not None and entry.high is not None:
        text += f" [{written(entry.low)}, {written(entry.high)}]"
    if entry.std is not None:
        text += f" ± {written(entry.std)}"
    if entry.paper is not None:
        spread = "" if entry.paper_spread is None else f" ± {entry.paper_spread:g}"
        text += f" (paper {entry.paper}{spread})"
    return text


def difference(one: Comparison) -> list[str]:
    """A comparison's cells: what, difference, p-values, equivalence."""
    equal = "–"
    if one.equivalence is not None:
        equal = f"{'yes' if one.equivalence < 0.05 else 'not shown'} (p {one.equivalence:.2g})"
    return [
        one.row,
        one.column,
        f"{100 * one.difference:+.1f} [{100 * one.low:+.1f}, {100 * one.high:+.1f}]",
        f"{one.p_value:.2g}",
        f"{one.adjusted:.2g}",
        f"{one.only_row} / {one.only_reference}",
        equal,
    ]


def failures(table: Table) -> list[tuple[str, str, int]]:
    """State and reason of the cells without a figure, and how many have it."""
    found: dict[tuple[str, str], int] = {}
    for entry in table.entries:
        if entry.state != "finished":
            place = entry.state, entry.reason or ""
            found[place] = found.get(place, 0) + 1
    return [(state, reason, count) for (state, reason), count in found.items()]


def printed(paper: PaperTable, row: str, column: str) -> str:
    """A cell of the paper's table, as it prints it."""
    value: PaperValue | None = paper.cells.get((row, column))
    if value is None:
        return "–"
    spread = "" if value.spread is None else f" ± {value.spread:g}"
    figure = value.value if isinstance(value.value, str) else f"{value.value:g}"
    return f"{figure}{spread}{SYMBOLS[value.unit or paper.unit]}"

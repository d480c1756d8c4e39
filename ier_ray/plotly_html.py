"""Interactive figures in self-contained pages."""

from __future__ import annotations

from typing import Any

import plotly.io


def as_html(figure: Any, identifier: str, **config: bool) -> str:
    """A figure of plotly as HTML, which needs plotly.js in the page.

    Args:
        identifier: of its element.
        config: of plotly.js, beside a width that follows the page's.
    """
    figure.update_layout(template="plotly_white")
    html: str = plotly.io.to_html(
        figure,
        full_html=False,
        include_plotlyjs=False,
        div_id=identifier,
        default_height="420px",
        config={"responsive": True, **config},
    )
    return html

"""The page at /docs: the interface's document for people, without scripts or outside assets."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from ier_ray.serve.service import READ

TEMPLATES = files("ier_ray.serve") / "templates"

router = APIRouter()


@router.api_route("/docs", methods=READ, include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The interface in words."""
    style = (TEMPLATES / "reference.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'"
    page = rendered(request.app.openapi(), style)
    return HTMLResponse(page, headers={"content-security-policy": policy})


def rendered(document: dict[str, Any], style: str) -> str:
    """The page of an OpenAPI document."""
    environment = Environment(
        loader=PackageLoader("ier_ray.serve", "templates"),
        autoescape=True,  # what a schema does not say is undefined, and shown as nothing
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"prose": prose, "name": name_of}
    return environment.get_template("reference.html").render(document=document, style=style)


def prose(text: str) -> Markup:
    """A description's paragraphs, with its `code`."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    marked = [re.sub(r"`+([^`]+)`+", r"<code>\1</code>", str(escape(each))) for each in paragraphs]
    return Markup("".join(f"<p>{each}</p>" for each in marked))  # noqa: S704 (escaped above)


def name_of(reference: str) -> str:
    """The schema that a reference names."""
    return reference.rpartition("/")[2]

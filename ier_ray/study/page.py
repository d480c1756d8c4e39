"""The page of a study: one HTML file that annotators open without a network."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from ier_ray.study.label_studio import as_data_uri
from ier_ray.study.manifest import StudyManifest

TEMPLATES = files("ier_ray.study") / "templates"


def default_consent() -> str:
    """A general consent text; a study should have its own."""
    return (TEMPLATES / "consent.txt").read_text(encoding="utf-8")


def render_page(manifest: StudyManifest, encoded: dict[str, bytes], *, consent: str) -> str:
    """The page. It loads nothing, and knows nothing of labels, samples, and predictions.

    Args:
        encoded: JPEG files by image id.
        consent: text that is shown first; blank lines divide paragraphs.
    """
    environment = Environment(
        loader=PackageLoader("ier_ray.study", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    style, script = (
        (TEMPLATES / name).read_text(encoding="utf-8") for name in ("study.css", "study.js")
    )
    return environment.get_template("study.html").render(
        question=manifest.question,
        consent=[text for text in consent.split("\n\n") if text.strip()],
        study=json.dumps(_shown(manifest, encoded)).replace("<", "\\u003c"),
        style=style,
        style_hash=_source_hash(style),
        script=script,
        script_hash=_source_hash(script),
    )


def _shown(manifest: StudyManifest, encoded: dict[str, bytes]) -> dict[str, object]:
    """What the page's script reads. Images are by id, which says nothing of them."""
    return {
        "id": manifest.study_id,
        "seed": manifest.seed,
        "classes": manifest.classes,
        "consent_sha256": manifest.consent_sha256,
        "images": [
            {
                "id": image.image_id,
                "width": image.width,
                "height": image.height,
                "src": as_data_uri(encoded[image.image_id]),
            }
            for image in sorted(manifest.images, key=lambda image: image.image_id)
        ],
    }


def _source_hash(text: str) -> str:
    """The hash by which a content security policy allows an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

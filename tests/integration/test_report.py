"""The report is whole, and needs nothing from outside itself."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from support.runs import tiny_settings

from ier_ray.cluster.explainer import explain_images
from ier_ray.cluster.trainer import TrainResult
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.samples import images_from_shards
from ier_ray.data.shards import ShardSet
from ier_ray.emotions import FOUR
from ier_ray.experiments.report import ReportContent, render_report
from ier_ray.explainer_settings import ExplainerSettings


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if tag == "img" and name == "src":
                self.images.append(value or "")
            elif name in ("src", "href"):
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_shows_everything_and_is_self_contained(
    trained: TrainResult, shards: dict[str, str], tmp_path: Path
) -> None:
    images = images_from_shards(
        ShardSet.open(shards["ier"]), per_class=1, fold=0, preprocessing=Preprocessing(32)
    )
    settings = tiny_settings(shards, tmp_path)
    explained = explain_images(
        trained.checkpoint,
        images,
        str(tmp_path / "explanations"),
        scheme=FOUR,
        settings=ExplainerSettings(depth=3),
    )
    content = ReportContent(
        title="a <run> & its report",
        settings=settings,
        trained=trained,
        evaluations=list(trained.test.values()),
        images=images,
        explained=explained,
        figures={"IER accuracy": "0.987"},
        places={"checkpoint": "/somewhere/best"},
    )
    page = Page()
    page.feed(render_report(content))
    assert not page.links
    assert all(source.startswith("data:image/png;base64,") for source in page.images)
    assert len(page.images) == 1 + 2 + 2 * len(images)  # curves, confusions, scene and heat map
    for text in ("a <run> & its report", "0.987", "/somewhere/best", "learning_rate: 0.001"):
        assert text in page.text
    for record in explained:
        assert record.explanation.prediction.label in page.text

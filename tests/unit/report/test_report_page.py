"""The page in a real browser: it fits, moves, prints and loads nothing."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page
from support.finished_runs import FOLDS

from ier_ray.errors import DataError, SettingsError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.report.explanations import read_explanations
from ier_ray.report.page import render_report


@pytest.fixture(scope="module")
def page_file(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(render_report([str(finished)], title="a <run> & its report"))
    return file


@pytest.fixture
def requests() -> list[str]:
    return []


@pytest.fixture
def opened(browser: Browser, page_file: Path, requests: list[str]) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.on("request", lambda request: requests.append(request.url))
    errors: list[Any] = []

    def failed(error: Any) -> None:
        errors.append(error)

    page.on("pageerror", failed)
    page.goto(page_file.as_uri())
    yield page
    page.close()
    assert errors == []


def test_a_phone_needs_no_sideways_scrolling(opened: Page) -> None:
    assert opened.evaluate("document.documentElement.scrollWidth") == 360
    wide = """[...document.querySelectorAll("body *")].filter(one =>
      !one.closest(".wide") && one.getBoundingClientRect().right > 361).map(one => one.outerHTML)"""
    assert opened.evaluate(wide) == []


def test_nothing_is_fetched_from_outside(opened: Page, requests: list[str]) -> None:
    opened.wait_for_load_state("networkidle")
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in requests if url.startswith("file:")]) == 1
    sources = opened.evaluate("[...document.querySelectorAll('[src],[href]')].map(e => e.src)")
    assert all((source or "data:").startswith("data:image/") for source in sources)


def test_every_picture_has_an_alternative_text(opened: Page) -> None:
    images = opened.locator("img")
    described = images.evaluate_all("all => all.map(one => [one.className, one.alt])")
    assert all(alt or kind == "picture base" for kind, alt in described)
    assert any(alt.startswith("sharp map of ") and alt.endswith("level 6 of 6")
               for _, alt in described)  # fmt: skip
    plots = opened.locator(".plot svg").evaluate_all(
        "all => all.map(one => [one.getAttribute('role'), one.getAttribute('aria-label')])"
    )
    assert len(plots) >= 1 + 2 * 2 + 2 + 3  # headline, confusion and risk, curves, layers
    assert all(role == "img" and label for role, label in plots)
    ids = opened.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert not [name for name in ids if re.fullmatch(r"(figure|axes|text|patch)_\d+", name)]


def test_every_plot_has_a_title_and_named_axes(opened: Page) -> None:
    texts = opened.locator(".plot svg").evaluate_all(
        "all => all.map(one => [...one.querySelectorAll('text')].map(t => t.textContent))"
    )
    for own in texts:
        assert len([text for text in own if re.search("[a-z]{4}", text)]) >= 2, own
    said = {text for own in texts for text in own}
    for text in (
        "epoch",
        "predicted class",
        "risk (share of errors)",
        "accuracy (share of images)",
    ):
        assert text in said


def pixels(page: Page, index: int) -> Any:
    shot = page.locator(".explanation .panel.map .stack").nth(index).screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), dtype=int)


def test_sliders_change_what_is_seen(opened: Page) -> None:
    figure = opened.locator(".explanation").first
    assert figure.locator(".layer:visible").count() == 2
    kinds = figure.locator(".panel.map .caption b").all_text_contents()
    assert kinds == ["Shapley map", "sharp map"]
    finest = pixels(opened, 0)
    level = figure.locator(".level")
    assert level.get_attribute("max") == "6"
    level.fill("1")
    assert figure.locator(".which").all_text_contents() == ["1", "1"]
    assert figure.locator(".regions").first.text_content() == "2"
    coarse = pixels(opened, 0)
    assert np.abs(coarse - finest).max() > 20
    level.fill("5")  # the Shapley map ends at its finest level
    assert figure.locator(".which").all_text_contents() == ["4", "5"]
    assert np.array_equal(pixels(opened, 0), finest)
    figure.locator(".opacity").fill("0")
    bare = pixels(opened, 0)
    assert np.abs(bare - finest).max() > 20
    assert np.ptp(bare, axis=2).max() <= 2  # the picture in gray alone
    figure.locator(".opacity").fill("100")
    assert np.ptp(pixels(opened, 0), axis=2).max() > 20


def test_light_and_dark_and_a_color_that_can_be_read(browser: Browser, page_file: Path) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(page_file.as_uri())
        seen[scheme] = page.evaluate(
            """[getComputedStyle(document.body).backgroundColor,
                getComputedStyle(document.querySelector('.plot svg text')).fill]"""
        )
        page.close()
    assert seen == {
        "light": ["rgb(255, 255, 255)", "rgb(31, 41, 51)"],
        "dark": ["rgb(22, 27, 32)", "rgb(228, 233, 238)"],
    }


def test_it_prints(browser: Browser, page_file: Path) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto(page_file.as_uri())
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 3
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".sliders").first.is_visible()
    page.close()


def test_what_it_says_is_what_the_files_say(opened: Page, finished: Path) -> None:
    text = " ".join(opened.locator("body").inner_text().split())
    assert "a <run> & its report" in text
    predictions = Predictions.read(f"{finished}/predictions.parquet")
    for domain in ("ier", "fer"):
        own = predictions.select((predictions.domains == domain) & (predictions.parts == "test"))
        accuracy = (own.probabilities.argmax(1) == own.labels).mean()
        assert re.search(rf"{domain.upper()} network, synthetic {len(own)} {accuracy:.3f} \[", text)
    manifest = json.loads((finished / "best" / "manifest.json").read_text())
    for told in (
        manifest["criterion"],
        manifest["weights_sha256"],
        manifest["data"]["ier"]["content_hash"],
        f"{finished}/predictions.parquet",
        f"{finished}/explanations-sharp",
        "learning_rate: 0.001",
        "are too few for a calibration plot",
    ):
        assert told in text


def test_an_explained_error_is_shown_with_its_map(
    opened: Page, finished: Path, tmp_path: Path
) -> None:
    assert opened.locator(".error").count() > 2
    explained = read_explanations([f"{finished}/explanations"])
    name, target = explained[0].name, explained[0].target
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    predictions = Predictions.read(f"{run}/predictions.parquet")
    row = predictions.sample_ids == name
    certain = np.where(np.array(predictions.classes) == target, 1.0, 0.0)
    another = next(index for index, one in enumerate(predictions.classes) if one != target)
    replace(
        predictions,
        labels=np.where(row, another, predictions.labels),
        probabilities=np.where(row[:, None], certain, predictions.probabilities),
    ).write(f"{run}/predictions.parquet")
    opened.set_content(render_report([str(run)], title="errors"))
    first = opened.locator(".error").first
    assert name in (first.text_content() or "")
    assert first.locator("img.layer").count() == 1


def test_the_layers_are_those_of_the_explanation(finished: Path) -> None:
    (one, *_) = read_explanations([f"{finished}/explanations", f"{finished}/explanations-sharp"])
    shapley, sharp = one.maps
    assert (shapley.kind, sharp.kind) == ("Shapley", "sharp")
    for own in one.maps:
        for level in own.levels:  # per 1 % of the area: the mean over the image is the sum / 100
            assert level.mean() * 100 == pytest.approx(own.full - own.empty, abs=1e-9)
    assert [len(np.unique(level)) for level in shapley.levels] == [2, 4, 8, 16]


def test_pictures_that_are_gone_are_told(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    settings = json.loads((run / "settings.json").read_text())
    settings["data"]["ier"] = str(tmp_path / "gone")
    (run / "settings.json").write_text(json.dumps(settings))
    page = render_report([str(run)], title="gone")
    assert "pictures are no longer where they were" in page
    assert "gone: no shard set here" in page


def test_several_runs_are_compared(
    finished: Path, second: Path, browser: Browser, tmp_path: Path
) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.set_content(render_report([str(finished), str(second)], title="two"))
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    text = " ".join(page.locator("#comparison").inner_text().split())
    assert "Each pair on the same" in text
    pairs = page.locator("#comparison table").nth(1).locator("tbody tr")
    assert pairs.count() == 1
    assert pairs.first.locator("th").all_text_contents() == ["first", "second"]
    assert page.locator("article").count() == 2
    own = [Predictions.read(f"{run}/predictions.parquet") for run in (finished, second)]
    own = [one.select((one.domains == "ier") & (one.parts == "test")) for one in own]
    right = [(one.probabilities.argmax(1) == one.labels) for one in own]
    alone = [int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())]
    assert [int(cell) for cell in pairs.first.locator("td").all_text_contents()[2:4]] == alone
    page.close()


def test_runs_of_other_images_are_not_tested_against_each_other(
    finished: Path, second: Path, folds: Path
) -> None:
    page = render_report([str(finished), str(folds)], title="two")
    assert "No test: no two of these runs were tested on the same images." in page
    assert "McNemar" not in page
    page = render_report([str(finished), str(folds), str(second)], title="three")
    assert "No test: cv: not tested on the same images as first, second." in page
    assert "over the 1 pair of this table" in page


def test_a_cross_validation_shows_its_folds(folds: Path, browser: Browser) -> None:
    page = browser.new_page()
    page.set_content(render_report([str(folds)], title="folds"))
    text = " ".join(page.locator("body").inner_text().split())
    assert "IER network, test folds" in text
    assert "mean ± std" in text
    assert "Each fold is the test part once." in text
    assert text.count("sha256") == FOLDS
    page.close()


def test_explanations_that_cannot_be_shown_are_named(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"explanations .*none: "):
        render_report([str(finished)], title="x", explanations=[str(tmp_path / "none")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match="no explanations here"):
        render_report([str(finished)], title="x", explanations=[str(tmp_path / "empty")])
    copied = Path(shutil.copytree(finished / "explanations", tmp_path / "copied"))
    first = min(copied.glob("*.npz"))
    first.write_bytes(b"PK")
    with pytest.raises(DataError, match=f"{first.name} is damaged"):
        render_report([str(finished)], title="x", explanations=[str(copied)])
    first.unlink()
    with pytest.raises(DataError, match=f"{first.name} missing"):
        render_report([str(finished)], title="x", explanations=[str(copied)])


def test_a_layer_is_transparent_where_there_is_no_credit(opened: Page) -> None:
    source = opened.locator(".layer").last.get_attribute("src") or ""
    kind, _, content = source.partition(",")
    assert kind == "data:image/png;base64"
    rgba = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert rgba.shape[2] == 4
    assert rgba[..., 3].min() < rgba[..., 3].max() == 255

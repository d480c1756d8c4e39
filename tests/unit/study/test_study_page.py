"""The page of a study in a real browser: from the export to the answers that are read of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page
from support.studies import small_study, some_manifest

from ier_ray.study.agreement import cohen_kappa
from ier_ray.study.analysis import analyze_study
from ier_ray.study.annotations import collect
from ier_ray.study.cues import GRID, on_grid, stroke_mask
from ier_ray.study.export import ExportedStudy
from ier_ray.study.page import render_page
from ier_ray.study.page_answers import read_page_answers

IMAGES = 5


@pytest.fixture(scope="module")
def study(shards: dict[str, str]) -> ExportedStudy:
    return small_study(shards["ier"], images=IMAGES)


@pytest.fixture(scope="module")
def page_file(study: ExportedStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(study.write(str(tmp_path_factory.mktemp("study")))["page"])


@contextmanager
def opened(browser: Browser, file: Path, **options: Any) -> Iterator[Page]:
    """The page in a browser of its own, without a network; its script makes no errors."""
    context = browser.new_context(offline=True, **options)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert said == []


def begin(page: Page, name: str) -> None:
    page.check("#agree")
    page.fill("#annotator", name)
    page.press("#annotator", "Enter")
    page.wait_for_selector("#work", state="visible")


def drag(page: Page, *points: tuple[float, float]) -> None:
    """Draw along points, in shares of the image."""
    box = page.locator("#marks").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()


def saved(page: Page, path: Path) -> dict[str, Any]:
    with page.expect_download() as download:
        page.keyboard.press("s")
    download.value.save_as(path)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def order_of(page: Page) -> list[str]:
    return list(page.evaluate("state.order"))


def test_from_the_export_to_known_figures(
    study: ExportedStudy, page_file: Path, browser: Browser, tmp_path: Path
) -> None:
    manifest = study.manifest
    chosen = {"Ann": ["1", "2", "3", "4", "1"], "Bo": ["1", "2", "3", "3", "2"]}
    given = []
    for name, keys in chosen.items():
        by_image = dict(zip(manifest.image_ids, keys, strict=True))
        with opened(browser, page_file) as page:
            begin(page, name)
            for image in order_of(page):
                page.keyboard.press(by_image[image])
                if image == manifest.image_ids[0]:
                    drag(page, (0.25, 0.25), (0.5, 0.9), (0.75, 0.5))  # the last point counts
                if image == manifest.image_ids[1] and name == "Ann":
                    page.click("#brush")
                    drag(page, (0.2, 0.5), (0.8, 0.5))
                    page.click("#rectangle")
                page.keyboard.press("ArrowRight")
            assert "All pictures are answered" in page.inner_text("#status")
            path = tmp_path / f"{name}.json"
            content = saved(page, path)
        assert [one["image"] for one in content["answers"]] != manifest.image_ids
        given += read_page_answers(str(path), manifest)
    annotations = collect(manifest, given)
    labels = np.array([[int(key) - 1 for key in keys] for keys in chosen.values()]).T
    assert annotations.labels.tolist() == labels.tolist()
    result = analyze_study(manifest, annotations, seed=0)
    assert result.agreement.observed == pytest.approx(0.6)
    assert result.agreement.mean_cohen == cohen_kappa(labels[:, 0], labels[:, 1], 4)
    assert [vote["majority"] is None for vote in result.votes()] == [False] * 3 + [True] * 2
    quarter = GRID // 4
    marks = annotations.cues[0]["Ann"]
    assert marks[quarter + 1 : 2 * quarter - 1, quarter + 1 : 3 * quarter - 1].all()
    assert abs(marks.mean() - 1 / 8) < 0.01
    assert result.human_overlap is not None
    assert result.human_overlap.scores["iou"].estimate == pytest.approx(1)
    width, height = manifest.images[1].width, manifest.images[1].height
    line = [(0.2 * width, 0.5 * height), (0.8 * width, 0.5 * height)]
    drawn = on_grid(stroke_mask((height, width), line, 0.03 * width))
    assert (annotations.cues[1]["Ann"] == drawn).mean() > 0.99
    assert [sorted(cues) for cues in annotations.cues[1:]] == [["Ann"], [], [], []]


def test_all_is_possible_with_the_keyboard_alone(
    page_file: Path, browser: Browser, tmp_path: Path
) -> None:
    with opened(browser, page_file) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("Space")  # agree
        page.keyboard.press("Tab")
        page.keyboard.type("Cy")
        page.keyboard.press("Enter")
        first = order_of(page)[0]
        page.keyboard.press("3")
        page.keyboard.press("r")
        for key in ["ArrowLeft"] * 5 + ["ArrowUp", "Shift+ArrowRight", "Shift+ArrowDown"]:
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        page.keyboard.press("r")
        page.keyboard.press("Escape")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("2")
        page.keyboard.press("1")
        page.keyboard.press("u")
        page.keyboard.press("n")
        assert page.inner_text("#place") == f"Picture 3 of {IMAGES}, 2 answered"
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        assert page.inner_text("#place") == f"Picture 1 of {IMAGES}, 2 answered"
        content = saved(page, tmp_path / "cy.json")
        # Buttons are reached and pressed as well.
        page.focus("#classes button:nth-child(2)")
        page.keyboard.press("Enter")
        assert page.get_attribute("#classes button:nth-child(2)", "aria-pressed") == "true"
    assert content["annotator"] == "Cy"
    assert content["answers"][0] == {
        "image": first,
        "label": "hate",
        "cues": [{"kind": "rectangle", "x": 0.25, "y": 0.33, "width": 0.32, "height": 0.32}],
    }
    assert [answer["label"] for answer in content["answers"]] == ["hate", "sad", None, None, None]


def test_undo_removes_one_step_at_a_time(page_file: Path, browser: Browser) -> None:
    with opened(browser, page_file) as page:
        begin(page, "Di")
        page.keyboard.press("1")
        drag(page, (0.1, 0.1), (0.4, 0.4))
        drag(page, (0.5, 0.5), (0.501, 0.501))  # too small to be meant
        drag(page, (0.6, 0.6), (0.9, 0.9))
        assert page.evaluate("current().cues.length") == 2
        page.click("#clear")
        page.click("#next")
        page.keyboard.press("Control+z")  # returns to the picture that it changes
        assert page.evaluate("[state.place, current().cues.length]") == [0, 2]
        page.click("#undo")
        page.click("#undo")
        page.click("#undo")
        assert page.evaluate("current()") == {"label": None, "cues": []}
        assert page.is_disabled("#undo")


def test_a_finger_draws(page_file: Path, browser: Browser) -> None:
    with opened(browser, page_file, has_touch=True, viewport={"width": 360, "height": 740}) as page:
        begin(page, "Ed")
        box = page.locator("#marks").bounding_box()
        assert box is not None
        session = page.context.new_cdp_session(page)

        def touch(kind: str, *points: tuple[float, float]) -> None:
            places = [
                {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
                for x, y in points
            ]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

        touch("touchStart", (0.25, 0.25))
        touch("touchMove", (0.5, 0.6))
        touch("touchMove", (0.75, 0.75))
        touch("touchEnd")
        (cue,) = page.evaluate("current().cues")
        assert page.evaluate("scrollY") == 0
    assert cue["kind"] == "rectangle"
    assert [cue[side] for side in ("x", "y", "width", "height")] == pytest.approx(
        [0.25, 0.25, 0.5, 0.5], abs=0.02
    )


def test_answers_are_kept_in_the_browser_and_loaded_from_a_file(
    page_file: Path, browser: Browser, tmp_path: Path
) -> None:
    with opened(browser, page_file) as page:
        begin(page, "Flo")
        page.keyboard.press("4")
        order = order_of(page)
        page.reload()
        assert page.is_hidden("#work")  # consent comes first again
        begin(page, "Flo")
        assert (order_of(page), page.evaluate("state.place")) == (order, 1)
        content = saved(page, tmp_path / "flo.json")
    with opened(browser, page_file) as page:
        page.set_input_files("#saved", tmp_path / "flo.json")
        page.wait_for_function("document.getElementById('refusal').textContent !== ''")
        assert page.inner_text("#refusal") == "Please agree to take part first."
        page.check("#agree")
        page.set_input_files("#saved", tmp_path / "flo.json")
        page.wait_for_selector("#work", state="visible")
        assert saved(page, tmp_path / "again.json") == content


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"study": "0"}, "This file is of another study."),
        ({"format": "x"}, "This is not a file that this page saved."),
        ({"answers": [{"image": "x"}]}, "This file has answers to other pictures."),
    ],
)
def test_the_page_refuses_files_of_others(
    changes: dict[str, Any],
    told: str,
    study: ExportedStudy,
    page_file: Path,
    browser: Browser,
    tmp_path: Path,
) -> None:
    content = {
        "format": "ier_ray study answers",
        "version": 1,
        "study": study.manifest.study_id,
        "annotator": "Gil",
        "consent_sha256": study.manifest.consent_sha256,
        "answers": [],
    }
    (tmp_path / "file.json").write_text(json.dumps(content | changes))
    with opened(browser, page_file) as page:
        page.check("#agree")
        page.set_input_files("#saved", tmp_path / "file.json")
        page.wait_for_function("document.getElementById('refusal').textContent !== ''")
        assert page.inner_text("#refusal") == told
        assert page.is_hidden("#work")


def test_each_annotator_has_an_order_that_stays(page_file: Path, browser: Browser) -> None:
    orders = []
    for name in ("Ann", "Bo", "Cy", "Ann"):
        with opened(browser, page_file) as page:
            begin(page, name)
            orders.append(order_of(page))
    assert orders[0] == orders[3]
    assert len({tuple(order) for order in orders}) == 3
    assert len({tuple(sorted(order)) for order in orders}) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_does_not_scroll_sideways(page_file: Path, browser: Browser, scheme: Any) -> None:
    viewport: Any = {"width": 360, "height": 740}
    with opened(browser, page_file, viewport=viewport, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        begin(page, "A name of forty letters and more, in full")
        page.click("summary")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        picture, frame = page.locator("#picture").bounding_box(), page.locator("#frame")
        assert picture is not None
        assert picture["width"] == pytest.approx(picture["height"], abs=1)  # its own aspect
        assert frame.bounding_box() == pytest.approx(picture)


def test_a_printed_page_shows_the_picture_and_the_answer(page_file: Path, browser: Browser) -> None:
    with opened(browser, page_file, color_scheme="dark") as page:
        begin(page, "Hal")
        page.keyboard.press("2")
        page.emulate_media(media="print")
        assert page.is_visible("#picture")
        assert page.is_hidden("#next")
        chosen = page.locator("#classes [aria-pressed=true]")
        color = chosen.evaluate("(button) => getComputedStyle(button).color")
        assert color == "rgb(31, 41, 51)"  # dark, as backgrounds are not printed


def test_the_page_says_nothing_of_labels_samples_and_files(
    study: ExportedStudy, page_file: Path
) -> None:
    text = page_file.read_text()
    for hidden in (*(image.sample_id for image in study.manifest.images), "synthetic", 'label":'):
        assert hidden not in text
    assert study.manifest.shards not in text
    assert study.manifest.content_hash not in text
    shown = json.loads(re.search(r'id="study">(.*?)</script>', text).group(1))  # type: ignore[union-attr]
    assert {key for image in shown["images"] for key in image} == {"id", "width", "height", "src"}
    assert [image["id"] for image in shown["images"]] == sorted(study.encoded)


def test_the_page_may_load_nothing(page_file: Path, browser: Browser) -> None:
    assert "default-src 'none'" in page_file.read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)""", page_file.read_text())
    context = browser.new_context()
    page = context.new_page()
    page.goto(page_file.as_uri())
    violated = page.evaluate(
        """async () => {
            const policies = [];
            document.addEventListener("securitypolicyviolation",
                (event) => policies.push(event.effectiveDirective));
            const script = document.createElement("script");
            script.textContent = "window.foreign = true";
            document.body.append(script);
            await fetch("http://127.0.0.1:1/").catch(() => {});
            await new Promise((done) => setTimeout(done, 50));
            return [policies.sort(), window.foreign];
        }"""
    )
    context.close()
    assert violated == [["connect-src", "script-src-elem"], None]


def test_texts_cannot_become_markup(browser: Browser, tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    manifest = some_manifest(4, classes=[evil, "b", "c", "d"], question=evil)
    encoded = dict.fromkeys(manifest.image_ids, b"")
    (tmp_path / "page.html").write_text(render_page(manifest, encoded, consent=f"{evil}\n\nTwo."))
    with opened(browser, tmp_path / "page.html") as page:
        assert page.locator("#consent > p").all_inner_texts()[:2] == [evil, "Two."]
        begin(page, evil)
        assert page.inner_text("#question") == evil
        assert page.inner_text("#classes button:nth-child(1)").endswith(evil)
        assert page.locator("img").count() == 1

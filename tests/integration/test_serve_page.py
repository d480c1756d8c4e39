"""The service's page in a real browser: from a picture to the credits of its regions."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from support.service import EXPLAIN, replicas, running
from support.service_page import (
    choose_class,
    explained,
    opened,
    scene,
    scrolls_sideways,
    upload,
    wait_until_finished,
)

from ier_ray.cluster.trainer import TrainResult
from ier_ray.serve.schemas import AppArgs

CLASSES = ("happy", "sad", "hate", "anger")
LIMIT = 200_000
SHAPLEY = {"depth": 6, "baseline": "blur", "first_axis": "x", "trees": 1}


@pytest.fixture(scope="module")
def url(trained: TrainResult) -> Iterator[str]:
    args = AppArgs(checkpoint=trained.checkpoint, max_upload_bytes=LIMIT, max_depth=10)
    with running(args) as url:
        yield url


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    with opened(browser, url) as page:
        yield page


def asked(url: str, **query: Any) -> dict[str, Any]:
    """What the service says without a page."""
    reply = httpx.post(f"{url}{EXPLAIN}", content=scene(), params=query, timeout=60)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def credits_of(reply: dict[str, Any]) -> list[float]:
    return [leaf["value"] for leaf in reply["leaves"]]


def as_shown(value: float) -> str:
    """A credit in percentage points, as the page writes it."""
    return f"{100 * value:+.3g}".replace("-", "−")


def test_a_picture_is_explained_level_by_level(page: Page, url: str, tmp_path: Path) -> None:
    page.evaluate(
        """() => {
          window.seen = [];
          new MutationObserver(() => seen.push(document.querySelector("#level-text").textContent))
            .observe(document.querySelector("#level-text"), { childList: true });
        }"""
    )
    upload(page, scene())
    wait_until_finished(page)
    seen = dict.fromkeys(page.evaluate("window.seen"))
    assert [int(text.split()[0]) for text in seen if text] == [1, 2, 4, 8, 16, 32, 64]
    found = explained(page, tmp_path)
    expected = asked(url, target=found["target"], **SHAPLEY)
    for name in ("target", "prediction", "settings", "leaves", "full", "empty", "complete"):
        assert found[name] == expected[name]
    assert found["target"] == found["prediction"]["label"]
    share = found["prediction"]["probabilities"][found["target"]]
    assert page.locator("figcaption").inner_text().startswith(found["target"].capitalize())
    assert f"{100 * share:.0f}" in page.locator("figcaption").inner_text()
    page.locator("#level").fill("2")
    expect(page.locator("#level-text")).to_have_text("4 regions")
    assert len(explained(page, tmp_path)["leaves"]) == 4


def test_another_class_is_explained_and_undone_without_asking_again(
    page: Page, url: str, tmp_path: Path
) -> None:
    upload(page, scene())
    wait_until_finished(page)
    first = explained(page, tmp_path)
    other = next(name for name in CLASSES if name != first["target"])
    choose_class(page, other)
    expect(page.locator("figcaption .name")).to_have_text(other.capitalize())
    wait_until_finished(page)
    assert credits_of(explained(page, tmp_path)) == credits_of(asked(url, target=other, **SHAPLEY))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.keyboard.press("Control+z")
    expect(page.locator("figcaption .name")).to_have_text(first["target"].capitalize())
    assert explained(page, tmp_path) == first
    page.keyboard.press("Control+Shift+z")
    expect(page.locator("figcaption .name")).to_have_text(other.capitalize())
    page.click("#undo")
    page.click("#undo")
    expect(page.locator("#start")).to_be_visible()
    assert [each for each in requests if not each.startswith("blob:")] == []


def test_kind_depth_and_surroundings_decide_what_is_asked(page: Page, tmp_path: Path) -> None:
    upload(page, scene())
    wait_until_finished(page)
    page.locator("#depth").fill("3")
    page.select_option("#contexts", "absent")
    wait_until_finished(page)
    found = explained(page, tmp_path)
    assert len(found["leaves"]) == 8
    assert found["settings"]["contexts"] == "absent"
    assert found["settings"]["score"] == "probability"
    page.locator("input[value=sharp]").check(force=True)
    wait_until_finished(page)
    found = explained(page, tmp_path)
    assert found["settings"]["preset"] == "sharp"
    assert found["settings"]["trees"] == 4
    assert page.locator("#unit").inner_text().endswith("log-odds")


def test_regions_are_inspected_by_keyboard(page: Page, tmp_path: Path) -> None:
    upload(page, scene())
    wait_until_finished(page)
    found = explained(page, tmp_path)
    values = np.array(credits_of(found))
    reading = page.locator("#reading")
    page.locator(".frame").focus()
    page.keyboard.press("Home")
    expect(reading).to_contain_text(f"{as_shown(values.max())} points for {found['target']}")
    page.keyboard.press("End")
    expect(reading).to_contain_text(f"{as_shown(values.min())} points for {found['target']}")
    for _ in range(8):  # to the upper left corner
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowUp")
    corners = {(leaf["top"], leaf["left"]): leaf["value"] for leaf in found["leaves"]}
    expect(reading).to_contain_text(f"{as_shown(corners[0, 0])} points")
    expect(reading).to_contain_text("Upper left")
    page.keyboard.press("ArrowRight")
    expect(reading).to_contain_text(f"{as_shown(corners[0, 4])} points")
    page.keyboard.press("ArrowDown")
    expect(reading).to_contain_text(f"{as_shown(corners[4, 4])} points")
    assert reading.get_attribute("role") == "status"  # screen readers hear it


def test_regions_are_inspected_by_pointer(page: Page, tmp_path: Path) -> None:
    upload(page, scene())
    wait_until_finished(page)
    corners = {
        (leaf["bottom"], leaf["right"]): leaf["value"]
        for leaf in explained(page, tmp_path)["leaves"]
    }
    box = page.locator(".frame").bounding_box()
    assert box is not None
    assert box["width"] / box["height"] == pytest.approx(96 / 64, abs=0.01)  # the picture's own
    page.mouse.move(box["x"] + box["width"] * 0.99, box["y"] + box["height"] * 0.99)
    expect(page.locator("#reading")).to_contain_text(f"{as_shown(corners[32, 32])} points")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] - 20)
    expect(page.locator("#reading")).to_contain_text("Point at the map")


def test_two_classes_are_compared_on_one_scale(page: Page, url: str, tmp_path: Path) -> None:
    upload(page, scene())
    wait_until_finished(page)
    target = explained(page, tmp_path)["target"]
    other = next(name for name in CLASSES if name != target)
    page.select_option("#compare", other)
    expect(page.locator("figure")).to_have_count(2)
    wait_until_finished(page)
    both = explained(page, tmp_path)
    assert [reply["target"] for reply in both] == [target, other]
    assert credits_of(both[1]) == credits_of(asked(url, target=other, **SHAPLEY))
    page.locator(".frame").nth(1).focus()
    page.keyboard.press("Home")
    region = int(np.argmax(credits_of(both[1])))
    for reply in both:
        words = f"{as_shown(credits_of(reply)[region])} points for {reply['target']}"
        expect(page.locator("#reading")).to_contain_text(words)
    per_percent = max(abs(value) for reply in both for value in credits_of(reply)) * 64 / 100
    expect(page.locator("#most")).to_have_text(f"for {as_shown(per_percent)}")
    choose_class(page, other)  # the sides change places
    expect(page.locator("figcaption .name").first).to_have_text(other.capitalize())
    expect(page.locator("figcaption .name").last).to_have_text(target.capitalize())


def test_the_maps_are_saved_as_a_picture(page: Page, tmp_path: Path) -> None:
    upload(page, scene())
    wait_until_finished(page)
    with page.expect_download() as download:
        page.click("#png")
    assert download.value.suggested_filename.startswith("scene-")
    download.value.save_as(tmp_path / "map.png")
    picture = Image.open(tmp_path / "map.png").convert("RGB")
    assert picture.size == (480 + 2 * 24, 320 + 56 + 132)
    colors = np.asarray(picture)[56 : 56 + 320, 24 : 24 + 480].astype(int)
    assert (np.ptp(colors, axis=2) > 60).mean() > 0.01  # the map's colors; the picture is gray


def test_pictures_are_pasted_dropped_and_drawn(page: Page) -> None:
    give = """async ([type, name]) => {
      const blob = await (await fetch("page/examples/3.png")).blob();
      const data = new DataTransfer();
      data.items.add(new File([blob], name, { type: "image/png" }));
      const options = { bubbles: true, cancelable: true };
      if (type === "paste") {
        document.dispatchEvent(new ClipboardEvent("paste", { ...options, clipboardData: data }));
      } else {
        for (const each of ["dragenter", "dragover", "drop"]) {
          document.body.dispatchEvent(new DragEvent(each, { ...options, dataTransfer: data }));
        }
      }
    }"""
    for kind in ("paste", "drop"):
        page.evaluate(give, [kind, f"{kind}.png"])
        expect(page.locator("#subject")).to_have_text(f"Emotion map of {kind}.png")
        expect(page.locator("#veil")).to_be_hidden()
        wait_until_finished(page)
    page.click("#another")
    expect(page.locator("#file")).to_be_focused()
    page.locator("#examples button").nth(3).click()
    expect(page.locator("#subject")).to_have_text("Emotion map of scene-4.png")
    wait_until_finished(page)


def test_an_unusable_picture_is_refused_in_words_and_put_away(browser: Browser, url: str) -> None:
    with opened(browser, url, failures=(413, 415)) as page:
        upload(page, b"not a picture")
        expect(page.get_by_role("alert")).to_contain_text("This picture cannot be read.")
        expect(page.get_by_role("alert")).to_contain_text("not an image of a known format")
        expect(page.locator("#start")).to_be_visible()
        upload(page, scene())
        wait_until_finished(page)
        expect(page.get_by_role("alert")).to_be_hidden()
        noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, format="PNG")
        upload(page, buffer.getvalue(), "noise.png")
        expect(page.get_by_role("alert")).to_contain_text("more than the 200000 bytes allowed")
        expect(page.locator("#subject")).to_have_text("Emotion map of scene.png")  # the last one
        page.click("#dismiss")
        expect(page.get_by_role("alert")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_and_color_scheme(browser: Browser, url: str, scheme: Any) -> None:
    size: Any = {"width": 360, "height": 740}
    with opened(browser, url, viewport=size, color_scheme=scheme) as page:
        assert not scrolls_sideways(page)
        upload(page, scene())
        wait_until_finished(page)
        assert not scrolls_sideways(page)
        page.select_option("#compare", index=1)
        wait_until_finished(page)
        page.locator(".frame").first.press("Home")
        assert not scrolls_sideways(page)
        ground, ink = (
            np.mean([int(part) for part in text.strip("rgb()").split(",")])
            for text in page.evaluate(
                "['backgroundColor', 'color'].map(name => getComputedStyle(document.body)[name])"
            )
        )
        assert (ground < 60 and ink > 200) if scheme == "dark" else (ground > 240 and ink < 60)


def test_nothing_but_the_page_itself_runs_or_is_loaded(browser: Browser, url: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    found = page.evaluate(
        """async () => {
          const tries = {};
          const attempt = (name, act) => {
            try { act(); } catch (error) { tries[name] = error.name; }
          };
          const script = document.createElement("script");
          attempt("script", () => { script.text = "window.ran = true"; });
          document.head.append(script);
          attempt("handler", () => document.body.setAttribute("onclick", "window.ran = true"));
          attempt("markup", () => { document.body.innerHTML += "<b>injected</b>"; });
          document.body.click();
          const marked = document.createElement("p");
          marked.setAttribute("style", "color: rgb(1, 2, 3)");
          document.body.append(marked);
          tries.style = getComputedStyle(marked).color;
          tries.elsewhere = await fetch("https://example.org/").catch(error => error.name);
          tries.ran = window.ran ?? false;
          return tries;
        }"""
    )
    context.close()
    assert found.pop("style") != "rgb(1, 2, 3)"
    assert found.pop("elsewhere") == "TypeError"
    assert found.pop("ran") is False
    assert found["script"] == found["handler"] == found["markup"] == "TypeError"


@pytest.mark.alone
def test_cancelling_stops_the_service(page: Page) -> None:
    def busy_s() -> float:
        return sum(sum(each.cpu_times()[:2]) for each in replicas("Explainer"))

    upload(page, scene(seed=77))
    wait_until_finished(page)
    page.locator("input[value=sharp]").check(force=True)
    page.locator("#depth").fill("10")
    # The first of eight trees is finished.
    expect(page.locator("#level-text")).to_have_text("1,024 regions", timeout=60_000)
    page.click("#cancel")
    expect(page.locator("#state")).to_contain_text("Cancelled")
    expect(page.locator("#resume")).to_be_visible()
    time.sleep(1.5)  # at most a batch is still computed, and the news has to arrive
    before = busy_s()
    time.sleep(2)
    assert busy_s() - before < 0.5
    expect(page.locator("#state")).to_contain_text("Cancelled")  # nothing more has come
    page.click("#resume")
    expect(page.locator("#cancel")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#state")).to_contain_text("Cancelled")

"""Maps that are shared as jobs, in a real browser, from a service that keeps them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect
from support.checkpoints import save_tiny
from support.jobs_server import JobsServer, jobs_server
from support.pictures import picture, saved
from support.processes import wait_for
from support.service_page import explained, opened, scene, scrolls_sideways, upload

from ier_ray.serve.schemas import AppArgs, JobSettings
from ier_ray.serve.tokens import create_token

JOBS = "/v1/explanations"
PACE_S = 1.0
"""Between two levels, so that the page sees them."""
ENDED = 30_000
"""Milliseconds that a job may take here."""
PHONE: Any = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def args(tmp_path_factory: pytest.TempPathFactory) -> AppArgs:
    checkpoint = save_tiny(tmp_path_factory.mktemp("checkpoint"))
    return AppArgs(
        checkpoint=checkpoint, jobs=JobSettings(storage=str(tmp_path_factory.mktemp("jobs")))
    )


@pytest.fixture(scope="module")
def server(args: AppArgs) -> Iterator[JobsServer]:
    with jobs_server(args, seconds=PACE_S) as running:
        yield running


def submitted(url: str, *images: bytes, **query: Any) -> str:
    """The id of a new job."""
    files = [("image", each) for each in images]
    reply = httpx.post(f"{url}{JOBS}", files=files, params=query, timeout=60)
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


def state_of(url: str, job: str) -> str:
    return str(httpx.get(f"{url}{JOBS}/{job}", timeout=60).json()["state"])


def record(page: Page) -> None:
    """Record what the page says of the job's state from now on."""
    page.evaluate(
        """() => {
          window.seen = [];
          const place = document.querySelector("#state");
          const note = () => seen.push(place.textContent);
          new MutationObserver(note).observe(place, { childList: true });
        }"""
    )


def shared(page: Page) -> str:
    """Share what is shown; returns the link."""
    page.click("#share")
    page.click("#share-upload")
    expect(page.locator("#link")).to_be_visible()
    return page.locator("#link").input_value()


def test_a_picture_is_shared_and_seen_growing_by_somebody_else(
    browser: Browser, server: JobsServer, tmp_path: Path
) -> None:
    grants = ["clipboard-read", "clipboard-write"]
    with opened(browser, server.url, permissions=grants) as page:
        upload(page, scene())
        page.locator("#depth").fill("9")
        page.select_option("#contexts", "absent")
        page.click("#share")
        dialog = page.get_by_role("dialog", name="Share this map")
        expect(dialog).to_contain_text("keeps the picture and the map for some days")
        assert httpx.get(f"{server.url}{JOBS}").json() == {"jobs": []}  # nothing is sent before
        with page.expect_request(f"**{JOBS}?*") as request:
            page.click("#share-upload")
        assert len(request.value.headers["idempotency-key"]) == 32
        expect(dialog.get_by_role("status")).to_have_text("The link is copied.")
        link = page.evaluate("navigator.clipboard.readText()")
        job = link.rpartition("#job=")[2]
        assert page.url == link == f"{server.url}/#job={job}" == page.locator("#link").input_value()
        with opened(browser, link) as other:
            record(other)
            expect(other.locator("#state")).to_contain_text("Running: ")
            expect(other.locator("#state")).to_contain_text("Finished: 512 regions", timeout=ENDED)
            said = " ".join(other.evaluate("window.seen"))
            growth = [int(each) for each in re.findall(r"(\d+) regions", said)]
            assert growth == sorted(growth)
            assert len(set(growth)) >= 3
            expect(other.locator("#stop")).to_be_hidden()
            expect(other.locator("#facts")).to_contain_text("Surroundings")
            expect(other.locator("#facts")).to_contain_text("hidden")
            with other.expect_download() as download:
                other.click("#job-json")
            download.value.save_as(tmp_path / "map.json")
            expected = httpx.get(f"{server.url}{JOBS}/{job}/0")
            assert json.loads((tmp_path / "map.json").read_text()) == expected.json()
            assert expected.json()["settings"]["contexts"] == "absent"
            other.locator(".frame").press("Home")
            expect(other.locator("#reading")).to_contain_text("points for")
        page.click("#share-done")
        expect(page.locator("#state")).to_contain_text("Finished", timeout=ENDED)
        assert explained(page, tmp_path)["leaves"] == expected.json()["leaves"]
        page.click("#share")  # shared already
        expect(page.locator("#link")).to_have_value(link)
        page.keyboard.press("Escape")
        page.locator("#depth").fill("3")
        expect(page).to_have_url(f"{server.url}/")  # another map, which is not shared
        page.click("#undo")
        expect(page).to_have_url(link)


def test_a_link_is_selected_where_the_page_may_not_copy(
    browser: Browser, server: JobsServer
) -> None:
    with opened(browser, server.url) as page:
        page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        page.reload()
        upload(page, scene(8))
        link = shared(page)
        expect(page.locator("#share-told")).to_contain_text("Copy the selected link yourself")
        assert page.evaluate("getSelection().toString()") == link


def test_a_picture_whose_upload_failed_is_the_same_job_when_tried_again(
    browser: Browser, server: JobsServer
) -> None:
    keys: list[str] = []
    busy = json.dumps({"title": "Busy", "status": 503, "detail": "500 images wait"})

    def refuse_first(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fulfill(status=503, content_type="application/problem+json", body=busy)
        else:
            route.continue_()

    with opened(browser, server.url, failures=(503,)) as page:
        page.route(f"**{JOBS}?*", refuse_first)
        upload(page, scene(11))
        page.click("#share")
        page.click("#share-upload")
        told = page.locator("#share-told")
        expect(told).to_have_text("The service is busy. 500 images wait")
        expect(page).to_have_url(f"{server.url}/")
        page.click("#share-upload")
        expect(page.locator("#link")).to_be_visible()
        assert keys[0] == keys[1]


def test_a_job_is_cancelled_and_deleted(browser: Browser, server: JobsServer) -> None:
    job = submitted(server.url, saved(picture(1)), depth=10)
    with opened(browser, f"{server.url}/#job={job}") as page:
        expect(page.locator("#state")).to_contain_text("Running: ")
        page.click("#stop")
        expect(page.locator("#state")).to_have_text(
            re.compile(r"Cancelled: \d+ regions?, level \d of 10\.")
        )
        assert state_of(server.url, job) == "cancelled"
        expect(page.locator("#stop")).to_be_hidden()
        page.click("#delete")
        page.click("#delete-not")
        assert state_of(server.url, job) == "cancelled"
        page.click("#delete")
        page.click("#delete-now")
        expect(page.locator("#start")).to_be_visible()
        expect(page).to_have_url(f"{server.url}/")
        assert httpx.get(f"{server.url}{JOBS}/{job}").json()["error"] == "no_job"
        page.click("#undo")
        expect(page.locator("#gone")).to_contain_text("deleted")


@pytest.mark.parametrize("job", ["0" * 32, "short"])
def test_a_job_that_is_not_there(browser: Browser, server: JobsServer, job: str) -> None:
    with opened(browser, f"{server.url}/#job={job}") as page:
        expect(page.get_by_role("alert")).to_contain_text("This shared map is not here.")
        page.get_by_role("button", name="Explain a new picture").click()
        expect(page.locator("#file")).to_be_focused()
        upload(page, scene())
        expect(page.locator("#state")).to_contain_text("Finished", timeout=ENDED)


def test_several_images_and_one_that_cannot_be_used(browser: Browser, server: JobsServer) -> None:
    job = submitted(server.url, saved(picture(2)), b"no picture", saved(picture(3)), depth=2)
    wait_for(lambda: state_of(server.url, job) == "finished", seconds=30)
    with opened(browser, f"{server.url}/#job={job}") as page:
        expect(page.locator("#state")).to_contain_text("Finished: 4 regions")
        first = page.locator(".frame img").get_attribute("src")
        expect(page.locator("#previous")).to_be_disabled()
        page.click("#next")
        expect(page.locator("#place")).to_have_text("Image 2 of 3")
        expect(page.locator("#state")).to_contain_text(
            "Failed. The bytes are not an image of a known format"
        )
        expect(page.locator("#none-yet")).to_be_visible()
        page.click("#next")
        expect(page.locator("#state")).to_contain_text("Finished: 4 regions")
        assert page.locator(".frame img").get_attribute("src") != first
        expect(page.locator("#next")).to_be_disabled()
        page.click("#previous")
        expect(page.locator("#state")).to_contain_text("Failed")
        page.click("#another")
        upload(page, scene())
        expect(page.locator(".frame")).to_be_visible()


def test_a_hidden_page_asks_nothing(browser: Browser, server: JobsServer) -> None:
    job = submitted(server.url, saved(picture(4)), depth=6)
    with opened(browser, f"{server.url}/#job={job}") as page:
        expect(page.locator("#state")).to_contain_text("Running: ")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        hide = """hidden => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
        page.evaluate(hide, True)
        page.wait_for_timeout(200)  # what was under way
        asked.clear()
        wait_for(lambda: state_of(server.url, job) == "finished", seconds=30)
        page.wait_for_timeout(700)
        assert asked == []
        page.evaluate(hide, False)
        expect(page.locator("#state")).to_contain_text("Finished: 64 regions")
        asked.clear()
        page.wait_for_timeout(1200)
        assert asked == []  # nor does one whose job has ended


def test_a_shared_link_asks_for_a_token(browser: Browser, args: AppArgs, tmp_path: Path) -> None:
    file = str(tmp_path / "tokens.json")
    token = create_token(file, "ann")
    own = {"tokens": file, "jobs": JobSettings(storage=str(tmp_path / "jobs"))}
    with jobs_server(args.model_copy(update=own)) as server:
        headers = {"authorization": f"Bearer {token}"}
        image = saved(picture(5))
        asked = httpx.post(f"{server.url}{JOBS}", content=image, headers=headers, timeout=60).json()
        with opened(browser, f"{server.url}/#job={asked['id']}", failures=(401,)) as page:
            expect(page.get_by_role("alert")).to_contain_text("The service asks for a token.")
            page.fill("#token", token)
            page.keyboard.press("Enter")
            expect(page.locator("#state")).to_contain_text("Finished", timeout=ENDED)
            expect(page.get_by_role("alert")).to_be_hidden()


def test_another_link_in_the_same_window(browser: Browser, server: JobsServer) -> None:
    one, other = (submitted(server.url, saved(picture(6)), depth=depth) for depth in (1, 2))
    with opened(browser, f"{server.url}/#job={one}") as page:
        expect(page.locator("#state")).to_contain_text("Finished: 2 regions", timeout=ENDED)
        page.evaluate("hash => { location.hash = hash; }", f"#job={other}")
        expect(page.locator("#state")).to_contain_text("Finished: 4 regions", timeout=ENDED)
        page.click("#undo")
        expect(page.locator("#state")).to_contain_text("Finished: 2 regions")
        expect(page).to_have_url(f"{server.url}/#job={one}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_and_color_scheme_of_a_shared_map(
    browser: Browser, server: JobsServer, scheme: Any
) -> None:
    job = submitted(server.url, saved(picture(7)), saved(picture(8)), depth=3)
    link = f"{server.url}/#job={job}"
    with opened(browser, link, viewport=PHONE, color_scheme=scheme) as page:
        expect(page.locator("#state")).to_contain_text("Finished", timeout=ENDED)
        assert not scrolls_sideways(page)
        edges = "e => e.map(each => Math.round(each.getBoundingClientRect().right))"
        maps, scale, *buttons = page.locator(
            "#maps, .scale, .of-job .actions button:nth-child(even)"
        ).evaluate_all(edges)
        assert {maps, scale, *buttons} == {maps}  # one column
        page.click("#job-link")
        expect(page.locator("#link")).to_have_value(link)
        box = page.get_by_role("dialog").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
        assert not scrolls_sideways(page)
        ground = page.evaluate("getComputedStyle(document.querySelector('dialog')).backgroundColor")
        assert (int(ground.strip("rgb()").split(",")[0]) < 60) == (scheme == "dark")

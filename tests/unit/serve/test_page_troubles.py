"""Messages of what went wrong: they stand until the same succeeds, and are tried again alone."""

from __future__ import annotations

from playwright.sync_api import Page, expect
from support.scripted_page import (
    JOB,
    URL,
    Service,
    as_json,
    job_reply,
)
from support.service_page import scene, upload, wait_until_finished

BUSY = as_json({"title": "Busy", "detail": "64 wait"}, 503)
DISK = as_json({"title": "Failed", "detail": "the disk is full"}, 500)


def test_a_success_of_the_shared_map_leaves_other_messages(page: Page, service: Service) -> None:
    service.replies[JOB] = job_reply("waiting")
    page.goto(f"{URL}#job={JOB}")
    expect(page.locator("#state")).to_contain_text("Waiting")
    alert = page.get_by_role("alert")
    service.replies[JOB] = BUSY
    expect(alert).to_contain_text("64 wait", timeout=15_000)
    service.replies[f"{JOB}:cancel"] = DISK
    page.click("#stop")
    expect(alert).to_contain_text("The disk is full")
    asked = len(service.asked)
    page.wait_for_timeout(1500)
    assert JOB in service.asked[asked:]  # that it is still busy does not hide the other message
    expect(alert).to_contain_text("The disk is full")
    service.replies[JOB] = job_reply("running")
    expect(page.locator("#state")).to_contain_text("Running", timeout=15_000)
    expect(alert).to_contain_text("The disk is full")
    service.replies[JOB] = service.replies[f"{JOB}:cancel"] = job_reply("cancelled")
    page.click("#retry")
    expect(page.locator("#state")).to_contain_text("Cancelled")
    assert service.asked.count(f"{JOB}:cancel") == 2  # what is tried again is what has failed
    expect(alert).to_be_hidden()


def test_a_failure_of_one_job_is_over_with_it(page: Page, service: Service) -> None:
    other = "f" * 32
    service.replies[JOB] = BUSY
    service.replies[other] = job_reply("waiting")
    service.replies[f"{other}:cancel"] = DISK
    page.goto(f"{URL}#job={JOB}")
    expect(page.get_by_role("alert")).to_contain_text("64 wait")
    page.evaluate("hash => { location.hash = hash; }", f"#job={other}")
    expect(page.locator("#state")).to_contain_text("Waiting")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_failed_download_says_nothing_of_the_explanation(page: Page) -> None:
    upload(page, scene())
    wait_until_finished(page)
    page.evaluate(
        "() => { window.createImageBitmap = async () => { throw new Error('no memory'); }; }"
    )
    page.click("#png")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("No memory")
    expect(page.locator("#state")).to_contain_text("Finished")
    page.evaluate(
        "() => { window.createImageBitmap = async () => document.querySelector('.frame img'); }"
    )
    with page.expect_download():
        page.click("#retry")
    expect(alert).to_be_hidden()


def test_the_networks_are_asked_for_again_and_clear_their_own_message(
    page: Page, service: Service
) -> None:
    works = service.replies["ier"]
    service.replies["ier"] = BUSY
    service.replies[JOB] = job_reply("waiting")
    page.goto(f"{URL}#job={JOB}")
    page.reload()
    alert = page.get_by_role("alert")
    expect(page.locator("#state")).to_contain_text("Waiting")
    expect(alert).to_contain_text("64 wait")
    service.replies["ier"] = works
    page.click("#retry")
    expect(page.locator("#weights")).to_contain_text("abcdef")
    expect(alert).to_be_hidden()


def test_a_scene_that_cannot_be_fetched_is_said_in_words(page: Page) -> None:
    page.route("**/page/examples/1.png", lambda route: route.abort())
    page.locator("#examples button").nth(1).click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The service cannot be reached.")
    page.unroute("**/page/examples/1.png")
    page.click("#retry")
    expect(page.locator("#subject")).to_have_text("Emotion map of scene-2.png")
    expect(alert).to_be_hidden()

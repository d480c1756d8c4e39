"""Keys, pastes and drops: which are the page's, and which a dialog's or a text field's."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Locator, Page, Route, expect
from support.scripted_page import (
    JOB,
    URL,
    Service,
    as_json,
    job_reply,
)
from support.service_page import scene, upload, wait_until_finished

EXPLAIN = "**/v1/models/ier:explain*"
GIVE = """([selector, type]) => {
  const data = new DataTransfer();
  data.items.add(new File(["picture"], "given.png", { type: "image/png" }));
  const options = { bubbles: true, cancelable: true };
  const place = document.querySelector(selector);
  const event = type === "paste"
    ? new ClipboardEvent(type, { ...options, clipboardData: data })
    : new DragEvent(type, { ...options, dataTransfer: data });
  place.dispatchEvent(event);
  return event.defaultPrevented;
}"""
"""Give a file to an element; whether the page kept the browser from handling it."""


@pytest.fixture
def page(page: Page) -> Page:
    """The same of a service that has jobs."""
    document = json.dumps({"paths": {"/v1/explanations": {}}})
    page.route("**/openapi.json", lambda route: route.fulfill(body=document))
    page.reload()
    return page


def hold_explanations(page: Page) -> None:
    """Let explanations begin, and not end."""
    held: list[Route] = []
    page.route(EXPLAIN, lambda route: held.append(route))  # noqa: PLW0108 (it wants a function)


def dialog_of(page: Page, button: str) -> Locator:
    """The dialog that a button opens."""
    page.click(button)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    return dialog


def test_escape_closes_a_dialog_and_cancels_nothing_behind_it(page: Page) -> None:
    hold_explanations(page)
    upload(page, scene())
    expect(page.locator("#state")).to_have_text("Explaining …")
    dialog = dialog_of(page, "#share")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("#state")).to_have_text("Explaining …")
    page.keyboard.press("Escape")  # now it is the page's
    expect(page.locator("#state")).to_contain_text("Cancelled")


def test_no_key_goes_back_behind_a_dialog(page: Page) -> None:
    upload(page, scene())
    wait_until_finished(page)
    page.locator("#depth").fill("4")
    wait_until_finished(page)
    page.click("#undo")
    for button in ("#share", "body"):  # with the focus on a button of the dialog, and on none
        if button == "#share":
            dialog_of(page, button)
        else:
            page.evaluate("document.activeElement.blur()")
        for key in ("Control+z", "Control+y", "Control+Shift+z", "Meta+z"):
            page.keyboard.press(key)
            expect(page.locator("#depth")).to_have_value("6")
        expect(page.locator("#work")).to_be_visible()
        expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+y")
    expect(page.locator("#depth")).to_have_value("4")


def test_keys_and_pastes_in_the_field_of_the_token_are_its_own(
    page: Page, service: Service
) -> None:
    upload(page, scene())
    wait_until_finished(page)
    service.replies["ier:explain"] = as_json({"detail": "give a token"}, 401)
    page.locator("#depth").fill("4")
    page.fill("#token", "sec")
    page.locator("#token").press("Control+z")
    page.locator("#token").press("Escape")
    page.evaluate(GIVE, ["#token", "paste"])  # a cell of a spreadsheet is text and a picture
    page.wait_for_timeout(100)  # a picture that is taken is decoded first
    expect(page.locator("#depth")).to_have_value("4")
    expect(page.locator("#subject")).to_have_text("Emotion map of scene.png")
    expect(page.locator("#token")).to_be_visible()


@pytest.mark.parametrize("field", ["#depth", "#contexts", "input[name=outlines]"])
def test_fields_without_text_leave_the_keys_to_the_page(page: Page, field: str) -> None:
    hold_explanations(page)
    upload(page, scene())
    expect(page.locator("#state")).to_have_text("Explaining …")
    page.locator(field).press("Escape")
    expect(page.locator("#state")).to_contain_text("Cancelled")
    page.locator(field).press("Control+z")
    expect(page.locator("#start")).to_be_visible()


def test_files_are_not_taken_behind_a_dialog(page: Page) -> None:
    upload(page, scene())
    wait_until_finished(page)
    dialog_of(page, "#share")
    for kind in ("paste", "dragenter", "dragover", "drop"):
        kept = page.evaluate(GIVE, ["dialog[open]", kind])
        # A browser would leave the page for a file that is dropped on it.
        assert kept == (kind in ("dragover", "drop"))
        expect(page.locator("#veil")).to_be_hidden()
    page.wait_for_timeout(100)
    expect(page.locator("#subject")).to_have_text("Emotion map of scene.png")
    page.keyboard.press("Escape")
    for kind in ("dragenter", "dragover", "drop"):
        page.evaluate(GIVE, ["body", kind])
    expect(page.locator("#subject")).to_have_text("Emotion map of given.png")


def test_a_dialog_is_of_what_it_was_opened_for(page: Page, service: Service) -> None:
    other = "f" * 32
    for job in (JOB, other):
        service.replies[job] = job_reply("waiting")
    page.goto(f"{URL}#job={JOB}")
    dialog = dialog_of(page, "#delete")
    page.evaluate("hash => { location.hash = hash; }", f"#job={other}")
    expect(dialog).to_be_hidden()  # it would delete the other job now
    dialog_of(page, "#delete")
    expect(page.locator("#delete-not")).to_be_focused()  # Enter alone deletes nothing
    with page.expect_request(lambda request: request.method == "DELETE") as request:
        page.click("#delete-now")
    assert request.value.url.rpartition("/")[2] == other
    expect(page.locator("#start")).to_be_visible()

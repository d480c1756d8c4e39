"""The service's page in a browser, and what it may not do there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, expect

from ier_ray.data.images import encode_png
from ier_ray.data.synthetic import draw_scene

FINISHED = 60_000
"""Milliseconds that an explanation may take here."""


def upload(page: Page, content: bytes, name: str = "scene.png") -> None:
    """Pick a picture, as by the file dialog, and wait until the page has taken it."""
    page.evaluate(
        """() => {
          window.taken = false;
          const note = (_, observer) => { window.taken = true; observer.disconnect(); };
          new MutationObserver(note).observe(
            document.querySelector("#maps"), { subtree: true, attributeFilter: ["src"] });
        }"""
    )
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": content})
    page.wait_for_function("() => window.taken")  # also if the service refuses it at once


def scene(seed: int = 5) -> bytes:
    """A drawn scene that is wider than high."""
    return encode_png(draw_scene("anger", size=96, seed=seed).image[16:80])


def wait_until_finished(page: Page) -> None:
    """Until the explanation is whole."""
    expect(page.locator("#state")).to_contain_text("Finished", timeout=FINISHED)


def explained(page: Page, tmp_path: Path) -> Any:
    """What the page saves as JSON: the reply that is shown, or two when two are compared."""
    with page.expect_download() as download:
        page.click("#json")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return json.loads(path.read_text())


def choose_class(page: Page, name: str) -> None:
    """Explain another class."""
    page.locator(f".class input[value={name}]").check()


def scrolls_sideways(page: Page) -> bool:
    """Whether anything is wider than the window."""
    return bool(page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


@contextmanager
def opened(
    browser: Browser, url: str, *, failures: tuple[int, ...] = (), **options: Any
) -> Iterator[Page]:
    """The page in a browser of its own. It asks no other host, and its scripts make no errors.

    Args:
        failures: statuses of replies that the browser may complain about; a 404 says that the
            service has no network for faces.
    """
    context = browser.new_context(**options)
    page = context.new_page()
    said: list[str] = []
    hosts: set[str] = set()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.goto(url)
    yield page
    context.close()
    expected = [f"responded with a status of {status} " for status in (404, *failures)]
    assert [line for line in said if not any(each in line for each in expected)] == []
    assert hosts - {""} == {urlsplit(url).netloc}  # blobs of the page have no host

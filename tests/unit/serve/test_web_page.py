"""How the page and its files are sent."""

from __future__ import annotations

import io
import re
from importlib.resources import files

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from ier_ray.data.synthetic import draw_scene
from ier_ray.serve.access import Access
from ier_ray.serve.web_page import EXAMPLE_SIDE, serve_page

DIRECTORY = files("ier_ray.serve").joinpath("page")
NAMES = sorted(file.name for file in DIRECTORY.iterdir())
TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@pytest.fixture(scope="module")
def client() -> TestClient:
    api = FastAPI()
    api.add_middleware(Access)
    serve_page(api)
    return TestClient(api)


CSP = "content-security-policy"


def directives(policy: str) -> dict[str, str]:
    """Of a content security policy, by their names."""
    pairs = (each.strip().partition(" ") for each in policy.split(";"))
    return {name: value for name, _, value in pairs}


@pytest.mark.parametrize("path", ["/", *(f"/page/{name}" for name in NAMES)])
def test_files_have_their_type_and_nothing_but_the_page_may_run(
    client: TestClient, path: str
) -> None:
    reply = client.get(path)
    name = path.removeprefix("/page/") if path != "/" else "index.html"
    assert reply.content == DIRECTORY.joinpath(name).read_bytes()
    assert reply.headers["content-type"] == TYPES[name.rpartition(".")[2]]
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["x-frame-options"] == "DENY"
    assert reply.headers["referrer-policy"] == "no-referrer"
    found = directives(reply.headers[CSP])
    assert found["default-src"] == found["frame-ancestors"] == found["base-uri"] == "'none'"
    assert found["script-src"] == found["style-src"] == found["connect-src"] == "'self'"
    assert "unsafe" not in reply.headers[CSP]
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == reply.headers["etag"]


@pytest.mark.parametrize("path", ["/", "/page/page.js", "/page/examples/3.png"])
def test_what_a_browser_has_already_is_not_sent_again(client: TestClient, path: str) -> None:
    tag = client.get(path).headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        reply = client.get(path, headers={"if-none-match": known})
        assert (reply.status_code, reply.content) == (304, b"")
        assert reply.headers["etag"] == tag
        assert CSP in reply.headers
    assert client.get(path, headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/page/none.js", "/page/", "/page/..%2fweb_page.py", "/page/%2e%2e/web_page.py"]
)
def test_no_other_file_is_sent(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_an_example_is_drawn_by_its_seed(client: TestClient) -> None:
    first, again, other = (client.get(f"/page/examples/{seed}.png") for seed in (6, 6, 7))
    assert first.headers["content-type"] == "image/png"
    assert first.content == again.content != other.content
    pixels = np.asarray(Image.open(io.BytesIO(first.content)))
    expected = draw_scene("hate", size=EXAMPLE_SIDE, seed=6).image  # the third of four, 6 mod 4
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("seed", ["-1", "10000", "one", "1.5"])
def test_there_is_no_example_of_another_seed(client: TestClient, seed: str) -> None:
    assert client.get(f"/page/examples/{seed}.png").status_code == 422


def test_everything_that_the_page_names_exists_and_nothing_is_inline() -> None:
    texts = {name: DIRECTORY.joinpath(name).read_text() for name in NAMES}
    html = texts["index.html"]
    named = re.findall(r'(?:src|href)="page/([^"]+)"', html)
    for name in NAMES:
        named += re.findall(r'from "\./([^"]+)"', texts[name])
    assert set(named) == set(NAMES) - {"index.html"}
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", html)
    for name in NAMES:
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|//cdn|innerHTML", texts[name])

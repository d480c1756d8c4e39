"""What the page makes of the service's replies, in a real browser, with scripted replies."""

from __future__ import annotations

import io
import json
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect
from support.scripted_page import (
    JOB,
    SIDE,
    URL,
    Reply,
    Service,
    as_json,
    event,
    explanation,
    job_reply,
    leaves,
)
from support.service_page import scene, upload, wait_until_finished

from ier_ray.explain.rendering import saturation

NPZ = "application/x-npz"


def shares(page: Page, network: str) -> list[str]:
    found = page.locator(f".shares .{network}:visible").all_inner_texts()
    return [text.replace("\xa0", " ") for text in found]


def test_probabilities_of_both_networks(page: Page) -> None:
    upload(page, scene())
    wait_until_finished(page)
    assert shares(page, "ier") == ["25 %", "70 %", "5.0 %"]
    assert shares(page, "fer") == ["90 %", "9.9 %", "< 0.1 %"]
    sad = page.get_by_role("radio", name="sad, 70 % by the picture network, 9.9 % by the face")
    expect(sad).to_be_checked()  # what the network of whole pictures predicts is explained
    widths = page.evaluate("[...document.querySelectorAll('.bars i')].map(bar => bar.style.width)")
    assert widths[:4] == ["25%", "90%", "70%", "9.93%"]


def test_a_service_of_one_network(page: Page, service: Service) -> None:
    service.replies["fer"] = as_json({"error": "not_found", "detail": "no such model"}, 404)
    page.reload()
    upload(page, scene())
    wait_until_finished(page)
    assert shares(page, "fer") == []
    expect(page.locator("#networks")).to_be_hidden()
    expect(page.get_by_role("alert")).to_be_hidden()
    assert "fer:predict" not in service.asked


BAD_GATEWAY = (502, "text/html", "<html><h1>Bad Gateway</h1>\n<p>no upstream</p></html>")
BUSY = {"error": "busy", "detail": "64 wait; try again in 1 s"}
PROBLEM = json.dumps({"type": "about:blank", "title": "Busy", "status": 503, "detail": "64 wait"})


@pytest.mark.parametrize(
    ("path", "reply", "words"),
    [
        ("ier:explain", as_json(BUSY, 503), "The service is busy. 64 wait; try again in 1 s"),
        ("ier:explain", (503, "application/problem+json", PROBLEM), "service is busy. 64 wait"),
        ("ier:explain", BAD_GATEWAY, "The service failed. Status 502 Bad Gateway. Bad Gateway no"),
        ("ier:predict", as_json(["?"], 500), "The service failed. Status 500"),
        ("fer:predict", (504, "text/plain", ""), "This took too long. Status 504"),
        ("ier", as_json(BUSY, 503), "The service is busy. 64 wait"),
        (
            "ier:explain",
            (200, "text/event-stream", event("error", {"error": "lost", "detail": "it died"})),
            "The service failed. It died",
        ),
        (
            "ier:explain",
            (200, "text/event-stream", event("level", explanation(1))),
            "The connection was lost.",
        ),
    ],
)
def test_failures_are_shown_in_words_and_tried_again(
    page: Page, service: Service, path: str, reply: Reply, words: str
) -> None:
    works = service.replies[path]
    service.replies[path] = reply
    page.reload()
    upload(page, scene())
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(words)
    assert "<" not in alert.inner_text()
    service.replies[path] = works
    page.click("#retry")
    wait_until_finished(page)
    expect(alert).to_be_hidden()
    expect(page.locator("#level-text")).to_have_text("4 regions")


def test_refused_settings_are_not_tried_again(page: Page, service: Service) -> None:
    detail = "depth: must be <= 7, got 8"
    works = service.replies["ier:explain"]
    service.replies["ier:explain"] = as_json({"error": "bad_parameter", "detail": detail}, 422)
    upload(page, scene())
    expect(page.get_by_role("alert")).to_contain_text(detail.capitalize())
    expect(page.locator("#retry")).to_be_hidden()
    expect(page.locator("#work")).to_be_visible()  # the picture stays, other settings may do
    service.replies["ier:explain"] = works
    page.locator("#depth").fill("5")
    wait_until_finished(page)


def test_a_map_that_the_deadline_cut_short_says_so(page: Page, service: Service) -> None:
    early = event("explanation", explanation(1, complete=False))
    service.replies["ier:explain"] = (200, "text/event-stream", early)
    upload(page, scene())
    wait_until_finished(page)
    expect(page.locator("#state")).to_contain_text("The time allowed was over")


def test_a_token_is_asked_for_and_sent(page: Page, service: Service) -> None:
    works = service.replies["ier"]
    service.replies["ier"] = as_json({"title": "Unauthorized", "detail": "give a token"}, 401)
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("The service asks for a token. Give a token")
    page.fill("#token", "secret")
    service.replies["ier"] = works
    with page.expect_request("**/v1/models/ier") as request:
        page.keyboard.press("Enter")
    assert request.value.headers["authorization"] == "Bearer secret"
    expect(page.get_by_role("alert")).to_be_hidden()
    with page.expect_request("**/v1/models/ier:explain*") as request:
        upload(page, scene())
    assert request.value.headers["authorization"] == "Bearer secret"
    wait_until_finished(page)
    expect(page.locator("#token")).to_have_value("")


def test_a_service_without_jobs_offers_no_sharing(page: Page, service: Service) -> None:
    upload(page, scene())
    wait_until_finished(page)
    expect(page.locator("#share")).to_be_hidden()
    assert not any("explanations" in each for each in service.asked)
    service.replies[JOB] = as_json({"error": "no_jobs", "detail": "set args.jobs"}, 404)
    page.goto(f"{URL}#job={JOB}")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("This service keeps no shared maps.")


def test_a_job_is_asked_for_again_after_a_failure_that_passes(page: Page, service: Service) -> None:
    service.replies[JOB] = as_json(BUSY, 503)
    page.goto(f"{URL}#job={JOB}")
    expect(page.get_by_role("alert")).to_contain_text("The service is busy.")
    service.replies[JOB] = job_reply("waiting")
    expect(page.locator("#state")).to_contain_text("Waiting")
    expect(page.get_by_role("alert")).to_be_hidden()
    service.replies[JOB] = job_reply("failed")
    state = page.locator("#state")
    expect(state).to_have_text("Failed. The service could not go on with it.", timeout=15_000)
    expect(page.locator("#stop")).to_be_hidden()


def module(page: Page, name: str, body: str, argument: Any = None) -> Any:
    """Run a function body with a module of the page as ``m``, and an argument ``a``."""
    return page.evaluate(
        f"async a => {{ const m = await import('/page/{name}'); {body} }}", argument
    )


def test_arrays_are_read_as_numpy_writes_them(page: Page) -> None:
    generator = np.random.default_rng(2)
    arrays: dict[str, NDArray[Any]] = {
        "long_name_of_no_use": np.arange(5000),
        "density": generator.normal(size=(3, 4, 2)),
        "columns": np.asfortranarray(generator.normal(size=(2, 5))).astype(np.float32, order="F"),
        "line": np.array([1.5, -2.0]),
    }
    read = """const bytes = new Uint8Array(a.bytes).buffer;
      const found = await m.arrayOf(bytes, a.name);
      if (!found) return null;
      const values = [], walk = (axis, ...places) => {
        if (axis === found.shape.length) values.push(found.at(...places));
        else for (let at = 0; at < found.shape[axis]; at++) walk(axis + 1, ...places, at);
      };
      walk(0);
      return [found.shape, values];"""
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, allow_pickle=False, **arrays)
        content = list(buffer.getvalue())
        for name in ("density", "columns", "line"):
            found = module(page, "npz.js", read, {"bytes": content, "name": name})
            assert found == [list(arrays[name].shape), arrays[name].ravel().tolist()]
        assert module(page, "npz.js", read, {"bytes": content, "name": "none"}) is None


def test_a_sharp_map_shows_the_credit_of_pixels_where_the_service_tells(
    page: Page, service: Service
) -> None:
    upload(page, scene())
    wait_until_finished(page)
    page.locator("input[value=sharp]").check(force=True)
    wait_until_finished(page)  # a service that replies with JSON shows the regions
    regions = page.locator("#most").inner_text()
    density = np.zeros((SIDE, SIDE, 3))
    density[4:8, 4:8, 1] = 0.5  # of sad, the second class
    buffer = io.BytesIO()
    np.savez_compressed(buffer, density=density)
    service.replies[f"ier:explain {NPZ}"] = (200, NPZ, buffer.getvalue())
    page.locator("#depth").fill("4")
    wait_until_finished(page)
    expect(page.locator("#most")).not_to_have_text(regions)
    per_percent = 100 * 0.5 * SIDE**2 / 100
    expect(page.locator("#most")).to_have_text(f"for +{per_percent:g}")
    page.locator("#level").fill("0")  # coarser levels are those of regions
    expect(page.locator("#most")).not_to_have_text(f"for +{per_percent:g}")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_events_are_the_same_wherever_the_stream_is_cut(page: Page, newline: str) -> None:
    text = newline.join(
        (": a comment", "", "event: level", 'data: {"name": "é → 🙂"}', "", "data: 1", "data:2")
    )
    encoded = (text + 2 * newline).encode()
    expected = [
        {"name": "level", "data": '{"name": "é → 🙂"}'},
        {"name": "message", "data": "1\n2"},
    ]
    read = """const parts = a.map(part => new Uint8Array(part));
      const body = new ReadableStream({
        pull(controller) { parts.length ? controller.enqueue(parts.shift()) : controller.close(); },
      });
      const found = [];
      for await (const each of m.events(body)) found.push(each);
      return found;"""
    for size in (1, 2, 3, 7, len(encoded)):
        parts = [list(encoded[start : start + size]) for start in range(0, len(encoded), size)]
        assert module(page, "service.js", read, parts) == expected


@pytest.mark.parametrize("depth", [0, 1, 5])
def test_colors_saturate_as_those_of_overlays(page: Page, depth: int) -> None:
    regions = leaves(depth, seed=depth)
    found = module(
        page,
        "regions.js",
        "const map = m.density(a.regions, a.side); return [[...map], m.saturation(map)];",
        {"regions": regions, "side": SIDE},
    )
    expected = np.zeros((SIDE, SIDE))
    for each in regions:
        rows, columns = slice(each["top"], each["bottom"]), slice(each["left"], each["right"])
        expected[rows, columns] = each["value"]
        expected[rows, columns] /= expected[rows, columns].size
    np.testing.assert_allclose(np.reshape(found[0], (SIDE, SIDE)), expected, rtol=1e-12)
    assert found[1] == pytest.approx(saturation(expected), rel=1e-12)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_a_smooth_map_is_interpolated_between_the_middles_of_regions(page: Page, size: int) -> None:
    grid = np.random.default_rng(4).normal(size=(4, 4))
    regions = [
        {
            "top": size * row,
            "bottom": size * (row + 1),
            "left": size * column,
            "right": size * (column + 1),
            "value": grid[row, column] * size**2,
        }
        for row, column in product(range(4), repeat=2)
    ]
    found = module(
        page,
        "regions.js",
        "return [...m.smoothed(m.density(a.regions, a.side), a.side, a.regions)];",
        {"regions": regions, "side": 4 * size},
    )
    middles = size * (np.arange(4) + 0.5)
    places = np.arange(4 * size) + 0.5
    columns = np.array([np.interp(places, middles, row) for row in grid])
    expected = np.array([np.interp(places, middles, column) for column in columns.T]).T
    np.testing.assert_allclose(np.reshape(found, expected.shape), expected, atol=1e-12)


def test_every_region_is_reached_by_arrows(page: Page) -> None:
    regions = leaves(5)
    reached = module(
        page,
        "regions.js",
        """const reached = new Set([0]);
        for (const index of reached) {
          for (const key of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]) {
            reached.add(m.neighbor(a.regions, a.side, index, key));
          }
        }
        return [...reached].sort((one, other) => one - other);""",
        {"regions": regions, "side": SIDE},
    )
    assert reached == list(range(32))

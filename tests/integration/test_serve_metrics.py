"""Metrics and ids of requests of the service as `make serve` starts it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from support.processes import wait_for
from support.prometheus import Scrape, metrics_in
from support.runs import ROOT
from support.service import EXPLAIN, MODEL, PREDICT, events_of, explain, scene
from support.service_process import HOST, config_in, healthy, serving

from ier_ray.serve.ports import free_port

pytestmark = pytest.mark.alone

DASHBOARD = ROOT / "deploy" / "grafana" / "ier_ray.json"
OWN_ID = "of-this.client/1"


@dataclass(frozen=True)
class Running:
    """A service.

    Attributes:
        ray: Ray's files.
        haproxy: where HAProxy's metrics are.
        warmed: replies to the explanations that waited for it.
    """

    url: str
    ray: Path
    haproxy: str
    warmed: list[dict[str, Any]]

    def scrape(self) -> Scrape:
        """What a Prometheus of the cluster would find now."""
        discovered = json.loads((self.ray / "prom_metrics_service_discovery.json").read_text())
        targets = [target for group in discovered for target in group["targets"]]
        return Scrape.of([*targets, self.haproxy])

    def log(self, deployment: str) -> list[str]:
        """Lines of a deployment's replicas."""
        files = (self.ray / "session_latest/logs/serve").glob(f"replica_ier_{deployment}_*.log")
        return [line for file in files for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory, haproxy = tmp_path_factory.mktemp("service"), str(free_port())
    config = config_in(directory)
    port = yaml.safe_load(config.read_text())["http_options"]["port"]
    environment = {
        "RAY_SERVE_HAPROXY_METRICS_PORT": haproxy,
        "RAY_metrics_report_interval_ms": "1000",
    }
    with serving(config, **environment) as process:
        assert healthy(port), (directory / "service.log").read_text()[-4000:]
        url, warmed = f"http://{HOST}:{port}", []

        def explains() -> bool:
            reply = explain(url, 0, depth=1)
            if reply.is_success:
                warmed.append(reply.json())
            return reply.is_success

        wait_for(explains)
        ray = Path(psutil.Process(process.pid).environ()["RAY_TMPDIR"]) / "ray"
        yield Running(url, ray, f"{HOST}:{haproxy}", warmed)


def asked(service: Running) -> list[dict[str, Any]]:
    """Replies to explanations: images of their own, one image deeper and deeper, one again."""
    url = service.url
    queries = [(seed, {"depth": 3}) for seed in (1, 2)]
    queries += [(3, {"depth": depth}) for depth in (2, 3, 5, 5)]
    return [explain(url, seed, **query).raise_for_status().json() for seed, query in queries]


@pytest.mark.timeout(240)
def test_metrics_say_what_replies_say_and_the_dashboard_shows_what_exists(
    service: Running,
) -> None:
    url = service.url
    before = len(service.warmed)
    replies = service.warmed[:before] + asked(service)
    for seed in range(5):
        httpx.post(f"{url}{PREDICT}", content=scene(seed), timeout=60).raise_for_status()
    for _ in range(3):
        assert explain(url, 1, depth=99).status_code == 422
    scored = sum(reply["cost"]["rows"] for reply in replies)
    known = sum(reply["evaluations"] for reply in replies) - scored
    wait_for(lambda: service.scrape().total("ray_ier_rows_scored_total") >= scored, seconds=30)
    wait_for(lambda: service.scrape().total("ray_ier_refused_requests_total") >= 3, seconds=30)
    found = service.scrape()
    assert found.total("ray_ier_rows_scored_total", network="ier") == scored
    assert found.total("ray_ier_rows_known_total") == known
    first, last = replies[-2:]  # all that the first scored; the rest was of lower depths
    assert last["cost"]["rows"] == 0
    again = (before - 1) * service.warmed[0]["evaluations"]
    repeated = found.total("ray_ier_rows_known_total", kind="repeated")
    assert repeated == first["cost"]["rows"] + again
    done = {"outcome": "done", "network": "ier"}
    assert found.total("ray_ier_explanation_seconds_count", **done) == len(replies)
    assert found.total("ray_ier_explanation_predicted_seconds_total", **done) > 0
    computing = found.total("ray_ier_computing_seconds_total")
    took = sum(reply["cost"]["seconds"] for reply in replies)
    assert 0 < found.total("ray_ier_explanation_actual_seconds_total", **done) <= took
    assert 0 < computing <= took
    for level in range(6):
        expected = sum(reply["settings"]["depth"] >= level for reply in replies)
        assert found.total("ray_ier_level_seconds_count", level=str(level)) == expected
    assert found.total("ray_ier_predicted_images_total", network="ier") == 5
    refused = {"error": "bad_parameter", "status": "422"}
    assert found.total("ray_ier_refused_requests_total", **refused) == 3

    explain_by_jobs(service)
    cancel(service)
    found = service.scrape()
    assert found.total("ray_ier_explanation_seconds_count", outcome="cancelled") >= 1
    shown = shown_metrics()
    # Gauges that are set seldom are there only for two of Ray's intervals, which are short here.
    seen = set(found.names)

    def all_seen() -> bool:
        seen.update(service.scrape().names)
        return shown <= seen

    wait_for(all_seen, seconds=30)
    ends = ("_total", "_sum", "_count", "_bucket")
    own = {name for name in found.names if name.startswith("ray_ier_") and name.endswith(ends)}
    assert {name.rpartition("_")[0] for name in own} == {
        name.rpartition("_")[0]
        for name in shown
        if name.startswith("ray_ier_") and name.endswith(ends)  # gauges have no ending
    }


def explain_by_jobs(service: Running) -> None:
    """Two images of a job, one of them no image."""
    files = [("image", scene(50)), ("image", b"no image")]
    url = f"{service.url}/v1/explanations"
    httpx.post(url, files=files, params={"depth": 2}, timeout=60).raise_for_status()
    ended = "ray_ier_job_images_ended_total"
    wait_for(lambda: service.scrape().total(ended, state="finished") == 1, seconds=30)
    wait_for(lambda: service.scrape().total("ray_ier_job_images") == 0, seconds=30)


def cancel(service: Running) -> None:
    """Leave explanations until one was scored in a batch that nobody waited for."""
    deadline, seed = time.monotonic() + 90, 100
    while not service.scrape().total("ray_ier_rows_late_total"):
        assert time.monotonic() < deadline
        seed += 1
        query = {"depth": 8, "trees": 8, "variant": "normalized"}
        with pytest.raises(httpx.TimeoutException):
            explain(service.url, seed, timeout=0.5, **query)
        time.sleep(1.5)


def shown_metrics() -> set[str]:
    """The metrics of the dashboard's panels."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return {
        name
        for panel in panels
        for target in panel.get("targets", [])
        for name in metrics_in(target["expr"])
    }


def test_the_id_of_a_request_is_in_the_reply_and_in_the_logs_of_all_that_serve_it(
    service: Running,
) -> None:
    headers = {"x-request-id": OWN_ID, "accept": "text/event-stream"}
    url = service.url
    with httpx.stream(
        "POST", f"{url}{EXPLAIN}?depth=2", content=scene(50), headers=headers, timeout=60
    ) as reply:
        assert reply.headers["x-request-id"] == OWN_ID
        assert [name for name, _ in events_of(reply)][-1] == "explanation"
    wait_for(lambda: any(OWN_ID in line for line in service.log("Ingress")), seconds=20)
    refused = httpx.post(f"{url}{EXPLAIN}?depth=99", content=scene(1), headers=headers)
    assert (refused.status_code, refused.headers["x-request-id"]) == (422, OWN_ID)
    assert httpx.get(f"{url}/nothing", headers=headers).headers["x-request-id"] == OWN_ID


@pytest.mark.parametrize("given", [None, b"a b", b"\xff\xfe", b"x" * 129, b"a\tb", b""])
def test_ids_that_could_forge_lines_of_the_log_are_replaced(
    service: Running, given: bytes | None
) -> None:
    headers = [] if given is None else [(b"x-request-id", given)]
    reply = httpx.get(f"{service.url}{MODEL}", headers=headers)
    assert reply.status_code == 200
    assert len(reply.headers["x-request-id"]) == 36

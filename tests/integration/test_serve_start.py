"""`make serve`: HAProxy and its gate, one service per port, whatever dies on the machine."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from ray.cluster_utils import Cluster
from support.processes import cpu_s, descendants, wait_for
from support.service import EXPLAIN, PREDICT, events_of, explain, replicas, scene
from support.service_process import HOST, config_in, healthy, ready, serving

from ier_ray.errors import ServiceError
from ier_ray.serve.ports import claimed_port, free_port

pytestmark = pytest.mark.alone


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The shipped configuration with a checkpoint and a port of this test."""
    return config_in(tmp_path)


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service and its URL."""
    with ready(tmp_path_factory.mktemp("service")) as (process, url):
        yield process, url
        proxies = descendants("haproxy", of=process.pid)
    assert proxies
    _, left = psutil.wait_procs(proxies, timeout=20)
    assert not left
    claimed_port(HOST, int(url.rpartition(":")[2])).close()


def test_haproxy_listens_where_the_service_does_and_nowhere_else(
    service: tuple[subprocess.Popen[str], str],
) -> None:
    """Its statistics, too."""
    process, url = service
    listening = []
    for proxy in descendants("haproxy -dS", of=process.pid):
        with suppress(psutil.NoSuchProcess):  # one that another has replaced meanwhile
            connections = proxy.net_connections("tcp")
            listening += [each.laddr for each in connections if each.status == "LISTEN"]
    assert {address.ip for address in listening} == {HOST}
    assert int(url.rpartition(":")[2]) in [address.port for address in listening]
    assert len({address.port for address in listening}) == 3


@pytest.mark.timeout(300)
def test_more_than_a_replica_can_bear_is_refused_and_the_rest_is_right(
    service: tuple[subprocess.Popen[str], str],
) -> None:
    _, url = service
    images = [scene(seed) for seed in range(8)]
    expected = [httpx.post(f"{url}{PREDICT}", content=image).json() for image in images]
    replies: list[tuple[int, httpx.Response]] = []
    healths: list[int] = []

    def ask(worker: int) -> None:
        with httpx.Client(timeout=60) as own:
            for number in range(worker, worker + 8):
                reply = own.post(f"{url}{PREDICT}", content=images[number % 8])
                replies.append((number % 8, reply))

    def check() -> None:
        healths.extend(httpx.get(f"{url}/healthz", timeout=60).status_code for _ in range(5))

    threads = [threading.Thread(target=ask, args=(worker,)) for worker in range(120)]
    threads.append(threading.Thread(target=check))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert healths == [200] * 5
    assert len(replies) == 120 * 8
    assert {reply.status_code for _, reply in replies} == {200, 503}
    for number, reply in replies:
        if reply.status_code == 503:
            assert reply.json()["error"] == "busy"
            assert int(reply.headers["retry-after"]) >= 1
        else:
            assert reply.json()["weights_sha256"] == expected[number]["weights_sha256"]
            assert reply.json()["probabilities"] == pytest.approx(
                expected[number]["probabilities"], abs=1e-5
            )


def test_a_client_cannot_turn_disconnections_or_time_limits_off(
    service: tuple[subprocess.Popen[str], str],
) -> None:
    process, url = service
    headers = {"x-request-disconnect-disabled": "?1", "x-request-timeout-seconds": "0"}
    for seed in range(50, 54):  # some 20 s of work each
        with pytest.raises(httpx.TimeoutException):
            httpx.post(
                f"{url}{EXPLAIN}",
                content=scene(seed),
                params={"depth": 8, "budget": 8000},
                headers=headers,
                timeout=0.3,
            )
    (explainer,) = descendants("ServeReplica:ier:Explainer", of=process.pid)
    # At most a batch is still computed.
    wait_for(lambda: cpu_s(explainer, during=2) < 0.5, seconds=20)


def test_levels_arrive_when_they_are_finished(
    service: tuple[subprocess.Popen[str], str],
) -> None:
    _, url = service
    accept = {"accept": "text/event-stream"}
    with (
        httpx.Client(timeout=60) as client,
        client.stream(
            "POST", f"{url}{EXPLAIN}", content=scene(60), params={"depth": 4}, headers=accept
        ) as response,
    ):
        events = list(events_of(response))
    assert [name for name, _ in events][-1] == "explanation"
    assert [name for name, _ in events].count("level") >= 2
    assert events[-1][1]["complete"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "title",
    [
        "bin/haproxy",
        "ray::HAProxyManager",
        "ray::ProxyActor",
        "ray::ServeController",
        "ServeReplica:ier:Ingress",
        "ServeReplica:ier:Explainer",
    ],
)
def test_any_process_may_be_killed(service: tuple[subprocess.Popen[str], str], title: str) -> None:
    """Predictions and explanations come back, right, without anybody's help."""
    process, url = service
    before = httpx.post(f"{url}{PREDICT}", content=scene(3), timeout=60).json()
    killed = descendants(title, of=process.pid)
    assert killed
    for each in killed:
        each.kill()
    psutil.wait_procs(killed, timeout=10)

    def works() -> bool:
        try:
            again = httpx.post(f"{url}{PREDICT}", content=scene(3), timeout=10)
            explained = explain(url, 4, depth=2, timeout=20)
        except httpx.TransportError:
            return False
        return again.is_success and explained.is_success and again.json() == before

    wait_for(works)
    wait_for(lambda: len(descendants(title, of=process.pid)) >= 1)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_lost_node_takes_only_its_own_requests_with_it(tmp_path: Path) -> None:
    """An explainer on each of two nodes; one is lost, and then replaced."""
    ray_port = {"dashboard_port": free_port(), "object_store_memory": 100 * 2**20}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "resources": {"head": 1}, **ray_port}
    )
    second = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    config = config_in(tmp_path)
    content = yaml.safe_load(config.read_text())
    ingress, explainer, keeper = content["applications"][0]["deployments"]
    for each in (ingress, keeper):
        each["ray_actor_options"] = {"num_cpus": 0, "resources": {"head": 0.1}}
    explainer |= {"num_replicas": 2, "ray_actor_options": {"num_cpus": 1}}
    config.write_text(yaml.safe_dump(content))
    url = f"http://{HOST}:{content['http_options']['port']}"
    statuses: list[int] = []
    others = set(replicas("Explainer"))  # of the service beside

    def ask(seed: int) -> None:
        statuses.append(explain(url, seed, depth=9, timeout=120).status_code)

    try:
        with serving(config, address=cluster.address):
            assert healthy(content["http_options"]["port"])
            wait_for(lambda: all(explain(url, seed, depth=1).is_success for seed in range(8)))
            threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(100, 108)]
            for thread in threads:
                thread.start()
            both = set(replicas("Explainer")) - others
            assert len(both) == 2
            wait_for(lambda: all(cpu_s(each, during=0.2) > 0.05 for each in both))
            cluster.remove_node(second, allow_graceful=False)
            for thread in threads:
                thread.join()
            assert len(statuses) == 8
            assert set(statuses) == {200, 503}
            assert httpx.post(f"{url}{PREDICT}", content=scene(1), timeout=30).is_success
            # The other explainer takes all of them.
            wait_for(lambda: all(explain(url, seed, depth=2).is_success for seed in range(8)))
            cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
            wait_for(lambda: all(explain(url, seed, depth=2).is_success for seed in range(20, 28)))
    finally:
        cluster.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_second_service_on_the_port_is_refused_and_a_dead_cluster_is_no_obstacle(
    config: Path,
) -> None:
    port = yaml.safe_load(config.read_text())["http_options"]["port"]
    log = config.parent / "service.log"
    with serving(config, record=f"{HOST}:{free_port()}"):
        wait_for(lambda: "records a Ray cluster that cannot be joined" in log.read_text())
        for _ in ("while the first starts", "while it serves"):
            second = subprocess.run(
                [sys.executable, "-m", "ier_ray.serve.start", str(config)],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert second.returncode == 1
            (line,) = second.stderr.splitlines()
            assert line.startswith(f"serve: error: cannot serve on {HOST}, port {port}: Address")
            assert healthy(port)


def test_a_claimed_port_is_open_to_sockets_that_share_it_and_free_afterwards() -> None:
    port = free_port()
    with claimed_port(HOST, port):
        for host in (HOST, "0.0.0.0"):  # noqa: S104 (nothing listens)
            with pytest.raises(ServiceError, match=f"cannot serve on {host}, port {port}: Address"):
                claimed_port(host, port)
        shared = listening(port)  # as Ray Serve does
    with shared, pytest.raises(ServiceError, match="stop the program that listens there"):
        claimed_port(HOST, port)
    claimed_port(HOST, port).close()


def test_a_service_that_has_just_ended_is_no_obstacle() -> None:
    port = free_port()
    with listening(port) as service, socket.create_connection((HOST, port)) as client:
        connection, _ = service.accept()
        connection.close()  # the side that closes first keeps the port busy for a minute
        client.recv(1)
    claimed_port(HOST, port).close()


def listening(port: int) -> socket.socket:
    service = socket.socket()
    service.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    service.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    service.bind((HOST, port))
    service.listen()
    return service

"""The service under faults: killed replicas, replaced and unreadable checkpoints, a new one."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from support.processes import wait_for
from support.service import (
    EXPLAIN,
    PREDICT,
    deploy,
    expected_probabilities,
    expected_values,
    explain,
    hash_of,
    replicas,
    running,
    scene,
    values,
)

from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.serve.schemas import AppArgs

pytestmark = pytest.mark.alone


@pytest.fixture
def served(checkpoints: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the first checkpoint that a test may damage."""
    return Path(shutil.copytree(checkpoints[0], tmp_path / "served"))


def test_an_explanation_that_costs_too_much_is_refused_before_it_begins(
    checkpoints: tuple[Path, Path],
) -> None:
    args = AppArgs(checkpoint=str(checkpoints[0]), max_explanation_s=0.001)
    with running(args) as url:
        reply = explain(url, 1, depth=8, timeout=60)
        assert reply.status_code == 422
        assert "0.001 s are allowed: lower depth, or give a budget" in reply.json()["detail"]


def test_an_explanation_that_takes_long_is_spread_over_idle_replicas(
    checkpoints: tuple[Path, Path],
) -> None:
    settings = ExplainerSettings(depth=5, budget=8000)
    args = AppArgs(checkpoint=str(checkpoints[0]), spread_s=0.02)
    with running(args, explainers=2) as url:
        explain(url, 1, depth=3)
        before = {each: sum(each.cpu_times()[:2]) for each in replicas("Explainer")}
        reply = explain(url, 500, **settings.model_dump(include={"depth", "budget"})).json()
        worked = [sum(each.cpu_times()[:2]) - known for each, known in before.items()]
        assert min(worked) > 0.2
    expected = expected_values(Recognizer.load(str(checkpoints[0])), scene(500), settings)
    np.testing.assert_allclose(values(reply), expected, atol=1e-5)
    assert reply["evaluations"] == 8000


def test_at_the_deadline_the_finished_levels_are_the_reply(
    checkpoints: tuple[Path, Path],
) -> None:
    """Refining takes many seconds; the tree that it begins with is finished long before."""
    args = AppArgs(checkpoint=str(checkpoints[0]), deadline_s=2.0)
    with running(args) as url:
        began = time.monotonic()
        reply = explain(url, 1, depth=8, budget=8000)
        assert time.monotonic() - began < 10
        found = reply.json()
        assert reply.status_code == 200
        assert not found["complete"]
        assert {leaf["deviation"] for leaf in found["leaves"]} == {None}
        tree = explain(url, 1, depth=8).json()
        assert tree["complete"]
        np.testing.assert_allclose(values(found), values(tree), atol=1e-9)


def test_a_replica_whose_files_were_replaced_never_serves(
    served: Path, checkpoints: tuple[Path, Path]
) -> None:
    """One of two explainers is killed after its checkpoint became another one."""
    recognizer = Recognizer.load(str(served))
    pinned, settings = hash_of(served), ExplainerSettings(depth=3)
    with running(AppArgs(checkpoint=str(served)), explainers=2) as url:
        shutil.rmtree(served)
        shutil.copytree(checkpoints[1], served)
        killed = replicas("Explainer")[0]
        killed.kill()
        outcomes = []
        for seed in range(30):
            reply = explain(url, seed, depth=3, timeout=60)
            outcomes.append(reply.status_code)
            if reply.status_code == 200:
                expected = expected_values(recognizer, scene(seed), settings)
                np.testing.assert_allclose(values(reply.json()), expected, atol=1e-5)
                assert reply.json()["weights_sha256"] == pinned
            time.sleep(0.2)
        assert outcomes[-5:] == [200] * 5  # the other explainer goes on
        assert set(outcomes) <= {200, 503}


def test_a_replica_comes_back_when_its_checkpoint_can_be_read_again(served: Path) -> None:
    with running(AppArgs(checkpoint=str(served))) as url:
        away = served.with_name("away")
        served.rename(away)
        (killed,) = replicas("Explainer")
        killed.kill()
        time.sleep(8)
        reply = explain(url, 1, depth=2)
        assert reply.status_code == 503
        assert reply.headers["retry-after"] == "1"
        away.rename(served)

        def works() -> bool:
            try:
                again = explain(url, 1, depth=2, timeout=5)
            except httpx.TimeoutException:
                return False
            return again.status_code == 200

        wait_for(works)


def test_a_new_checkpoint_is_deployed_without_a_failed_request(
    checkpoints: tuple[Path, Path],
) -> None:
    first, second = checkpoints
    recognizers = {hash_of(each): Recognizer.load(str(each)) for each in checkpoints}
    settings = ExplainerSettings(depth=3)
    replies: list[tuple[int, dict[str, Any]]] = []
    ended = threading.Event()

    def traffic(worker: int) -> None:
        seed = 1000 * worker
        with httpx.Client(base_url=url, timeout=60) as own:
            while not ended.is_set():
                seed += 1
                reply = own.post(EXPLAIN, content=scene(seed), params={"depth": 3})
                replies.append((seed, {"status": reply.status_code, **reply.json()}))
                reply = own.post(PREDICT, content=scene(seed))
                replies.append((seed, {"status": reply.status_code, **reply.json()}))

    with running(AppArgs(checkpoint=str(first))) as url:
        threads = [threading.Thread(target=traffic, args=(worker,)) for worker in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(2)
        deploy(AppArgs(checkpoint=str(second)))
        time.sleep(3)
        ended.set()
        for thread in threads:
            thread.join()
    assert [each for each in replies if each[1]["status"] != 200] == []
    hashes = [reply["weights_sha256"] for _, reply in replies]
    assert hashes[0] == hash_of(first)
    assert hashes[-1] == hash_of(second)
    for seed, reply in replies[:: max(1, len(replies) // 40)]:
        recognizer = recognizers[reply["weights_sha256"]]
        if "leaves" in reply:
            expected = expected_values(recognizer, scene(seed), settings)
            np.testing.assert_allclose(values(reply), expected, atol=1e-5)
        else:
            expected = expected_probabilities(recognizer, scene(seed))
            found = list(reply["probabilities"].values())
            np.testing.assert_allclose(found, expected, atol=1e-5)

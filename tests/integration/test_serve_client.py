"""The client and the explain job against a running service that wants tokens."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.checkpoints import save_tiny
from support.processes import wait_for
from support.runs import ROOT
from support.service import expected_probabilities, expected_values, running, scene

from ier_ray.client import AsyncClient, Client, ProblemError
from ier_ray.client.records import Explanation, PredictionReply
from ier_ray.explained_images import ENDINGS
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.remote_explanations import TOKEN
from ier_ray.serve.schemas import AppArgs
from ier_ray.serve.tokens import create_token

DEEP = ExplainerSettings(depth=5)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def recognizer(checkpoint: str) -> Recognizer:
    return Recognizer.load(checkpoint)


@pytest.fixture(scope="module")
def service(
    cluster: None, checkpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """The address of a service, and a token of it."""
    file = str(tmp_path_factory.mktemp("tokens") / "tokens.json")
    token = create_token(file, "ann")
    with running(AppArgs(checkpoint=checkpoint, tokens=file)) as url, Client(url, token) as client:
        wait_for(lambda: client.cost(depth=1).admitted)
        yield url, token


def test_both_clients_get_what_the_network_says(
    service: tuple[str, str], recognizer: Recognizer
) -> None:
    expected = expected_values(recognizer, scene(1), DEEP)
    with Client(*service) as client:
        assert client.info().weights_sha256 == recognizer.manifest.weights_sha256
        probabilities = client.predict(scene(1)).probabilities
        np.testing.assert_allclose(
            list(probabilities.values()), expected_probabilities(recognizer, scene(1)), atol=1e-5
        )
        both = client.predict([scene(1), scene(2)])
        assert all(isinstance(each, PredictionReply) for each in both)
        levels = list(client.levels(scene(1), depth=5))
        assert [len(each.levels) for each in levels] == [1, 2, 3, 4, 5, 6]
        assert client.heat_map(scene(1), depth=2).startswith(b"\x89PNG")
        arrays = client.credits(scene(1), depth=5)
        assert arrays["credits"].shape == (2**6 - 1, len(recognizer.manifest.classes))

    async def several() -> list[Explanation]:
        async with AsyncClient(*service) as client:
            asked = [client.explain(scene(seed), depth=5) for seed in (1, 2, 3)]
            return await asyncio.gather(*asked)

    for each, found in ((levels[-1], 1), *zip(asyncio.run(several()), (1, 2, 3), strict=True)):
        wanted = expected if found == 1 else expected_values(recognizer, scene(found), DEEP)
        np.testing.assert_allclose([leaf.value for leaf in each.leaves], wanted, atol=1e-5)


def test_closing_a_stream_leaves_the_service_usable(service: tuple[str, str]) -> None:
    with Client(*service) as client:
        for _ in range(3):
            stream = client.levels(scene(4), depth=9, preset="paper")
            assert len(next(stream).leaves) >= 1
            stream.close()
        assert client.explain(scene(5), depth=2).complete


def test_a_service_wants_its_token(service: tuple[str, str]) -> None:
    for token in (None, "ier_wrong"):
        with Client(service[0], token) as client, pytest.raises(ProblemError) as caught:
            client.predict(scene(1))
        assert (caught.value.status, caught.value.error) == (401, "unauthorized")


def job(
    url: str, folder: Path, output: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The job on a folder, in a process of its own."""
    arguments = ["--server", url, "--images", folder, "--output", output, "--preset", "quick"]
    return subprocess.run(
        [sys.executable, ROOT / "jobs" / "explain.py", *map(str, arguments)],
        cwd=output.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_a_folder_is_explained_by_the_job(service: tuple[str, str], tmp_path: Path) -> None:
    url, token = service
    folder, output = tmp_path / "pictures", tmp_path / "explained"
    folder.mkdir()
    for seed in (1, 2, 3):
        (folder / f"{seed}.png").write_bytes(scene(seed))
    (folder / "bad.png").write_bytes(b"no picture")
    done = job(url, folder, output, **{TOKEN: token})
    assert done.returncode == 1
    assert "1 of 4 pictures are not explained, the others are:" in done.stderr
    assert f"{folder / 'bad.png'}: " in done.stderr
    assert token not in done.stderr + done.stdout
    names = {path.name for path in output.iterdir()}
    assert names == {f"{seed}{ending}" for seed in (1, 2, 3) for ending in ENDINGS}

    (folder / "bad.png").unlink()
    done = job(url, folder, output, **{TOKEN: token})
    assert done.returncode == 0, done.stderr
    explained = json.loads(done.stdout.splitlines()[-1])["explained"]
    assert [each["new"] for each in explained] == [False] * 3
    assert job(url, folder, output, **{TOKEN: ""}).returncode == 1

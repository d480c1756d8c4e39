"""Pictures explained through the real interface in this process, and the files of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from support.interface import interface
from support.scripted_server import reply, scripted

from ier_ray.client import AsyncClient, ProblemError, UnreachableError
from ier_ray.data.images import decode_square, encode_png
from ier_ray.data.synthetic import draw_scene
from ier_ray.errors import DataError, SettingsError, StorageError
from ier_ray.explain.rendering import from_npz
from ier_ray.explained_images import ENDINGS
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.remote_explanations import (
    TOKEN,
    PictureFile,
    Written,
    explain_remotely,
    pictures_of,
    token_of,
)

SETTINGS = ExplainerSettings(depth=3, score="logit")
Served = tuple[TestClient, Recognizer]


class Counting(httpx.AsyncBaseTransport):
    """Passes requests on to an application in this process, and counts them."""

    def __init__(self, application: TestClient) -> None:
        self._passed = httpx.ASGITransport(app=application.app)
        self.explained = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.explained += request.url.path.endswith(":explain")
        return await self._passed.handle_async_request(request)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with interface(tmp_path_factory.mktemp("checkpoint"), max_depth=5) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three pictures, one of them in a folder within, and a text."""
    found = tmp_path / "pictures"
    (found / "more").mkdir(parents=True)
    for number, name in enumerate(["a.png", "b.png", "more/c.png"]):
        image = draw_scene("anger", size=48, seed=number).image
        (found / name).write_bytes(encode_png(image))
    (found / "notes.txt").write_text("no picture")
    return found


def run(
    served: Served, folder: Path, output: Path, **options: Any
) -> tuple[list[Written], Counting]:
    """The written pictures of a folder, and how often the service was asked."""
    transport = Counting(served[0])
    client = AsyncClient("http://service", transport=transport, retries=0)
    pictures = pictures_of([str(folder)], str(output))
    given = {"settings": SETTINGS} | options
    return explain_remotely(client, pictures, str(output), **given), transport


def test_a_folder_is_explained_as_by_the_network_alone(
    served: Served, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    found, transport = run(served, folder, output, target="sad", domain="fer")
    assert [Path(each.files).name for each in found] == ["a", "b", "c"]
    assert transport.explained == 3
    assert {path.name for path in output.iterdir()} == {
        f"{stem}{ending}" for stem in "abc" for ending in ENDINGS
    }
    recognizer = served[1]
    sad = recognizer.manifest.label_scheme.index("sad")
    for each, name in zip(found, ["a.png", "b.png", "more/c.png"], strict=True):
        encoded = (folder / name).read_bytes()
        evaluator = recognizer.evaluator(decode_square(encoded, 32), SETTINGS, domain="fer")
        expected = SETTINGS.explainer(sad).explain(evaluator)
        npz = from_npz(Path(f"{each.files}.npz").read_bytes())
        np.testing.assert_allclose(npz.credits, expected.credits, atol=1e-5)
        record = json.loads(Path(f"{each.files}.json").read_text())
        values = [leaf["value"] for leaf in record["leaves"]]
        np.testing.assert_allclose(values, expected.leaf_values(sad), atol=1e-5)
        assert record["target"] == each.target == "sad"
        assert record["settings"] == SETTINGS.model_dump(mode="json")
        assert record["service"]["network"] == "fer"
        for ending in ENDINGS[:3]:
            Image.open(f"{each.files}{ending}").verify()


def test_what_is_finished_is_not_asked_for_again(
    served: Served, folder: Path, tmp_path: Path
) -> None:
    output = folder / "output"  # within the folder: what is written there is no picture
    first, _ = run(served, folder, output)
    before = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    again, transport = run(served, folder, output)
    assert transport.explained == 0
    assert [(each.files, each.target) for each in again] == [
        (each.files, each.target) for each in first
    ]
    assert not any(each.new for each in again)
    assert {path: path.stat().st_mtime_ns for path in output.iterdir()} == before

    (folder / "b.png").write_bytes(encode_png(draw_scene("sad", size=48, seed=9).image))
    (output / "c.npz").unlink()
    found, transport = run(served, folder, output)
    assert [each.new for each in found] == [False, True, True]
    assert transport.explained == 2
    predicted = {each.target for each in found}
    other = next(name for name in served[1].manifest.label_scheme.classes if name not in predicted)
    for changed in ({"target": other}, {"settings": ExplainerSettings(depth=2)}):
        assert run(served, folder, output, **changed)[1].explained == 3
    (output / "a.json").write_text("{")
    assert run(served, folder, output, settings=ExplainerSettings(depth=2))[1].explained == 1


def test_a_bad_picture_fails_alone(served: Served, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    (folder / "b.png").write_bytes(b"no picture")
    (folder / "d.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        run(served, folder, output)
    told = str(caught.value).splitlines()
    assert told[0] == "2 of 4 pictures are not explained, the others are:"
    assert [Path(line.partition(": ")[0]).name for line in told[1:]] == ["b.png", "d.png"]
    assert "not an image" in told[1]
    assert {path.name[0] for path in output.iterdir()} == {"a", "c"}
    (folder / "d.png").unlink()
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes())
    _, transport = run(served, folder, output)
    assert transport.explained == 1


def test_what_the_service_refuses_for_all_ends_at_once(
    served: Served, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    with pytest.raises(SettingsError, match="target must be one of"):
        run(served, folder, output, target="joy")
    with pytest.raises(ProblemError, match="depth: must be <= 5, got 9"):
        run(served, folder, output, settings=ExplainerSettings(depth=9))
    pictures = pictures_of([str(folder)], str(output))
    with scripted(reply(401)) as server:
        client = AsyncClient(server.url)
        with pytest.raises(ProblemError, match="401"):
            explain_remotely(client, pictures, str(output), settings=SETTINGS)
        assert len(server.seen) == 1
    client = AsyncClient("http://127.0.0.1:9", retries=0)
    with pytest.raises(UnreachableError):
        explain_remotely(client, pictures, str(output), settings=SETTINGS)
    assert not output.exists()


class Ending(Counting):
    """Refuses explanations after the first one."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        reply = await super().handle_async_request(request)
        return httpx.Response(401) if self.explained > 1 else reply


class Incomplete(Counting):
    """Says that the deadline passed, or that the weights are others."""

    def __init__(self, application: TestClient, name: str, value: str) -> None:
        super().__init__(application)
        self._changed = (name, value)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        reply = await super().handle_async_request(request)
        if request.url.path.endswith(":explain"):
            reply.headers[self._changed[0]] = self._changed[1]
        return reply


def test_a_token_that_ends_meanwhile_ends_the_run(
    served: Served, folder: Path, tmp_path: Path
) -> None:
    transport = Ending(served[0])
    client = AsyncClient("http://service", transport=transport, retries=0)
    pictures = pictures_of([str(folder)], str(tmp_path / "output"))
    with pytest.raises(ProblemError, match="401"):
        explain_remotely(client, pictures, str(tmp_path / "output"), settings=SETTINGS, at_once=1)
    assert transport.explained == 2
    assert {path.name[0] for path in (tmp_path / "output").iterdir()} == {"a"}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("explanation-complete", "false", "deadline passed before the last level"),
        ("weights-sha256", "1" * 64, "other weights now"),
    ],
)
def test_what_is_not_whole_is_not_written(
    served: Served, folder: Path, tmp_path: Path, name: str, value: str, told: str
) -> None:
    client = AsyncClient("http://service", transport=Incomplete(served[0], name, value))
    pictures = [PictureFile("a", str(folder / "a.png"))]
    with pytest.raises(DataError, match=told):
        explain_remotely(client, pictures, str(tmp_path / "output"), settings=SETTINGS)
    assert not (tmp_path / "output").exists()


def test_pictures_are_files_and_those_of_folders_each_once(folder: Path) -> None:
    given = [str(folder / "more" / "c.png"), str(folder), str(folder / "a.png")]
    found = pictures_of(given, str(folder / "output"))
    names = [Path(picture.location).relative_to(folder).as_posix() for picture in found]
    assert names == ["more/c.png", "a.png", "b.png"]
    (folder / "empty").mkdir()
    with pytest.raises(SettingsError, match="empty has no pictures"):
        pictures_of([str(folder / "empty")], "output")


def test_a_token_is_in_a_file_or_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    assert token_of(None) is None
    monkeypatch.setenv(TOKEN, "ier_environment")
    assert token_of(None) == "ier_environment"
    file = tmp_path / "token"
    file.write_text("ier_file\n")
    assert token_of(str(file)) == "ier_file"
    file.write_text(" \n")
    with pytest.raises(SettingsError, match="is empty"):
        token_of(str(file))
    file.write_bytes(b"\xffsecret")
    with pytest.raises(SettingsError, match="holds no token") as caught:
        token_of(str(file))
    assert "secret" not in str(caught.value)
    with pytest.raises(StorageError, match="no such file"):
        token_of(str(tmp_path / "none"))

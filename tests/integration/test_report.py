"""The page of a real run, with what the jobs for explanations and layers leave."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from playwright.sync_api import Browser
from support.runs import ROOT

from ier_ray import storage
from ier_ray.cluster.explainer import explain_images
from ier_ray.cluster.trainer import TrainResult
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.samples import images_from_shards
from ier_ray.data.shards import ShardSet
from ier_ray.emotions import FOUR
from ier_ray.experiments.demo_stages import compare_layers
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.report.page import render_report


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    port = int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    boto3.client("s3").create_bucket(Bucket="reports")
    yield "s3://reports"
    server.stop()


def test_a_run_with_explanations_and_layers_makes_a_page(
    trained: TrainResult, shards: dict[str, str], tmp_path: Path, browser: Browser
) -> None:
    run = Path(shutil.copytree(trained.run, tmp_path / "run"))
    images = images_from_shards(
        ShardSet.open(shards["ier"]), per_class=1, fold=0, preprocessing=Preprocessing(32)
    )
    sharp = ExplainerSettings(depth=4, variant="proportional", contexts="present")
    for name, settings in {"": ExplainerSettings(depth=3), "-sharp": sharp}.items():
        explained = explain_images(
            trained.checkpoint,
            images,
            str(run / f"explanations{name}"),
            scheme=FOUR,
            settings=settings,
        )
    compare_layers(trained.checkpoint, shards["ier"], str(run / "layerwise"), per_class=5, seed=0)
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / "report.py"), "--runs", str(run), "--title", "<one>"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    file = Path(record["report"])
    assert (file, record["bytes"]) == (run / "report.html", file.stat().st_size)
    assert record["bytes"] < 10e6

    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    text = " ".join(page.locator("body").inner_text().split())
    for domain in ("fer", "ier"):
        accuracy = trained.test[domain].accuracy
        assert (
            f"{domain.upper()} network, synthetic {trained.test[domain].samples} {accuracy:.3f}"
            in text
        )
    assert f"{trained.best_epoch} of {trained.epochs}" in text
    figures = page.locator(".explanation")
    assert figures.count() == len(images)
    assert figures.first.locator(".outline").count() == 1  # what carries the label is known
    for one in explained:
        assert one.name in text
    assert page.locator("h2", has_text="Layers").count() == 1
    page.close()


def test_a_page_of_runs_on_s3_is_the_page_of_runs_here(trained: TrainResult, bucket: str) -> None:
    place = f"{bucket}/runs/{Path(trained.run).name}"
    storage.copy_directory(trained.run, place)
    storage.copy_directory(trained.checkpoint, f"{place}/best")
    here, there = (render_report([run], title="x") for run in (trained.run, place))
    assert there.replace(place, trained.run) == here

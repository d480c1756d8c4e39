"""What `ray job submit --working-dir .` sends to a cluster."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.dashboard.modules.job.sdk import JobSubmissionClient
from support.runs import ROOT

MIB = 2**20
SENT = ["ier_ray", "jobs", "configs"]
OF_THE_IMAGE = [
    *("ier_ray/serve", "ier_ray/client", "ier_ray/explain/engine"),
    *("ier_ray/experiments", "jobs/demo.py", "jobs/experiment.py"),
    *("ier_ray/layerwise", "ier_ray/cluster/layerwise.py", "ier_ray/cluster/embeddings.py"),
    *("ier_ray/study", "jobs/study_export.py", "jobs/study_import.py"),
    *("jobs/layerwise.py", "ier_ray/report", "jobs/report.py"),
    *("ier_ray/explain/road.py", "ier_ray/explain/sheets.py", "jobs/explain.py"),
    *("ier_ray/explained_images.py", "ier_ray/remote_explanations"),
    *("ier_ray/cluster/explain_pool.py", "ier_ray/cluster/explainer.py"),
    *("ier_ray/explain/metrics.py", "ier_ray/explain/rendering.py"),
    *("ier_ray/evaluation/calibration.py", "ier_ray/evaluation/classes.py"),
    *("ier_ray/evaluation/comparison.py", "ier_ray/evaluation/confident_errors.py"),
    *("ier_ray/evaluation/equivalence.py", "ier_ray/evaluation/selective.py"),
    "ier_ray/evaluation/significance.py",
]
WEIGHTS = ["vgg16.pth", "configs/best/model.safetensors", "jobs/trainer_state.pt"]
LOCAL = [
    *(".venv/lib/torch.so", ".venv-uv/bin/uv", "venv/bin/python", "ier_ray/__pycache__/config.pyc"),
    *(".git/objects/pack", ".mypy_cache/x.json", "ier_ray.egg-info/x", "dist/ier_ray.whl"),
    *("runs/demo/train/best/model.safetensors", "mlruns/0/meta.yaml", "explanations/a.png"),
    *("data/mine/ier/part-0.parquet", "shards/part-0.parquet", "datasets/ck+/1.png", "photo.jpg"),
]
"""What the project's commands and its users leave in a checkout."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with data, weights and environments, each too large for a package."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in [*SENT, "tests", "docs", "deploy", "benchmarks"]:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":  # of a worktree
            shutil.copy(path, copy)
    for name in [*LOCAL, *WEIGHTS]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        with (copy / name).open("wb") as file:
            file.truncate(2 * MIB)
    return copy


def uploaded(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The package that the client of jobs uploads, without a cluster to upload it to."""
    packages: list[bytes] = []

    def request(method: str, endpoint: str, *, data: bytes, **_: Any) -> SimpleNamespace:
        assert (method, endpoint.split("/")[:3]) == ("PUT", ["", "api", "packages"])
        packages.append(data)
        return SimpleNamespace(status_code=200)

    client = JobSubmissionClient.__new__(JobSubmissionClient)  # its __init__ asks the cluster
    monkeypatch.setattr(client, "_package_exists", lambda uri: False)
    monkeypatch.setattr(client, "_do_request", request)
    client._upload_working_dir_if_needed({"working_dir": str(working_dir)})
    [package] = packages
    return package


def test_a_job_ships_code_and_settings_only(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = uploaded(checkout, monkeypatch)
    sent = set(zipfile.ZipFile(io.BytesIO(package)).namelist())
    code = {
        str(path.relative_to(checkout))
        for name in SENT
        for path in (checkout / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        if not any(path.is_relative_to(checkout / name) for name in OF_THE_IMAGE)
    }
    assert sent == code - set(WEIGHTS)
    assert {"ier_ray/cluster/job.py", "jobs/train.py", "configs/paper.yaml"} < sent
    assert len(package) < MIB

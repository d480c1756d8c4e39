"""Good and bad inputs of wrong calls."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.sources import SyntheticSource
from ier_ray.emotions import POLARITY
from support.captions import write_caption_models
from support.runs import ROOT, SIZE, run, tiny_settings
from support.wrong_calls.explain_service import write_tokens
from support.wrong_calls.report import write_runs
from support.wrong_calls.study import write_study_inputs


def write_inputs(shards: dict[str, str], root: Path) -> dict[str, str]:
    """Good and bad inputs below a directory, by the names that the calls below have for them."""
    settings = tiny_settings(shards, root / "runs", schedule={"epochs": 1, "warmup_epochs": 0})
    run(settings, shards, root / "run")
    checkpoint = root / "run" / "last"
    inputs = {**shards, "checkpoint": str(checkpoint), "root": str(root), "none": f"{root}/none"}

    other_fold = settings.model_copy(
        update={"data": settings.data.model_copy(update={"test_fold": 1, "val_fold": 2})}
    )
    run(other_fold, shards, root / "other_fold")
    inputs["other_fold"] = str(root / "other_fold" / "last")

    def changed(name: str, **values: Any) -> Path:
        copy = shutil.copytree(checkpoint, root / name)
        manifest = json.loads((copy / "manifest.json").read_text())
        (copy / "manifest.json").write_text(json.dumps(manifest | values))
        inputs[name] = str(copy)
        return copy

    changed("format_1", format_version=1)
    changed("fer_only", networks=["fer"])
    changed("odd_manifest", classes=3)
    damaged = changed("damaged") / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\1")
    (changed("weightless") / "model.safetensors").unlink()
    inputs["weights"] = f"{root}/other.safetensors"
    save_file({"features.0.weight": torch.zeros(1)}, inputs["weights"])
    inputs["captioner"], inputs["tokenizer"] = write_caption_models(root)

    source = SyntheticSource(samples=60, size=SIZE, seed=5)
    inputs["polarity"] = write_shard_set(
        source, "ier", f"{root}/polarity", scheme=POLARITY, layout=LayoutSettings()
    ).location
    write_shard_set(source, "fer", f"{root}/used/fer", scheme=POLARITY, layout=LayoutSettings())
    broken = shutil.copytree(shards["ier"], root / "broken")
    next(broken.rglob("part-*.parquet")).write_bytes(b"PAR1")
    inputs["broken"] = str(broken)
    (root / "odd_set").mkdir()
    (root / "odd_set" / "manifest.json").write_text('{"rows": 3}')
    inputs["odd_set"] = str(root / "odd_set")

    for name, text in {
        "latin.yaml": "name: été\n".encode("latin-1"),
        "wide.yaml": "name: x\n".encode("utf-16"),
        "list.yaml": b"- a\n- b\n",
        "twice.yaml": b"seed: 1\nseed: 2\n",
        "torn.yaml": b"name: [a\n",
        "unknown.yaml": b"nmae: x\n",
        "ten_workers.yaml": b"{scaling: {num_workers: 10}, model: {image_size: 32}}\n",
        "gpu.yaml": b"{scaling: {use_gpu: true}, model: {image_size: 32}}\n",
        "no_section.yaml": b"data: 3\n",
        "no_epochs.yaml": b"schedule: {epochs: 0}\n",
        "no_weights.yaml": b"schedule: {pretrained: gone.pth}\n",
        "small_alexnet.yaml": b"model: {architecture: alexnet, image_size: 32}\n",
        "no_scheme.yaml": b"name: mine\nclasses: [a]\n",
        "file": b"a file\n",
    }.items():
        (root / name).write_bytes(text)
        inputs[name.removesuffix(".yaml")] = str(root / name)
    inputs |= write_study_inputs(shards, root)
    inputs |= write_tokens(root)
    (root / "folder").mkdir()
    inputs["folder"] = str(root / "folder")
    inputs["demo_config"] = str(ROOT / "configs" / "demo.yaml")
    (root / "pictures" / "happy").mkdir(parents=True)
    (root / "pictures" / "odd").mkdir()
    Image.new("RGB", (40, 40), "teal").save(root / "pictures" / "happy" / "1.png")
    Image.new("RGB", (40, 40), "teal").save(root / "pictures" / "odd" / "1.png")
    inputs["picture"] = str(root / "pictures" / "happy" / "1.png")
    inputs |= write_runs(shards, checkpoint, root)
    return inputs

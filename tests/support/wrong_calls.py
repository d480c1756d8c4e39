"""What users get wrong: twenty calls and more of each job, and what each is told."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
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


@dataclass(frozen=True)
class WrongCall:
    """A call of a job that must be refused."""

    job: str
    what: str
    arguments: tuple[str, ...]
    told: tuple[str, ...]
    """A part of each line that the user gets; with ``|`` between alternatives."""
    joins: bool = False
    """Whether only a cluster can tell."""

    def lines(self, inputs: dict[str, str]) -> list[list[str]]:
        """What is looked for in each line, any of which suffices."""
        return [line.format_map(inputs).split("|") for line in self.told]

    def __str__(self) -> str:
        return f"{self.job}: {self.what}"


def write_inputs(shards: dict[str, str], root: Path) -> dict[str, str]:
    """Good and bad inputs below a directory, by the names that the calls below have for them."""
    settings = tiny_settings(shards, root / "runs", schedule={"epochs": 1, "warmup_epochs": 0})
    run(settings, shards, root / "run")
    checkpoint = root / "run" / "last"
    inputs = {**shards, "checkpoint": str(checkpoint), "root": str(root), "none": f"{root}/none"}

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
    (root / "folder").mkdir()
    inputs["folder"] = str(root / "folder")
    inputs["demo_config"] = str(ROOT / "configs" / "demo.yaml")
    (root / "pictures" / "happy").mkdir(parents=True)
    (root / "pictures" / "odd").mkdir()
    Image.new("RGB", (40, 40), "teal").save(root / "pictures" / "happy" / "1.png")
    Image.new("RGB", (40, 40), "teal").save(root / "pictures" / "odd" / "1.png")
    inputs["picture"] = str(root / "pictures" / "happy" / "1.png")
    return inputs


def _common(job: str, base: str, out: str = "output") -> list[WrongCall]:
    """What every job must refuse."""
    calls = {
        "unknown setting": (f"{base} --no-such-thing 1", "--no-such-thing is not a setting"),
        "stray word": (f"stray {base}", "'stray' follows no setting"),
        "config missing": (f"{base} --config {{none}}", "--config {none}: no such file"),
        "config a folder": (f"{base} --config {{folder}}", "--config {folder}: cannot be read"),
        "config in Latin-1": (f"{base} --config {{latin}}", "is not in UTF-8"),
        "config in UTF-16": (f"{base} --config {{wide}}", "is not in UTF-8"),
        "config a list": (f"{base} --config {{list}}", "must hold a mapping"),
        "config with a key twice": (f"{base} --config {{twice}}", "'seed' is given twice"),
        "config is torn": (f"{base} --config {{torn}}", "is not YAML"),
        "config with an unknown key": (f"{base} --config {{unknown}}", "nmae is not a setting"),
        "near-URI": (f"{base} --{out} s3:/bucket/x", f"{out}: 's3:/bucket/x' is no location"),
        "other storage": (f"{base} --{out} gs://bucket/x", f"{out}: 'gs://bucket/x' is no locatio"),
        "no place": (f"{base} --{out}=", f"{out}: '' is no location"),
        "below a file": (f"{base} --{out} {{file}}/x", "file is a file, not a directory"),
    }
    return [WrongCall(job, what, tuple(a.split()), (told,)) for what, (a, told) in calls.items()]


def _calls(job: str, base: str, table: dict[str, tuple[str, str]]) -> list[WrongCall]:
    return [
        WrongCall(
            job,
            what,
            tuple(f"{base} {arguments}".split()),
            tuple(told.split(" | ")),
            joins="the cluster has" in told,
        )
        for what, (arguments, told) in table.items()
    ]


def _training(job: str, prefix: str = "") -> list[WrongCall]:
    """What is wrong with a training run, in any job that trains."""
    base = f"--{prefix}data.fer {{fer}} --{prefix}data.ier {{ier}} --storage {{root}}/new"
    base += f" --{prefix}model.image-size 32 --{prefix}model.width 0.02"
    base += f" --{prefix}schedule.epochs 1"
    told = prefix.replace("-", "_")
    table = {
        "data missing": ("--P.data.ier {none}", "none: no shard set here"),
        "no data": ("--P.data.ier none", "data.ier is required"),
        "domains swapped": (
            "--P.data.fer {ier} --P.data.ier {fer}",
            "data.fer is {ier}, a shard set of domain 'ier'; give one of domain 'fer'",
        ),
        "other scheme": ("--P.data.ier {polarity}", "has label scheme 'polarity'"),
        "damaged shards": ("--P.data.ier {broken}", "cannot be read as Parquet"),
        "no manifest": ("--P.data.ier {odd_set}", "not a manifest of this version"),
        "no such fold": ("--P.data.val-fold 9", "has folds 0 to 4"),
        "pretrained missing": (
            "--P.schedule.pretrained {none}.pth",
            "none.pth: no such file",
        ),
        "pretrained unknown": ("--P.schedule.pretrained VGG", "'VGG' is neither a torchvision"),
        "pretrained of another network": (
            "--P.schedule.pretrained {weights}",
            "does not fit the network",
        ),
        "start missing": ("--P.schedule.fer-checkpoint {none}", "none: no checkpoint here"),
        "start of format 1": ("--P.schedule.fer-checkpoint {format_1}", "format version 1"),
        "start damaged": ("--P.schedule.fer-checkpoint {damaged}", "sha256 is"),
        "start of another size": (
            "--P.schedule.fer-checkpoint {checkpoint} --P.model.width 0.03",
            "fer_checkpoint {checkpoint}: is of model",
        ),
        "unknown criterion": ("--P.schedule.criterion best", f"{told}schedule.criterion must be"),
        "unknown architecture": ("--P.model.architecture vgg", "model.architecture must be"),
        "image too small": ("--P.model.architecture alexnet", "alexnet needs at least"),
        "no captions": ("--P.model.architecture caption_bert", "has no captions"),
        "layers to freeze": (
            "--P.optimizer.frozen-layers 999",
            "frozen_layers is 999, but the",
        ),
        "batch too large": (
            "--P.optimizer.batch-size 99",
            "batch_size is 99: a step of 1 workers takes 99 images, but an epoch of",
        ),
        "no epochs": ("--P.schedule.epochs 0", "schedule.epochs must be >= 1, got 0"),
        "seed of 33 bits": ("--P.seed 4294967296", "seed must be < 4294967296"),
        "no such tracking": ("--P.tracking.mlflow mlflow.db", "must be the URI of an MLflow"),
        "too many workers": ("--P.scaling.num-workers 10 --P.optimizer.batch-size 4", "needs 10.9"),
        "no GPU": ("--P.scaling.use-gpu", "1 GPUs, the cluster has"),
    }
    if job == "crossvalidate":
        table["no such fold"] = ("--data.val-fold 9", "in cross-validation every fold is the test")
    calls = _calls(
        job, base, {what: (a.replace("--P.", f"--{prefix}"), t) for what, (a, t) in table.items()}
    )
    return [*_common(job, base, "storage"), *calls]


TUNE = {
    "learning rate of 0": (
        '--search.space {{"optimizer.learning_rate":[0]}}',
        "search.space, a trial of optimizer.learning_rate 0: optimizer.learning_rate must be > 0",
    ),
    "range reversed": (
        '--search.space {{"loss.balance":{{"low":3,"high":2}}}}',
        "loss.balance: low (3) must not exceed high (2)",
    ),
    "balance below 0": (
        '--search.space {{"loss.balance":{{"low":-1,"high":2}}}}',
        "loss.balance must be >= 0, got -1",
    ),
    "searched what may not be": (
        "--train.loss.supervision fer --train.loss.discrepancy paired --train.loss.balance 0",
        "loss.discrepancy paired reads IER labels",
    ),
    "no trials": ("--search.trials 0", "search.trials must be >= 1"),
    "one network": (
        "--train.schedule.networks ier --train.loss.balance 0",
        "search.space, a trial of loss.balance 2: schedule.networks ier trains one network: "
        "loss.balance must be 0, got 2",
    ),
}

EVALUATE = {
    "no set": ("--checkpoint {checkpoint}", "give at least one shard set: --fer or --ier"),
    "domains swapped": (
        "--checkpoint {checkpoint} --ier {fer}",
        "ier is {fer}, a shard set of domain 'fer'; give one of domain 'ier'",
    ),
    "both swapped": ("--checkpoint {checkpoint} --ier {fer} --fer {ier}", "give one of domain"),
    "other scheme": ("--checkpoint {checkpoint} --ier {polarity}", "has label scheme 'polarity'"),
    "set missing": ("--checkpoint {checkpoint} --ier {none}", "none: no shard set here"),
    "set twice": ("--checkpoint {checkpoint} --ier {ier} {ier}", "has the same rows as {ier}"),
    "damaged set": ("--checkpoint {checkpoint} --ier {broken} --part all", "read as Parquet"),
    "checkpoint missing": ("--checkpoint {none} --ier {ier}", "none: no checkpoint here"),
    "checkpoint a file": ("--checkpoint {file} --ier {ier}", "file: no checkpoint here"),
    "checkpoint of format 1": ("--checkpoint {format_1} --ier {ier}", "format version 1"),
    "checkpoint damaged": ("--checkpoint {damaged} --ier {ier}", "sha256 is"),
    "checkpoint without weights": ("--checkpoint {weightless} --ier {ier}", "no such file"),
    "no manifest": ("--checkpoint {odd_manifest} --ier {ier}", "not a checkpoint manifest"),
    "no such network": ("--checkpoint {fer_only} --ier {ier}", "there is no ier network in it"),
    "unknown part": ("--checkpoint {checkpoint} --ier {ier} --part tests", "part must be"),
    "part of other data": (
        "--checkpoint {checkpoint} --ier {broken}",
        "its parts (test) are unknown here|Parquet",
    ),
    "seen rows": ("--checkpoint {checkpoint} --ier {ier} --part train", "trained or selected"),
    "output a directory": (
        "--checkpoint {checkpoint} --ier {ier} --output {folder}",
        "it is a directory; give a file",
    ),
    "no workers": ("--checkpoint {checkpoint} --ier {ier} --workers 0", "workers must be >= 1"),
    "too many workers": (
        "--checkpoint {checkpoint} --ier {ier} --workers 9",
        "9 workers of 1 CPUs and 0.9 CPUs to read data needs 9.9 CPUs and 0 GPUs, the cluster has",
    ),
}

EXPLAIN = {
    "nothing": ("", "give either images or shards"),
    "images and shards": ("--images {picture} --shards {ier}", "give either images or shards"),
    "images missing": (
        "--images {none}.png {picture} {none}.jpg",
        "none.png: no such file | none.jpg: no such file",
    ),
    "image a folder": ("--images {folder}", "folder: cannot be read"),
    "image no image": ("--images {file}", "file: the bytes are not an image"),
    "image twice": ("--images {picture} {picture}", "{picture}: is given twice"),
    "image elsewhere": ("--images http://host/1.png", "images.0: 'http://host/1.png' is no locat"),
    "output over an image": (
        "--images {picture} --output {root}/pictures/happy",
        "{picture}: an explanation would be written over it",
    ),
    "other domain": ("--shards {fer}", "shards is {fer}, a shard set of domain 'fer'; give one of"),
    "other scheme": ("--shards {polarity}", "has label scheme 'polarity'"),
    "shards missing": ("--shards {none}", "none: no shard set here"),
    "no such fold": ("--shards {ier} --fold 9", "fold 9 holds no image; there are folds 0 to 4"),
    "no such class": ("--images {picture} --target joy", "target must be one of"),
    "checkpoint missing": ("--images {picture} --checkpoint {none}", "no checkpoint here"),
    "checkpoint of format 1": ("--images {picture} --checkpoint {format_1}", "format version 1"),
    "checkpoint damaged": ("--images {picture} --checkpoint {damaged}", "sha256 is"),
    "no such network": ("--images {picture} --checkpoint {fer_only}", "there is no ier network"),
    "output a file": ("--images {picture} --output {file}", "is a file, not a directory"),
    "unknown baseline": ("--images {picture} --baseline purple", "baseline: "),
    "too deep": ("--images {picture} --depth 99", "depth must be <= 14, got 99"),
    "too many workers": (
        "--images {picture} --workers 9",
        "9 workers of 1 CPUs needs 9 CPUs and 0 GPUs, the cluster has",
    ),
}

INGEST = {
    "no path": ("--source folder --domain ier", "path is required"),
    "path missing": ("--source folder --domain ier --path {none}", "none: cannot be listed"),
    "path elsewhere": ("--path http://host/set.zip", "path.0: 'http://host/set.zip' is no loc"),
    "unknown source": ("--source instagram --path {root}", "source: must be one of"),
    "no domain": ("--source folder --path {root}/pictures", "domain: source 'folder' needs one"),
    "unknown domain": ("--source folder --path {root} --domain art", "domain must be 'fer' or"),
    "unknown scheme": ("--source synthetic --scheme nine", "scheme: unknown name 'nine'"),
    "scheme missing": ("--source synthetic --scheme {none}.yaml", "none.yaml: no such file"),
    "scheme in Latin-1": ("--source synthetic --scheme {latin}", "is not in UTF-8"),
    "scheme of one class": ("--source synthetic --scheme {no_scheme}", "two or more different"),
    "output a file": ("--source synthetic --output {root}/file", "is a file, not a directory"),
    "output in use": ("--source synthetic --output {root}/used", "holds a shard set made with"),
    "seed of 33 bits": ("--source synthetic --seed 4294967296", "seed must be < 4294967296"),
    "one fold": ("--source synthetic --folds 1", "folds must be >= 2, got 1"),
    "drawings too small": ("--source synthetic --size 16", "size must be >= 32, got 16"),
    "no drawings": ("--source synthetic --samples 0", "samples must be >= 1, got 0"),
    "nothing to inspect": ("--inspect {none}", "none: no shard set here"),
    "sheet of nothing": ("--source synthetic --sheet {root}/s.png", "name it with --inspect"),
    "sheet a directory": ("--inspect {ier} --sheet {folder}", "it is a directory; give a file"),
}

PROBE = {
    "no network": ("--shards {ier}", "give either checkpoint or pretrained"),
    "two networks": ("--shards {ier} --checkpoint c --pretrained random", "give either checkpoint"),
    "no shards": ("--checkpoint {checkpoint}", "shards is required"),
    "shards missing": ("--shards {none} --checkpoint {checkpoint}", "none: no shard set here"),
    "damaged shards": ("--shards {broken} --checkpoint {checkpoint}", "read as Parquet"),
    "checkpoint missing": ("--shards {ier} --checkpoint {none}", "none: no checkpoint here"),
    "checkpoint of format 1": ("--shards {ier} --checkpoint {format_1}", "format version 1"),
    "checkpoint damaged": ("--shards {ier} --checkpoint {damaged}", "sha256 is"),
    "no such network": ("--shards {ier} --checkpoint {fer_only}", "there is no ier network"),
    "model of a checkpoint": (
        "--shards {ier} --checkpoint {checkpoint} --model.width 0.5",
        "the checkpoint has its own",
    ),
    "no such layer": ("--shards {ier} --checkpoint {checkpoint} --layer features.999", "layer"),
    "unknown pool": ("--shards {ier} --checkpoint {checkpoint} --pool max", "pool must be"),
    "no such fold": (
        "--shards {ier} --checkpoint {checkpoint} --split.test-fold 9",
        "has folds 0 to 4",
    ),
    "one fold twice": (
        "--shards {ier} --checkpoint {checkpoint} --split.val-fold 0",
        "val_fold and test_fold are both 0",
    ),
    "seen rows": (
        "--shards {ier} --checkpoint {checkpoint} --split.test-fold 2",
        "test rows trained or selected",
    ),
    "pretrained missing": ("--shards {ier} --pretrained {none}.pth", "none.pth: no such file"),
    "pretrained of another network": (
        "--shards {ier} --pretrained {weights} --model.image-size 32",
        "does not fit the network",
    ),
    "no captions": (
        "--shards {ier} --pretrained random --model.architecture caption_bert",
        "has no captions",
    ),
    "seed of 33 bits": ("--shards {ier} --pretrained random --seed 4294967296", "seed must be <"),
    "output a directory": (
        "--shards {ier} --checkpoint {checkpoint} --output {folder}",
        "it is a directory; give a file",
    ),
    "too many workers": (
        "--shards {ier} --checkpoint {checkpoint} --workers 9",
        "needs 9.9 CPUs and 0 GPUs, the cluster has",
    ),
}

MODELS = "--captioner {captioner} --tokenizer {tokenizer}"
CAPTION = {
    "no settings": ("", "shards is required | output is required | captioner is required"
                        " | tokenizer is required"),
    "shards missing": (f"--shards {{none}} {MODELS} --output {{root}}/new", "no shard set here"),
    "no manifest": (f"--shards {{odd_set}} {MODELS} --output {{root}}/new", "not a manifest"),
    "captioner missing": (
        "--shards {ier} --captioner {none} --tokenizer {tokenizer} --output {root}/new",
        "captioner: {none} is not a directory",
    ),
    "captioner empty": (
        "--shards {ier} --captioner {folder} --tokenizer {tokenizer} --output {root}/new",
        "captioner {folder}: holds no image captioning model",
    ),
    "tokenizer missing": (
        "--shards {ier} --captioner {captioner} --tokenizer {none} --output {root}/new",
        "tokenizer: {none} is not a directory",
    ),
    "tokenizer empty": (
        "--shards {ier} --captioner {captioner} --tokenizer {folder} --output {root}/new",
        "tokenizer {folder}: holds no tokenizer",
    ),
    "output in use": (f"--shards {{ier}} {MODELS} --output {{fer}}", "holds a shard set made wit"),
    "no workers": (f"--shards {{ier}} {MODELS} --output {{root}}/new --workers 0", "workers must"),
    "too many workers": (
        f"--shards {{ier}} {MODELS} --output {{root}}/new --workers 9",
        "9 workers of 1 CPUs needs 9 CPUs and 0 GPUs, the cluster has",
    ),
}  # fmt: skip

DEMO = {
    "training settings missing": ("--train-config {none}", "train_config {none}: no such file"),
    "training settings in Latin-1": ("--train-config {latin}", "latin.yaml: is not in UTF-8"),
    "training settings unknown": ("--train-config {unknown}", "nmae is not a setting"),
    "training settings elsewhere": ("--train-config http://host/x", "'http://host/x' is no locat"),
    "data no section": ("--train-config {no_section}", "data is '3', not a section"),
    "no epochs": ("--train-config {no_epochs}", "schedule.epochs must be >= 1, got 0"),
    "pretrained missing": ("--train-config {no_weights}", "gone.pth: no such file"),
    "image too small": ("--train-config {small_alexnet}", "alexnet needs at least"),
    "too few drawings": ("--samples 10", "samples must be >= 40, got 10"),
    "seed of 33 bits": ("--seed 4294967296", "seed must be < 4294967296"),
    "none explained": ("--explained-per-class 0", "explained_per_class must be >= 1"),
    "too deep": ("--explainer.depth 99", "explainer.depth must be <= 14, got 99"),
    "unknown baseline": ("--explainer.baseline purple", "baseline"),
    "too many workers": ("--train-config {ten_workers}", "GPUs, the cluster has"),
    "no GPU": ("--train-config {gpu}", "1 GPUs, the cluster has"),
}

LAYERWISE = {
    "no set": ("--checkpoint {checkpoint}", "give either fer or ier"),
    "both sets": ("--checkpoint {checkpoint} --ier {ier} --fer {fer}", "give either fer or ier"),
    "no checkpoint": ("--ier {ier}", "checkpoint is required"),
    "checkpoint missing": ("--checkpoint {none} --ier {ier}", "none: no checkpoint here"),
    "checkpoint damaged": ("--checkpoint {damaged} --ier {ier}", "sha256 is"),
    "no such network": ("--checkpoint {fer_only} --ier {ier}", "there is no ier network"),
    "other domain": ("--checkpoint {checkpoint} --ier {fer}", "give one of domain 'ier'"),
    "no such layer": (
        "--checkpoint {checkpoint} --ier {ier} --layers features.99",
        "layer 'features.99' is not one of the network's",
    ),
    "layer that does not run": (
        "--checkpoint {checkpoint} --ier {ier} --layers features.4 features",
        "layer 'features' runs 0 times in a forward pass",
    ),
    "seen rows": ("--checkpoint {checkpoint} --ier {ier} --part train", "trained or selected"),
    "no images": ("--checkpoint {checkpoint} --ier {ier} --per_class 0", "per_class must be >= 1"),
    "few shuffles": (
        "--checkpoint {checkpoint} --ier {ier} --shuffles 3",
        "shuffles must be >= 20",
    ),
    "no such spread": ("--checkpoint {checkpoint} --ier {ier} --spread range", "spread must be"),
    "scratch missing": (
        "--checkpoint {checkpoint} --ier {ier} --scratch {none}",
        "scratch {none}: no directory of this machine",
    ),
    "too many workers": (
        "--checkpoint {checkpoint} --ier {ier} --workers 9",
        "needs 9.9 CPUs and 0 GPUs, the cluster has",
    ),
}

CALLS: list[WrongCall] = [
    *_training("train"),
    *_training("crossvalidate"),
    *_training("tune", "train."),
    *_calls("tune", "--train.data.fer {fer} --train.data.ier {ier} --storage {root}/new", TUNE),
    *_common("evaluate", "--checkpoint {checkpoint} --ier {ier}"),
    *_calls("evaluate", "", EVALUATE),
    *_common("explain", "--checkpoint {checkpoint} --images {picture}"),
    *_calls("explain", "--output {root}/new --checkpoint {checkpoint}", EXPLAIN),
    *_common("ingest", "--source synthetic --samples 50"),
    *_calls("ingest", "--output {root}/new", INGEST),
    *_common("probe", "--shards {ier} --checkpoint {checkpoint}"),
    *_calls("probe", "", PROBE),
    *_common("layerwise", "--checkpoint {checkpoint} --ier {ier}"),
    *_calls("layerwise", "--output {root}/new", LAYERWISE),
    *_common("caption", f"--shards {{ier}} {MODELS} --output {{root}}/new"),
    *_calls("caption", "", CAPTION),
    *_common("demo", "--samples 50 --train-config {demo_config}"),
    *_calls("demo", "--output {root}/new", DEMO),
]

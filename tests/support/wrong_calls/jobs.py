"""What users get wrong with jobs that train, look at data, and explain."""

from __future__ import annotations

from support.wrong_calls.calls import WrongCall, calls, common


def training(job: str, prefix: str = "") -> list[WrongCall]:
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
    named = {what: (a.replace("--P.", f"--{prefix}"), t) for what, (a, t) in table.items()}
    return [*common(job, base, "storage"), *calls(job, base, named)]


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
    "unknown preset": ("--images {picture} --preset best", "preset must be 'paper', 'shapley', 's"),
    "trees of the paper": (
        "--images {picture} --preset paper --trees 4",
        "variant paper is defined for trees 1, got 4",
    ),
    "no trees": ("--images {picture} --trees 0", "trees must be >= 1, got 0"),
    "too many trees": ("--images {picture} --trees 100", "trees must be <= 64, got 100"),
    "cuts that move too far": ("--images {picture} --jitter 2", "jitter must be <= 1, got 2"),
    "budget of too few": (
        "--images {picture} --trees 8 --first-axis both --budget 20",
        "budget must be >= 32 with first_axis both and trees 8, got 20",
    ),
    "variant and contexts": (
        "--images {picture} --contexts present --variant paper --trees 1",
        "variant paper is defined for contexts absent, got present",
    ),
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
    "another test fold": (
        "--checkpoint {other_fold} {checkpoint} --ier {ier}",
        "{other_fold} and {checkpoint} hold out other rows",
    ),
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

JOBS: list[WrongCall] = [
    *training("train"),
    *training("crossvalidate"),
    *training("tune", "train."),
    *calls("tune", "--train.data.fer {fer} --train.data.ier {ier} --storage {root}/new", TUNE),
    *common("evaluate", "--checkpoint {checkpoint} --ier {ier}"),
    *calls("evaluate", "", EVALUATE),
    *common("explain", "--checkpoint {checkpoint} --images {picture}"),
    *calls("explain", "--output {root}/new --checkpoint {checkpoint}", EXPLAIN),
    *common("ingest", "--source synthetic --samples 50"),
    *calls("ingest", "--output {root}/new", INGEST),
    *common("probe", "--shards {ier} --checkpoint {checkpoint}"),
    *calls("probe", "", PROBE),
    *common("layerwise", "--checkpoint {checkpoint} --ier {ier}"),
    *calls("layerwise", "--output {root}/new", LAYERWISE),
    *common("caption", f"--shards {{ier}} {MODELS} --output {{root}}/new"),
    *calls("caption", "", CAPTION),
    *common("demo", "--samples 50 --train-config {demo_config}"),
    *calls("demo", "--output {root}/new", DEMO),
]

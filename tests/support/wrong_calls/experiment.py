"""What users get wrong with the paper's tables."""

from __future__ import annotations

from support.wrong_calls.calls import WrongCall, calls, common

BASE = "--experiment table2 --scale tiny --storage {root}/new"

TABLE = {
    "unknown experiment": ("--experiment table7", "experiment must be 'ablation', 'table1'"),
    "unknown scale": ("--scale small", "scale must be 'tiny' or 'paper', got 'small'"),
    "name of a path": ("--name a/b", "name: String should match pattern"),
    "unknown row": ("--rows Propsed", "rows: 'Propsed' is not in this experiment; it has Proposed"),
    "unknown column": ("--columns LFW", "columns: 'LFW' is not in this experiment; it has IAPSa"),
    "more folds than there are": ("--folds 9", "folds is 9, but the data have 3"),
    "no fold": ("--folds 0", "folds must be >= 1, got 0"),
    "no seed": ("--seeds 0", "seeds must be >= 1, got 0"),
    "none at once": ("--at-once 0", "at_once must be >= 1, got 0"),
    "data of your own at scale tiny": (
        "--data.fi {ier}",
        "scale tiny draws stand-ins for all datasets: leave data.fi out",
    ),
    "no data": ("--scale paper", "data: no dataset is given; set data.fi"),
    "data missing": ("--scale paper --data.fi {none}", "none: no shard set here"),
    "data of the other domain": (
        "--scale paper --data.fi {fer}",
        "data.fi is {fer}, a shard set of domain 'fer'; give one of domain 'ier'",
    ),
    "unknown dataset": ("--data.lfw {fer}", "--data.lfw is not a setting"),
    "train no JSON": ("--train balance", "train: is neither a mapping nor JSON"),
    "train an unknown setting": ('--train {{"loss.beta":1}}', "loss.beta is not a setting"),
    "train a bad value": ('--train {{"loss.balance":-1}}', "loss.balance must be >= 0, got -1"),
    "train what the experiment sets": (
        '--train {{"data.test_fold":1}}',
        "data.test_fold is set by the experiment",
    ),
    "a checkpoint of another table": (
        "--checkpoint {checkpoint}",
        "checkpoint is explained by experiment table1 at scale paper only, not by table2",
    ),
    "a checkpoint that is missing": (
        "--experiment table1 --scale paper --data.all {fer} --data.emotic {ier} "
        "--checkpoint {none}",
        "none: no checkpoint here",
    ),
    "a checkpoint of other classes": (
        "--experiment table1 --scale paper --data.all {fer} --data.emotic {polarity} "
        "--checkpoint {checkpoint}",
        "has label scheme 'polarity'",
    ),
    "studies of another table": (
        '--studies {{"fi":"x.json"}}',
        "studies are read by experiment table4 only, not table2",
    ),
    "studies of no dataset": (
        '--experiment table4 --scale paper --studies {{"lfw":"x.json"}}',
        "studies: 'lfw' is none of iapsa, artphoto, fi, emotic",
    ),
    "a study that is missing": (
        '--experiment table4 --scale paper --studies {{"fi":"{none}"}}',
        "none: no such file",
    ),
    "studies at scale tiny": (
        '--experiment table4 --studies {{"fi":"x.json"}}',
        "scale tiny simulates the annotators of its stand-ins: leave studies out",
    ),
    "too many workers": (
        "--scaling.num-workers 10",
        "a cell with 10 workers of 1 CPUs needs 10 CPUs and 0 GPUs, the cluster has",
    ),
    "no GPU": ("--scaling.use-gpu", "1 GPUs, the cluster has"),
}

MISSING = [
    WrongCall("experiment", "no experiment", ("--scale", "tiny"), ("experiment is required",)),
    WrongCall(
        "experiment",
        "misspelled first word",
        ("tabel2", "--scale", "tiny"),
        ("experiment must be 'ablation', 'table1'",),
    ),
]

EXPERIMENT = [
    *common("experiment", BASE, "storage"),
    *calls("experiment", BASE, TABLE),
    *MISSING,
]

"""What users get wrong with the human annotation study, and the inputs of these calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.predictions import random_predictions
from support.studies import CLASSES, small_study, some_manifest
from support.wrong_calls.calls import WrongCall, calls, common


def write_study_inputs(shards: dict[str, str], root: Path) -> dict[str, str]:
    """Studies and answers below a directory, by the names that the calls have for them."""
    root = root / "human_study"
    study = small_study(shards["ier"], images=4)
    places = study.write(f"{root}/study")
    changed = json.loads(Path(places["study"]).read_text())
    images = [image["image_id"] for image in changed["images"]]
    answers: dict[str, Any] = {
        "format": "ier_ray study answers",
        "version": 1,
        "study": study.manifest.study_id,
        "annotator": "Ann",
        "consent": True,
        "consent_sha256": study.manifest.consent_sha256,
        "answers": [{"image": image, "label": CLASSES[0], "cues": []} for image in images],
    }
    export = [
        {
            "data": {"image_id": image, "study_id": study.manifest.study_id},
            "annotations": [{"completed_by": 1, "result": []}],
        }
        for image in images
    ]
    texts = {
        "answers": answers,
        "bo": answers | {"annotator": "Bo"},
        "incomplete": answers | {"annotator": "Bo", "answers": answers["answers"][:3]},
        "foreign": answers | {"annotator": "Bo", "study": some_manifest().study_id},
        "unagreed": answers | {"annotator": "Bo", "consent": False},
        "unlabeled": export,
        "changed_study": changed | {"seed": 99},
        "old_study": changed | {"format_version": 0},
    }
    inputs = {"study": f"{root}/study", "study_explained": f"{root}/explained"}
    for name, content in texts.items():
        (root / f"{name}.json").write_text(json.dumps(content))
        inputs[f"study_{name}"] = f"{root}/{name}.json"
    (root / "explained").mkdir()
    for name, content in {
        "faces.csv": "id,faces\na,0\n",
        "few_faces.csv": "sample_id,faces\na,0\n",
        "empty.txt": " \n",
    }.items():
        (root / name).write_text(content)
        inputs[f"study_{name.partition('.')[0]}"] = f"{root}/{name}"
    random_predictions(8).write(f"{root}/other.parquet")
    inputs["study_predictions"] = f"{root}/other.parquet"
    return inputs


EXPORT = {
    "no shards": ("", "shards is required"),
    "shards missing": ("--shards {none}", "none: no shard set here"),
    "faces as shards": ("--shards {fer}", "shards is {fer}, a shard set of domain 'fer'; give one"),
    "damaged shards": ("--shards {broken} --part all", "read as Parquet"),
    "no manifest": ("--shards {odd_set}", "not a manifest"),
    "too many images": (
        "--shards {ier} --part all --images 500 --faces none",
        "has too few images for a study of 500",
    ),
    "one image": ("--shards {ier} --images 1", "images must be >= 2, got 1"),
    "unknown part": ("--shards {ier} --part tests", "part must be"),
    "no such fold": ("--shards {ier} --split.test-fold 9", "has folds 0 to 4"),
    "no own parts": ("--shards {ier} --split.rule own", "needs a dataset with its own test part"),
    "unknown screen": ("--shards {ier} --faces maybe", "faces must be"),
    "no table": ("--shards {ier} --faces file", "faces file needs faces_file"),
    "table unused": ("--shards {ier} --faces-file {study_faces}", "faces_file needs faces file"),
    "table missing": (
        "--shards {ier} --faces file --faces-file {none}.csv",
        "none.csv: no such file",
    ),
    "table of other columns": (
        "--shards {ier} --faces file --faces-file {study_faces}",
        "must be CSV with the columns sample_id and faces",
    ),
    "table of others": (
        "--shards {ier} --images 4 --faces file --faces-file {study_few_faces}",
        "does not list sample",
    ),
    "consent missing": ("--shards {ier} --consent {none}.txt", "none.txt: no such file"),
    "consent empty": ("--shards {ier} --consent {study_empty}", "empty.txt: is empty"),
    "consent in Latin-1": ("--shards {ier} --consent {latin}", "is not in UTF-8"),
    "images too small": ("--shards {ier} --largest-side 8", "largest_side must be >= 64, got 8"),
    "no question": ("--shards {ier} --question=", "question: "),
    "seed of 33 bits": ("--shards {ier} --seed 4294967296", "seed must be < 4294967296"),
    "output of another study": ("--shards {ier} --output {study}", "holds study"),
}

TWO = "--study {study} --answers {study_answers} {study_bo}"
IMPORT = {
    "no study": ("--answers {study_answers}", "study is required"),
    "no answers": ("--study {study}", "give answers, label_studio or both"),
    "study missing": ("--study {none} --answers {study_answers}", "study.json: no such file"),
    "study changed": (
        "--study {study_changed_study} --answers {study_answers}",
        "was changed after the export",
    ),
    "study of format 0": (
        "--study {study_old_study} --answers {study_answers}",
        "format version is 0",
    ),
    "answers missing": ("--study {study} --answers {none}.json", "none.json: no such file"),
    "answers no JSON": ("--study {study} --answers {file}", "file: is not JSON"),
    "answers of no page": (
        "--study {study} --answers {study}/study.json",
        "not a file that the pag",
    ),
    "answers of another study": (
        "--study {study} --answers {study_foreign}",
        "annotator 'Bo' annotated study",
    ),
    "no consent": ("--study {study} --answers {study_unagreed}", "consent: "),
    "one annotator": ("--study {study} --answers {study_answers}", "2 annotators or more"),
    "answers twice": (
        "--study {study} --answers {study_answers} {study_answers} {study_bo}",
        "annotator 'Ann': 4 annotations",
    ),
    "answers incomplete": (
        "--study {study} --answers {study_answers} {study_incomplete}",
        "annotator 'Bo': 1 annotation (",
    ),
    "page's file as Label Studio's": (
        "--study {study} --label-studio {study_answers}",
        "not a JSON export of Label Studio",
    ),
    "export without classes": (
        "--study {study} --label-studio {study_unlabeled}",
        "annotator 'Label Studio user 1': must have one class",
    ),
    "predictions missing": (f"{TWO} --predictions {{none}}", "none: no such file"),
    "predictions no Parquet": (f"{TWO} --predictions {{file}}", "cannot be read as Parquet"),
    "predictions of others": (
        f"{TWO} --predictions {{study_predictions}}",
        "have no prediction by a mod",
    ),
    "explanations missing": (f"{TWO} --explanations {{none}}", "none: cannot be listed"),
    "explanations of others": (
        f"{TWO} --explanations {{study_explained}}",
        "4 of 4 images of the study",
    ),
    "no percentage": (f"{TWO} --percentages 78 many", "must be numbers from 0 to 100"),
    "output a directory": (f"{TWO} --output {{folder}}", "it is a directory; give a file"),
    "seed of 33 bits": (f"{TWO} --seed 4294967296", "seed must be < 4294967296"),
}

STUDY: list[WrongCall] = [
    *common("study_export", "--shards {ier} --images 4"),
    *calls("study_export", "--output {root}/new", EXPORT),
    *common("study_import", TWO),
    *calls("study_import", "--output {root}/new.json", IMPORT),
]

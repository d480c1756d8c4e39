"""The paper's eight datasets, in their real layout, and what must come of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.io import savemat

from support.emotic import cells, image, ratings, structs, trained
from support.sources import paint

BROKEN = b"\xff\xd8 no more of it"


@dataclass(frozen=True)
class Expected:
    """What must come out: rows by class, dropped labels, quarantined ids, groups by sample."""

    domain: str
    counts: dict[str, int]
    dropped: dict[str, int]
    quarantined: dict[str, str]
    group_of: Callable[[dict[str, Any]], str] = lambda row: str(row["sample_id"])


def fer13(root: Path) -> Expected:
    lines = [f"{code},{' '.join([str(9 * code)] * 2304)},Training" for code in range(7)] * 4
    lines.append("3,1 2 3,PrivateTest")
    (root / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]))
    counts = {"happy": 4, "sad": 4, "hate": 4, "anger": 4}
    dropped = {"fear": 4, "surprise": 4, "neutral": 4}
    return Expected("fer", counts, dropped, {"fer13/fer2013.csv:28": "truncated"})


def ferg(root: Path) -> Expected:
    emotions = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
    characters = ("aia", "bonnie", "jules", "malcolm", "mery", "ray")
    folder = "FERG_DB_256/{0}/{0}_{1}/{0}_{1}_{2}.png"
    paint(root, *(folder.format(c, e, n) for c in characters for e in emotions for n in (1, 2)))
    counts = {"happy": 12, "sad": 12, "hate": 12, "anger": 12}
    dropped = {"fear": 12, "neutral": 12, "surprise": 12}
    return Expected("fer", counts, dropped, {}, lambda row: row["sample_id"].split("/")[2])


def jaffe(root: Path) -> Expected:
    subjects, codes = ("KA", "KL", "KM", "UY", "YM"), ("AN", "DI", "FE", "HA", "NE", "SA", "SU")
    paint(root, *(f"{s}.{code}{n}.{n}.tiff" for s in subjects for code in codes for n in (1, 2)))
    (root / "KA.HA3.9.tiff").write_bytes(b"II*\0 cut")
    counts = {"happy": 10, "sad": 10, "hate": 10, "anger": 10}
    dropped = {"fear": 10, "neutral": 10, "surprise": 10}
    bad = {"jaffe/KA.HA3.9.tiff": "truncated"}
    return Expected("fer", counts, dropped, bad, lambda row: row["sample_id"].split("/")[1][:2])


def ck_plus(root: Path) -> Expected:
    for number, code in enumerate((1, 2, 3, 4, 5, 6, 7, 1, 3, 5, 6)):
        stem = f"S{number:03d}/001/S{number:03d}_001_"
        paint(root, *(f"cohn-kanade-images/{stem}{frame:08d}.png" for frame in range(1, 6)))
        label = root / f"Emotion/{stem}00000005_emotion.txt"
        label.parent.mkdir(parents=True)
        label.write_text(f"   {code}.0000000e+00\n")
    counts = {"happy": 6, "sad": 6, "hate": 6, "anger": 6}  # three frames a sequence
    dropped = {"contempt": 3, "fear": 3, "surprise": 3}
    return Expected("fer", counts, dropped, {}, lambda row: row["sample_id"].split("/")[2])


def iapsa(root: Path) -> Expected:
    labels = ("Amusement", "Anger", "Awe", "Contentment", "Disgust", "Excitement", "Fear", "Sad")
    numbered = [(1000 + n, labels[n % 8]) for n in range(32)]
    paint(root, *(f"images/{number}.jpg" for number, _ in numbered))
    rows = [*numbered, (9999, "Sad")]
    table = "".join(f"{number},{label}\n" for number, label in rows)
    (root / "labels.csv").write_text("Image,Emotion\n" + table)
    counts = {"happy": 8, "sad": 4, "hate": 4, "anger": 4}
    dropped = {"awe": 4, "excitement": 4, "fear": 4}
    return Expected("ier", counts, dropped, {"iapsa/9999": "missing"})


def artphoto(root: Path) -> Expected:
    labels = ("amusement", "anger", "awe", "contentment", "disgust", "excitement", "fear", "sad")
    paint(root, *(f"testImages_artphoto/{label}_{n:04d}.jpg" for label in labels for n in range(5)))
    (root / "testImages_artphoto/sad_0099.jpg").write_bytes(BROKEN)
    counts = {"happy": 10, "sad": 5, "hate": 5, "anger": 5}
    dropped = {"awe": 5, "excitement": 5, "fear": 5}
    bad = {"artphoto/testImages_artphoto/sad_0099.jpg": "unidentified"}
    return Expected("ier", counts, dropped, bad)


def fi(root: Path) -> Expected:
    labels = ("amusement", "anger", "awe", "contentment", "disgust", "excitement", "fear")
    paint(root, *(f"{label}/{n}.jpg" for label in (*labels, "Sadness") for n in range(5)))
    (root / "anger/empty.jpg").touch()
    counts = {"happy": 10, "sad": 5, "hate": 5, "anger": 5}
    dropped = {"awe": 5, "excitement": 5, "fear": 5}
    return Expected("ier", counts, dropped, {"fi/anger/empty.jpg": "empty"})


def emotic(root: Path) -> Expected:
    votes = {"Happiness": "happy", "Sadness": "sad", "Aversion": "hate", "Anger": "anger"}
    entries = [
        image("mscoco/images", f"{category}{n}.jpg", trained(cells(category), ratings(1, 2, 3)))
        for category in (*votes, "Fear", "Engagement")
        for n in range(5)
    ]
    paint(root, *(f"emotic/mscoco/images/{entry['filename']}" for entry in entries))
    gone = image("mscoco/images", "gone.jpg", trained(cells("Anger"), ratings(1, 2, 3)))
    (root / "Annotations").mkdir()
    savemat(root / "Annotations/Annotations.mat", {"train": structs(*entries, gone)})
    counts = {"happy": 5, "sad": 5, "hate": 5, "anger": 5}
    bad = {"emotic/mscoco/images/gone.jpg": "missing"}
    return Expected("ier", counts, {"fear": 5, "none": 5}, bad)


DATASETS = (fer13, ferg, jaffe, ck_plus, iapsa, artphoto, fi, emotic)

"""Every dataset in its real layout: what is listed, what is loaded, what is refused."""

from __future__ import annotations

import io
import pickle
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import savemat

from ier_ray.data.images import decode_rgb
from ier_ray.data.schema import Domain
from ier_ray.data.sources import SOURCES, Listed, Source, open_source
from ier_ray.data.sources.emotic_vote import read_vote
from ier_ray.emotions import FOUR, SEVEN
from ier_ray.errors import DataError, ImageError, SettingsError, StorageError

Color = tuple[int, int, int]


def color_of(number: int) -> Color:
    return (10 + number, 200 - 3 * number, 7 * number % 256)


def encoded(color: Color, suffix: str = ".png") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), color).save(buffer, format=Image.registered_extensions()[suffix])
    return buffer.getvalue()


def paint(root: Path, *paths: str) -> dict[str, Color]:
    """Write an image of its own color at every path (JPEG keeps plain colors within 3)."""
    colors = {}
    for number, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(color_of(number), file.suffix.lower()))
        colors[path] = color_of(number)
    return colors


def litter(root: Path, *folders: str) -> None:
    """What archivers and desktops leave behind, none of it a sample."""
    for folder in folders:
        shutil.copytree(root / folder, root / "__MACOSX" / folder)
        for file in list((root / folder).iterdir()):
            shutil.copy(file, file.with_name(f"._{file.name}"))
        (root / folder / ".DS_Store").write_bytes(b"\0")
        (root / folder / "Thumbs.db").write_bytes(b"\0")


def listing(source: Source) -> list[tuple[str, str, str]]:
    """Id without the dataset's name, label and group of all samples."""
    (domain,) = source.domains
    samples = list(source.list(domain))
    assert samples == list(source.list(domain))  # stable
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301 (our own)
    assert len({sample.sample_id for sample in samples}) == len(samples)
    assert all(sample.sample_id.startswith(f"{source.name}/") for sample in samples)
    return [(s.sample_id.removeprefix(f"{source.name}/"), s.source_label, s.group) for s in samples]


def colors(source: Source) -> dict[str, Color]:
    """The color of each loaded image, by id; loaded by a copy, as a worker would."""
    (domain,) = source.domains
    worker = pickle.loads(pickle.dumps(source))  # noqa: S301 (our own)
    found = {}
    for sample in source.list(domain):
        pixels = np.asarray(decode_rgb(worker.load(domain, sample).image)).reshape(-1, 3)
        assert (pixels == pixels[0]).all()
        red, green, blue = map(int, pixels[0])
        found[sample.sample_id.removeprefix(f"{source.name}/")] = (red, green, blue)
    return found


def assert_same_colors(found: dict[str, Color], painted: dict[str, Color]) -> None:
    assert found.keys() == painted.keys()
    for path, color in painted.items():
        np.testing.assert_allclose(found[path], color, rtol=0, atol=3, err_msg=path)


def sample_of(source: Source, ending: str) -> Listed:
    (domain,) = source.domains
    return next(s for s in source.list(domain) if s.sample_id.endswith(ending))


def own(sample_id: str, name: str) -> str:
    """The group of a sample that is its own group."""
    return f"{name}/{sample_id}"


# FER13


def write_fer13(root: Path, header: str = "emotion,pixels,Usage", newline: str = "\n") -> None:
    gray = " ".join(["70"] * 2303)
    rows = [
        f"0,{gray} 80,Training",
        f"3,{gray} 90,PublicTest",
        "",
        "4,1 2 3,PublicTest",  # cut short
        f"6,{gray} 300,PrivateTest",
        f"9,{gray} x,PrivateTest",
    ]
    (root / "fer2013.csv").write_bytes(newline.join([header, *rows, ""]).encode())


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_fer13_rows_become_images(tmp_path: Path, newline: str) -> None:
    write_fer13(tmp_path, newline=newline)
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("fer13", ("fer",))
    assert listing(source) == [
        (f"fer2013.csv:{row}", label, f"fer13/fer2013.csv:{row}")
        for row, label in enumerate(["angry", "happy", "sad", "neutral", "unknown code '9'"])
    ]
    for row, last in ((0, 80), (1, 90)):
        image = decode_rgb(source.load("fer", sample_of(source, f":{row}")).image)
        assert image.size == (48, 48)
        expected = np.full((48, 48, 3), 70)
        expected[47, 47] = last
        np.testing.assert_array_equal(np.asarray(image), expected)
    for row, reason, message in (
        (2, "truncated", "3 pixels, a face has 48x48"),
        (3, "unidentified", "70..300, not 0..255"),
        (4, "unidentified", "not numbers"),
    ):
        with pytest.raises(ImageError, match=message) as raised:
            source.load("fer", sample_of(source, f":{row}"))
        assert raised.value.reason == reason


def test_fer13_finds_its_columns(tmp_path: Path) -> None:
    gray = " ".join(["5"] * 2304)
    table = tmp_path / "archive" / "fer2013.csv"
    table.parent.mkdir()
    table.write_text(f"\ufeffemotion, Usage, pixels\n5,Training,{gray}\n1,Training\n")
    source = open_source("fer13", str(tmp_path))
    assert [label for _, label, _ in listing(source)] == ["surprise", "disgust"]
    assert (
        decode_rgb(source.load("fer", sample_of(source, ":0")).image).getpixel((0, 0)) == (5,) * 3
    )
    with pytest.raises(ImageError, match="0 pixels"):
        source.load("fer", sample_of(source, ":1"))
    table.write_text("emotion,Usage\n5,Training\n")
    with pytest.raises(DataError, match=r"needs the columns emotion and pixels, has \['emotion'"):
        listing(source)


def test_fer13_folders(tmp_path: Path) -> None:
    painted = paint(
        tmp_path, "test/fear/a.jpg", "train/Angry/1.jpg", "train/Angry/2.JPG", "train/neutral/ü.png"
    )
    litter(tmp_path, "train/Angry")
    source = open_source("auto", str(tmp_path))
    assert source.name == "fer13"
    assert listing(source) == [
        (path, label, own(path, "fer13"))
        for path, label in zip(sorted(painted), ["fear", "angry", "angry", "neutral"], strict=True)
    ]
    assert_same_colors(colors(source), painted)


# FERG, JAFFE, CK+


@pytest.mark.parametrize("inside", ["", "FERG_DB_256/"])
def test_ferg_groups_by_character(tmp_path: Path, inside: str) -> None:
    paths = [
        f"{inside}{path}"
        for path in (
            "aia/aia_anger/aia_anger_1.png",
            "aia/aia_joy/aia_joy_1.png",
            "bonnie/Bonnie_Sadness/b.png",
        )
    ]
    painted = paint(tmp_path, *paths)
    litter(tmp_path, f"{inside}aia/aia_anger")
    paint(tmp_path, f"{inside}aia/aia_anger.png", f"{inside}aia/mery_fear/x.png")  # not the layout
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("ferg", ("fer",))
    labels = [("anger", "aia"), ("happy", "aia"), ("sadness", "bonnie")]
    assert listing(source) == [(p, *rest) for p, rest in zip(sorted(paths), labels, strict=True)]
    assert_same_colors(colors(source), painted)


def test_jaffe_reads_its_file_names(tmp_path: Path) -> None:
    labels = {
        "KA.AN1.39.tiff": ("anger", "KA"),
        "KA.DI3.44.tiff": ("disgust", "KA"),
        "KL.FE2.175.tiff": ("fear", "KL"),
        "KL.HA1.158.tiff": ("happy", "KL"),
        "KM.NE1.17.tiff": ("neutral", "KM"),
        "YM.SU1.58.tiff": ("surprise", "YM"),
        "ym.sa2.56.TIFF": ("sad", "YM"),
    }
    painted = paint(tmp_path, *(f"jaffe/{name}" for name in labels))
    litter(tmp_path, "jaffe")
    (tmp_path / "jaffe/README").write_text("KA.AN1.39")
    paint(tmp_path, "jaffe/KA.XX1.39.tiff", "jaffe/mean.tiff")
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("jaffe", ("fer",))
    assert listing(source) == [(f"jaffe/{name}", *labels[name]) for name in sorted(labels)]
    assert colors(source) == painted  # TIFF keeps every color


def write_ck_plus(root: Path) -> dict[str, Color]:
    frames = {("S005", "001"): 5, ("S010", "002"): 2, ("S011", "001"): 4, ("S022", "003"): 3}
    codes = {
        ("S005", "001"): "   3.0000000e+00\n",
        ("S010", "002"): "   5.0000000e+00\n",  # two frames
        ("S022", "003"): "   2.0000000e+00\n",  # contempt; S011 has no label
        ("S099", "001"): "   7.0000000e+00\n",  # no frames
        ("S100", "001"): "   0.5\n",
        ("S101", "001"): "",
    }
    painted = paint(
        root,
        *(
            f"cohn-kanade-images/{s}/{q}/{s}_{q}_{frame:08d}.png"
            for (s, q), count in frames.items()
            for frame in range(1, count + 1)
        ),
    )
    for (s, q), code in codes.items():
        folder = root / "Emotion" / s / q
        folder.mkdir(parents=True)
        (folder / f"{s}_{q}_{frames.get((s, q), 9):08d}_emotion.txt").write_text(code)
    (root / "Emotion/S011/001").mkdir(parents=True)
    litter(root, "cohn-kanade-images/S005/001", "Emotion/S005/001")
    return painted


def test_ck_plus_takes_the_last_three_frames_of_labeled_sequences(tmp_path: Path) -> None:
    painted = write_ck_plus(tmp_path)
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("ck_plus", ("fer",))
    expected = [
        *(("S005", "001", frame, "disgust") for frame in (3, 4, 5)),
        *(("S010", "002", frame, "happy") for frame in (1, 2)),
        *(("S022", "003", frame, "contempt") for frame in (1, 2, 3)),
        ("S099", "001", 9, "surprise"),
        ("S100", "001", 9, "unknown code '0.5'"),
        ("S101", "001", 9, "unknown code ''"),
    ]
    assert listing(source) == [
        (f"cohn-kanade-images/{s}/{q}/{s}_{q}_{frame:08d}.png", label, s)
        for s, q, frame, label in expected
    ]
    assert FOUR.class_of("contempt") is SEVEN.class_of("contempt") is None
    with pytest.raises(ImageError, match="listed, but there is no such file") as raised:
        source.load("fer", sample_of(source, "S099_001_00000009.png"))
    assert raised.value.reason == "missing"
    shutil.rmtree(tmp_path / "Emotion/S099")
    shutil.rmtree(tmp_path / "Emotion/S100")
    shutil.rmtree(tmp_path / "Emotion/S101")
    found = colors(source)
    assert found == {path: painted[path] for path in found}
    assert len(found) == 8


# ArtPhoto, FI, IAPSa


def test_artphoto_reads_its_file_names(tmp_path: Path) -> None:
    painted = paint(
        tmp_path,
        "testimages/Awe_0002.JPG",
        "testimages/amusement_0001.jpg",
        "testimages/sad_0003.jpg",
        "testimages/sadness_4_é.jpg",
    )
    litter(tmp_path, "testimages")
    paint(tmp_path, "testimages/happy_0001.jpg", "testimages/anger.jpg")
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("artphoto", ("ier",))
    assert listing(source) == [
        (path, label, own(path, "artphoto"))
        for path, label in zip(painted, ["awe", "amusement", "sad", "sadness"], strict=True)
    ]
    assert_same_colors(colors(source), painted)


def test_fi_reads_its_folders(tmp_path: Path) -> None:
    painted = paint(
        tmp_path, "Contentment/1.jpg", "anger/10.jpg", "anger/9.jpg", "sadness/花.jpg", "sad/2.jpg"
    )
    litter(tmp_path, "anger")
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("fi", ("ier",))
    assert listing(source) == [
        ("Contentment/1.jpg", "contentment", "fi/Contentment/1.jpg"),
        ("anger/10.jpg", "anger", "fi/anger/10.jpg"),
        ("anger/9.jpg", "anger", "fi/anger/9.jpg"),
        ("sad/2.jpg", "sad", "fi/sad/2.jpg"),
        ("sadness/花.jpg", "sadness", "fi/sadness/花.jpg"),
    ]
    assert_same_colors(colors(source), painted)


IAPSA_IMAGES = ("images/1050.jpg", "images/2055.1.JPG", "images/Müll.jpg", "images/7000.jpg")


@pytest.mark.parametrize(
    ("table", "separator", "header"),
    [
        ("labels.csv", ",", "Image,Emotion"),
        ("labels.tsv", "\t", "slide\tCategory"),
        ("iaps.csv", ";", "\ufeffID;label"),
    ],
)
def test_iapsa_joins_its_table(tmp_path: Path, table: str, separator: str, header: str) -> None:
    painted = paint(tmp_path, *IAPSA_IMAGES)
    litter(tmp_path, "images")
    decomposed = unicodedata.normalize("NFD", "MÜLL.JPG")
    rows = [("1050", "Fear"), ("2055.1", "sad"), ("1050.BMP", "fear"), (decomposed, "Disgust")]
    rows += [("4321.jpg", "awe"), ("", "awe"), ("images/7000.jpg", "awe"), ("7000", "amusement")]
    lines = [header, *(separator.join(row) for row in rows), "", separator]
    (tmp_path / table).write_text("\n".join(lines), encoding="utf-8")
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("iapsa", ("ier",))
    labels = {
        "(no name)": "awe",
        "4321.jpg": "awe",
        "images/1050.jpg": "fear",
        "images/2055.1.JPG": "sad",
        "images/7000.jpg": "amusement | awe",  # rows disagree: no scheme knows it
        "images/Müll.jpg": "disgust",
    }
    assert listing(source) == [(p, label, own(p, "iapsa")) for p, label in labels.items()]
    for name in ("4321.jpg", "(no name)"):
        with pytest.raises(ImageError, match="no such file") as raised:
            source.load("ier", sample_of(source, name))
        assert raised.value.reason == "missing"
    (tmp_path / table).write_text("\n".join(lines).replace("4321.jpg", "").replace(lines[6], ""))
    assert_same_colors(colors(source), painted)


def test_iapsa_needs_one_table_with_its_columns(tmp_path: Path) -> None:
    paint(tmp_path, "beach.jpg")  # not a number: known by its table alone
    (tmp_path / "labels.csv").write_text("image,emotion\nbeach,awe\n")
    source = open_source("iapsa", str(tmp_path))
    assert listing(source) == [("beach.jpg", "awe", "iapsa/beach.jpg")]
    (tmp_path / "ratings.csv").write_text("image,valence\nbeach,3\n")
    assert len(listing(source)) == 1
    (tmp_path / "more.csv").write_text("file,label\nbeach,awe\n")
    with pytest.raises(DataError, match=r"needs one label table .* has \['labels.csv', 'more.csv'"):
        listing(source)
    (tmp_path / "more.csv").write_bytes("file,label\nplage,d\xe9go\xfbt\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"more.csv: not a table .* UTF-8"):
        listing(source)
    (tmp_path / "more.csv").write_text('file,label\n"beach,awe\n')
    with pytest.raises(DataError, match=r"more.csv: not a table"):
        listing(source)


# EMOTIC


def cells(*names: str) -> np.ndarray:
    """A MATLAB cell array of strings."""
    return np.array([*names, None], dtype=object)[:-1]


def structs(*entries: dict[str, Any]) -> np.ndarray:
    """A MATLAB struct array."""
    names = list(entries[0])
    array = np.empty(len(entries), dtype=[(name, object) for name in names])
    for number, entry in enumerate(entries):
        for name in names:
            array[number][name] = entry[name]
    return array


def ratings(*values: float) -> dict[str, float]:
    return dict(zip(("valence", "arousal", "dominance"), values, strict=True))


def image(folder: str, filename: str, person: Any) -> dict[str, Any]:
    size = {"n_col": 8, "n_row": 6}
    database = {"name": folder.split("/", maxsplit=1)[0], "info": {"image_id": 1}}
    return {
        "filename": filename,
        "folder": folder,
        "image_size": size,
        "original_database": database,
        "person": person,
    }


def trained(categories: np.ndarray, affect: dict[str, float]) -> dict[str, Any]:
    """A person of the training split: one annotator."""
    return {
        "body_bbox": np.array([1, 2, 3, 4]),
        "annotations_categories": {"categories": categories},
        "annotations_continuous": affect,
    }


def several(*annotators: tuple[np.ndarray, dict[str, float]]) -> dict[str, Any]:
    """A person of the other splits before combining: several annotators."""
    return {
        "body_bbox": np.array([1, 2, 3, 4]),
        "annotations_categories": structs(*({"categories": c} for c, _ in annotators)),
        "annotations_continuous": structs(*(affect for _, affect in annotators)),
    }


def write_emotic(root: Path) -> dict[str, Color]:
    happy = trained(cells("Happiness", "Engagement"), ratings(8, 6, 7))
    sad = trained(cells("Sadness", "Pain", "Suffering"), ratings(2, 3, 4))
    tie = trained(cells("Peace", "Doubt/Confusion", "Annoyance"), ratings(5, 5, 5))
    quiet = trained(cells("Engagement"), ratings(np.nan, np.nan, np.nan))
    # Three annotators gave Anger and two Fear to one person: one vote each, anger before fear.
    angry = several(
        (cells("Anger", "Fear"), ratings(2, 8, 6)),
        (cells("Anger", "Aversion", "Disapproval"), ratings(4, 8, 9)),
        (cells("Anger", "Fear"), ratings(3, 8, 6)),
    )
    combined = {
        **several((cells("Anger"), ratings(1, 1, 1)), (cells("Anger"), ratings(1, 1, 1))),
        "combined_categories": cells("Surprise", "Anticipation"),
        "combined_continuous": ratings(7, 9, 5),
    }
    train = structs(
        image("mscoco/images", "two.jpg", structs(happy, sad)),
        image("mscoco/images", "one.jpg", happy),
        image("ade20k/images", "tie.jpg", tie),
        image("framesdb/images", "quiet é.jpg", quiet),
        image("framesdb/images", "gone.jpg", happy),
    )
    (root / "Annotations").mkdir()
    savemat(
        root / "Annotations/Annotations.mat",
        {
            "train": train,
            "val": structs(image("emodb_small/images", "angry.jpg", angry)),
            "test": structs(image("emodb_small/images", "combined.jpg", combined)),
        },
    )
    return paint(
        root,
        "emotic/ade20k/images/tie.jpg",
        "emotic/emodb_small/images/angry.jpg",
        "emotic/emodb_small/images/combined.jpg",
        "emotic/framesdb/images/quiet é.jpg",
        "emotic/mscoco/images/one.jpg",
        "emotic/mscoco/images/two.jpg",
    )


def test_emotic_persons_vote(tmp_path: Path) -> None:
    painted = write_emotic(tmp_path)
    litter(tmp_path, "emotic/mscoco/images", "Annotations")
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("emotic", ("ier",))
    expected = {
        "ade20k/images/tie.jpg": ("anger", (5, 5, 5)),  # anger 1, happy 1
        "emodb_small/images/angry.jpg": ("disgust", (3, 8, 7)),  # disgust 2, anger 1, fear 1
        "emodb_small/images/combined.jpg": ("surprise", (7, 9, 5)),
        "framesdb/images/gone.jpg": ("happy", (8, 6, 7)),
        "framesdb/images/quiet é.jpg": ("none", None),
        "mscoco/images/one.jpg": ("happy", (8, 6, 7)),
        "mscoco/images/two.jpg": ("sad", (5, 4.5, 5.5)),  # happy 1, sad 3
    }
    assert listing(source) == [(p, label, own(p, "emotic")) for p, (label, _) in expected.items()]
    affects = {sample.sample_id: sample.affect for sample in source.list("ier")}
    assert affects == {f"emotic/{path}": affect for path, (_, affect) in expected.items()}
    with pytest.raises(ImageError, match=r"gone.jpg: listed, but there is no such file"):
        source.load("ier", sample_of(source, "gone.jpg"))
    paint(tmp_path, "emotic/framesdb/images/gone.jpg")
    painted["emotic/framesdb/images/gone.jpg"] = color_of(0)
    assert_same_colors(
        colors(source), {path.removeprefix("emotic/"): c for path, c in painted.items()}
    )


def test_emotic_images_may_lie_beside_the_annotations(tmp_path: Path) -> None:
    person = trained(cells("Yearning", "Esteem"), ratings(6, 6, 6))
    savemat(tmp_path / "Annotations.mat", {"train": image("mscoco/images", "a.jpg", person)})
    paint(tmp_path, "mscoco/images/a.jpg")
    source = open_source("emotic", str(tmp_path))
    assert listing(source) == [("mscoco/images/a.jpg", "happy", "emotic/mscoco/images/a.jpg")]
    assert_same_colors(colors(source), {"mscoco/images/a.jpg": color_of(0)})


def test_emotic_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    person = trained(cells("Boredom"), ratings(6, 6, 6))
    savemat(tmp_path / "Annotations.mat", {"train": image("a", "a.jpg", person)})
    with pytest.raises(DataError, match=r"\['Boredom'\] are not in emotic_vote.yaml"):
        listing(open_source("emotic", str(tmp_path)))
    (tmp_path / "Annotations.mat").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    with pytest.raises(DataError, match="cannot be read as a MATLAB 5 file"):
        listing(open_source("emotic", str(tmp_path)))


def test_emotic_vote_covers_the_26_categories() -> None:
    vote = read_vote()
    assert len(vote.categories) == 26
    assert set(vote.categories.values()) == {*vote.tie_order, "none"}
    assert {SEVEN.class_of(emotion) for emotion in vote.tie_order} == {*SEVEN.classes} - {"neutral"}
    assert {FOUR.class_of(emotion) for emotion in vote.tie_order} == {*FOUR.classes, None}
    assert FOUR.class_of("none") is SEVEN.class_of("none") is None
    assert vote.winner([]) == vote.winner(["Engagement"]) == "none"
    assert vote.winner(["Happiness", "Sadness"]) == vote.winner(["Sadness", "Happiness"]) == "sad"
    assert vote.winner(["Happiness", "Sadness", "Peace"]) == "happy"


# Folders and tables


def test_folder_takes_any_labels(tmp_path: Path) -> None:
    painted = paint(
        tmp_path, "Joie/deep/er/1.png", "joie/2.bmp", "穏やか/3.gif", "mixed/4.webp", "mixed/5.tif"
    )
    litter(tmp_path, "joie")
    paint(tmp_path, "no-label.png")
    source = open_source("auto", str(tmp_path), domain="ier")
    assert (source.name, source.domains) == ("folder", ("ier",))
    labels = ["joie", "joie", "mixed", "mixed", "穏やか"]
    assert listing(source) == [
        (path, label, own(path, "folder"))
        for path, label in zip(sorted(painted), labels, strict=True)
    ]
    assert_same_colors(colors(source), painted)
    assert open_source("folder", str(tmp_path), domain="fer").domains == ("fer",)


def test_table_of_paths(tmp_path: Path) -> None:
    painted = paint(tmp_path / "here", "pictures/ä.png", "b.png")
    paint(tmp_path / "elsewhere", "c.png", "d.png")
    away, uri = f"{tmp_path}/elsewhere/c.png", f"file://{tmp_path}/elsewhere/d.png"
    rows = [
        "path;label;group",
        "pictures/ä.png;joy;s1",
        f"{away};fear;s2",
        f"{uri};fear;s2",
        "b.png;sad;",
        "b.png;happy;",
        "gone.png;joy;s1",
        ";joy;",
    ]
    (tmp_path / "here/samples.csv").write_text("\n".join(rows))
    source = open_source("auto", f"{tmp_path}/here", domain="fer")
    assert source == open_source("table", f"{tmp_path}/here/samples.csv", domain="fer")
    assert source.domains == ("fer",)
    assert listing(source) == [
        ("pictures/ä.png", "joy", "s1"),
        (away, "fear", "s2"),
        (uri, "fear", "s2"),
        ("b.png", "happy | sad", "table/b.png"),
        ("gone.png", "joy", "s1"),
        ("(no path in row 6)", "joy", "table/(no path in row 6)"),
    ]
    for ending in ("gone.png", "row 6)"):
        with pytest.raises(ImageError, match="no such file"):
            source.load("fer", sample_of(source, ending))
    (tmp_path / "here/samples.csv").write_text("\n".join(rows[:5]))
    assert_same_colors(colors(source), {**painted, away: color_of(0), uri: color_of(1)})


def test_table_ids_are_taken_as_they_are(tmp_path: Path) -> None:
    paint(tmp_path, "a.png")
    (tmp_path / "t.tsv").write_text("id\tpath\tlabel\n0\ta.png\tsad\n0\ta.png\tsad\n")
    source = open_source("auto", str(tmp_path), domain="ier")
    samples = list(source.list("ier"))  # ingest names the id that is there twice
    assert [(s.sample_id, s.group) for s in samples] == [("table/0", "table/0")] * 2


def test_parquet_of_bytes_and_of_paths(tmp_path: Path) -> None:
    table = {
        "bytes": [encoded(color_of(number)) for number in range(5)] + [None],
        "label": [0, 1, 2, 3, 4, None],
        "group": [0, 0, None, 1, 1, 1],
        "id": [0, 1, 2, 3, None, 5],
    }
    pq.write_table(pa.table(table), tmp_path / "t.parquet", row_group_size=2)
    source = open_source("auto", f"{tmp_path}/t.parquet", domain="ier")
    assert listing(source) == [
        ("0", "0", "0"),
        ("1", "1", "0"),
        ("2", "2", "table/2"),
        ("3", "3", "1"),
        ("2:0", "4", "1"),
        ("5", "", "1"),
    ]
    samples = list(source.list("ier"))
    assert [sample.locator for sample in samples] == ["0:0", "0:1", "1:0", "1:1", "2:0", "2:1"]
    for number in (4, 0, 3, 1, 2):
        loaded = decode_rgb(source.load("ier", samples[number]).image)
        assert loaded.getpixel((0, 0)) == color_of(number)
    with pytest.raises(ImageError, match="no bytes"):
        decode_rgb(source.load("ier", samples[5]).image)
    table["bytes"] = [encoded(color_of(20 + number)) for number in range(6)]
    pq.write_table(pa.table(table), tmp_path / "t.parquet", row_group_size=2)
    changed = decode_rgb(source.load("ier", samples[4]).image)
    assert changed.getpixel((0, 0)) == color_of(24)  # another file of the same name
    painted = paint(tmp_path, "x/1.png")
    pq.write_table(pa.table({"path": ["x/1.png"], "label": ["awe"]}), tmp_path / "t.parquet")
    assert listing(source) == [("x/1.png", "awe", "table/x/1.png")]
    assert_same_colors(colors(source), painted)


def test_tables_without_their_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,label\na.png,sad\n")
    with pytest.raises(DataError, match=r"t.csv: lacks the columns \['path'\], has \['image', 'l"):
        listing(open_source("table", str(tmp_path), domain="ier"))
    (tmp_path / "t.csv").rename(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t.parquet: cannot be read as Parquet"):
        listing(open_source("table", str(tmp_path), domain="ier"))
    pq.write_table(pa.table({"bytes": [b""]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t.parquet: lacks the columns \['label'\]"):
        listing(open_source("table", str(tmp_path), domain="ier"))


# Opening


def test_a_wrong_folder_names_what_was_looked_for_and_found(tmp_path: Path) -> None:
    for name in "abcdefg":
        (tmp_path / f"{name}.txt").write_text("")
    (tmp_path / ".hidden").write_text("")
    with pytest.raises(DataError) as raised:
        open_source("auto", str(tmp_path), domain="fer")
    message = str(raised.value)
    for name, source in SOURCES.items():
        assert f"\n  {name}: {source.looked_for}\n" in message
    assert message.endswith("found: a.txt, b.txt, c.txt, d.txt, e.txt and 2 more")
    for name, source in SOURCES.items():
        domain: Domain | None = "fer" if name in ("table", "folder") else None
        if name == "iapsa":
            continue  # says more: which columns its table needs
        with pytest.raises(DataError, match=r"found: a\.txt") as raised:
            open_source(name, str(tmp_path), domain=domain)
        assert source.looked_for in str(raised.value)
    with pytest.raises(DataError, match="has none among"):
        open_source("iapsa", str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found: no files"):
        open_source("auto", f"{tmp_path}/empty")
    with pytest.raises(StorageError, match="nowhere: cannot be listed"):
        open_source("auto", f"{tmp_path}/nowhere")


def test_names_and_domains_are_checked(tmp_path: Path) -> None:
    paint(tmp_path, "KA.AN1.39.tiff")
    with pytest.raises(SettingsError, match=r"unknown name 'jafe'; use one of \['auto', 'emotic'"):
        open_source("jafe", str(tmp_path))
    with pytest.raises(SettingsError, match=r"domain: 'ier' is not what .*'jaffe'.* \['fer'\]"):
        open_source("auto", str(tmp_path), domain="ier")
    with pytest.raises(SettingsError, match=r"'folder' needs one of \['fer', 'ier'\], got None"):
        open_source("folder", str(tmp_path))
    assert open_source("jaffe", f"{tmp_path}/", domain="fer").domains == ("fer",)


def test_one_request_has_one_repr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paint(tmp_path, "set/happy/1.png")
    monkeypatch.chdir(tmp_path)
    relative = open_source("folder", "set/", domain="fer")
    assert repr(relative) == repr(open_source("folder", f"{tmp_path}/set", domain="fer"))
    assert repr(relative) != repr(open_source("folder", "set", domain="ier"))
    monkeypatch.chdir("/")
    assert len(listing(relative)) == 1


def test_a_storage_failure_is_not_a_missing_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(tmp_path, "KA.AN1.39.tiff")
    source = open_source("jaffe", str(tmp_path))
    sample = sample_of(source, "tiff")

    def refuse(location: str) -> bytes:
        raise StorageError(f"{location}: access denied")

    monkeypatch.setattr("ier_ray.storage.read_bytes", refuse)
    with pytest.raises(StorageError, match="access denied"):
        source.load("fer", sample)


WRITERS: dict[str, Callable[[Path], object]] = {
    "fer13": write_fer13,
    "ck_plus": write_ck_plus,
    "emotic": write_emotic,
    "jaffe": lambda root: paint(root, "KA.HA1.39.tiff"),
    "ferg": lambda root: paint(root, "ray/ray_fear/1.png"),
    "fi": lambda root: paint(root, "awe/1.jpg", "fear/2.jpg"),
    "artphoto": lambda root: paint(root, "awe_1.jpg"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_no_other_layout_looks_the_same(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    files = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    specific = [other for other in SOURCES if other not in ("table", "folder")]
    assert [other for other in specific if SOURCES[other].recognizes(files)] == [name]
    (domain,) = open_source("auto", str(tmp_path)).domains
    assert Counter(get_args(Domain))[domain] == 1


@pytest.mark.parametrize(
    "paths",
    [
        ("awe/1.jpg", "happy/1.jpg"),  # a label FI does not have
        ("pictures/fear_1.jpg", "pictures/sad_2.jpg"),  # no label of Mikels' set alone
        ("train/fear/1.jpg", "train/awe/1.jpg", "train/calm/1.jpg"),
    ],
)
def test_what_only_resembles_a_dataset_is_a_folder(tmp_path: Path, paths: tuple[str, ...]) -> None:
    paint(tmp_path, *paths)
    assert open_source("auto", str(tmp_path), domain="fer").name == "folder"
    with pytest.raises(SettingsError, match="source 'folder' needs one of"):
        open_source("auto", str(tmp_path))

"""Which settings of explanations give the best maps, on drawings and on photographs.

Each picture's predicted class is explained with every candidate. A map is measured by

- deletion and insertion: the class's probability, mean over nine shares of the pixels, when those
  of the largest credit are hidden, or shown alone. Hidden pixels are filled in from those around
  them (ROAD). ``gap`` is insertion less deletion: higher is better;
- Shapley error: credits of a grid of regions against the exact Shapley values of the same score and
  baseline, |found - exact| / |exact|, on some of the pictures: lower is better;
- on drawings, cue mass (share of the positive credit inside the cue that was drawn) and pointing
  (whether the largest credit is there): higher is better.

Beside them are maps that know nothing of the network: random blocks, and the middle of the picture.
The first half of the pictures is for choosing; the second half says how good the choice is.

Without --checkpoint the pictures are drawings, and a network is trained on others.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from maps.candidates import candidates
from maps.measures import Measured, Picture, measured_all
from subjects.scenes import SIZE, drawing_seed, scenes_network
from torch import nn
from tqdm import tqdm

from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.samples import images_from_shards
from ier_ray.data.shards import ShardSet
from ier_ray.data.synthetic import draw_scene
from ier_ray.emotions import FOUR
from ier_ray.explain import ExactInference
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer

COLUMNS = ("gap", "deletion", "insertion", "shapley error", "cue mass", "pointing", "evaluations")
Rows = dict[str, dict[str, float]]
"""By name and measure."""


def drawings(count: int) -> list[Picture]:
    """Drawn scenes that no training has seen, the emotions in turn."""
    pictures = []
    for number in range(1_000_000, 1_000_000 + count):
        drawing = draw_scene(FOUR.classes[number % 4], size=SIZE, seed=drawing_seed("ier", number))
        mask = np.asarray(drawing.cue_mask) > 0
        pictures.append(Picture(f"drawing {number}", np.asarray(drawing.image), mask))
    return pictures


def photographs(shards: str, fold: int, count: int, preprocessing: Preprocessing) -> list[Picture]:
    """Pictures of a fold of a shard set, as many of each class."""
    opened = ShardSet.open(shards)
    classes = len(opened.scheme.classes)
    per_class = -(-count // classes)
    found = images_from_shards(opened, per_class=per_class, fold=fold, preprocessing=preprocessing)
    in_turn = [image for first in range(per_class) for image in found[first::per_class]]
    return [Picture(image.name, image.pixels, image.cue_mask) for image in in_turn[:count]]


def means(rows: Sequence[Rows]) -> Rows:
    """Of several pictures; a measure that was taken of some pictures is their mean."""
    names = rows[0]
    return {
        name: {
            measure: float(np.mean([row[name][measure] for row in rows if measure in row[name]]))
            for measure in COLUMNS
            if any(measure in row[name] for row in rows)
        }
        for name in names
    }


def report(title: str, found: Rows) -> None:
    columns = [name for name in COLUMNS if any(name in row for row in found.values())]
    print(f"\n{title}\n{'':28}" + "".join(f"{name:>15}" for name in columns))
    for name, row in sorted(found.items(), key=lambda item: -item[1]["gap"]):
        cells = (f"{row[column]:15.3f}" if column in row else f"{'-':>15}" for column in columns)
        print(f"{name:28}" + "".join(cells))


def measured(
    network: nn.Module,
    preprocessing: Preprocessing,
    pictures: Sequence[Picture],
    *,
    tried: dict[str, ExplainerSettings],
    exact: int,
    exact_depth: int,
) -> Iterable[Rows]:
    """Of each picture; the exact Shapley values of ``exact`` of them, evenly spread."""
    prepared = ExactInference.of(network)
    step = max(1, len(pictures) // max(1, exact))
    for number, picture in enumerate(tqdm(pictures, unit="picture")):
        depth = exact_depth if exact and number % step == 0 else None
        one = Measured(network, prepared, preprocessing, picture, depth)
        yield measured_all(one, tried, seed=number)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few drawings, a grid of 8 regions")
    parser.add_argument("--checkpoint", help="a checkpoint whose ier network is explained")
    parser.add_argument("--shards", help="a shard set of its classes")
    parser.add_argument("--fold", type=int, default=0, help="fold of the shard set [0]")
    parser.add_argument("--images", type=int, default=32, help="pictures [32]")
    parser.add_argument("--exact", type=int, default=4, help="with exact Shapley values [4]")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only settings of these names")
    given = parser.parse_args()
    tried = candidates(quick=given.quick)
    unknown = sorted(set(given.only or ()) - tried.keys())
    if unknown:
        parser.error(f"only: no settings {unknown[0]!r}; there are {', '.join(map(repr, tried))}")
    if given.only:
        tried = {name: tried[name] for name in given.only}
    if (given.checkpoint is None) != (given.shards is None):
        parser.error("give both checkpoint and shards, or neither")
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    count = 2 if given.quick else given.images
    if given.checkpoint is None:
        small = {"drawings": 800, "epochs": 4} if given.quick else {"drawings": 3000, "epochs": 10}
        network, accuracy = scenes_network(**small)
        preprocessing, pictures = Preprocessing(SIZE), drawings(count)
        print(f"drawings, {count} held out; the network's accuracy is {accuracy:.3f}")
    else:
        recognizer = Recognizer.load(given.checkpoint, device="cpu")
        network, preprocessing = recognizer.networks["ier"], recognizer.manifest.preprocessing
        pictures = photographs(given.shards, given.fold, count, preprocessing)
        print(f"{given.shards}, {len(pictures)} pictures of fold {given.fold}")
    exact, depth = (2, 3) if given.quick else (given.exact, 4)
    rows = list(
        measured(network, preprocessing, pictures, tried=tried, exact=exact, exact_depth=depth)
    )
    halves = {"choosing": rows[: len(rows) // 2], "reporting": rows[len(rows) // 2 :]}
    found = {name: means(part) for name, part in halves.items()}
    for name, part in halves.items():
        report(f"{name}: {len(part)} pictures", found[name])
    print(json.dumps({"regions": 2**depth, "pictures": len(rows), **found}))


if __name__ == "__main__":
    main()

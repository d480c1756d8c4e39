from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from ier_ray.data.synthetic import EMOTIONS, Drawing, draw_face, draw_scene
from ier_ray.data.synthetic.cues import CUES
from ier_ray.data.synthetic.faces import ACTION_UNITS, UNITS_OF, expression_of

DRAW = {"face": draw_face, "scene": draw_scene}
Draw = Callable[..., Drawing]


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
@pytest.mark.parametrize("size", [32, 64, 100])
def test_shapes_and_mask_area(draw: Draw, size: int) -> None:
    shares = []
    for seed in range(40):
        drawing = draw(EMOTIONS[seed % 4], size=size, seed=seed)
        assert drawing.image.shape == (size, size, 3)
        assert drawing.image.dtype == np.uint8
        assert drawing.cue_mask.shape == (size, size)
        assert drawing.label == EMOTIONS[seed % 4]
        shares.append(drawing.cue_mask.mean())
    assert min(shares) > 0.02
    assert max(shares) < 0.25
    assert 0.04 < np.mean(shares) < 0.15


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_outside_the_cues_nothing_depends_on_the_emotion(draw: Draw) -> None:
    for seed in range(25):
        drawings = [draw(emotion, size=64, seed=seed) for emotion in EMOTIONS]
        outside = ~np.any([d.cue_mask for d in drawings], axis=0)
        assert outside.mean() > 0.4
        for other in drawings[1:]:
            np.testing.assert_array_equal(other.image[outside], drawings[0].image[outside])
            assert (other.image != drawings[0].image).any()


def test_the_same_seed_draws_the_same_in_another_process() -> None:
    program = (
        "import hashlib; from ier_ray.data.synthetic import *; "
        "d = [f(e, size=48, seed=9) for f in (draw_face, draw_scene) for e in EMOTIONS]; "
        "print(hashlib.sha256(b''.join(x.image.tobytes() + x.cue_mask.tobytes() "
        "for x in d)).hexdigest())"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    here = [f(e, size=48, seed=9) for f in (draw_face, draw_scene) for e in EMOTIONS]
    content = b"".join(d.image.tobytes() + d.cue_mask.tobytes() for d in here)
    assert elsewhere.stdout.strip() == hashlib.sha256(content).hexdigest()


def test_seeds_differ() -> None:
    images = [draw_scene("sad", size=32, seed=seed).image.tobytes() for seed in range(30)]
    assert len(set(images)) == 30


def test_expressions_follow_their_action_units() -> None:
    generator = np.random.default_rng(0)
    for emotion, units in UNITS_OF.items():
        found = expression_of(emotion, generator)
        corner = sum(np.sign(ACTION_UNITS[unit].lip_corner) for unit in (12, 15) if unit in units)
        assert np.sign(found.lip_corner) == corner or emotion == "anger"
        assert (found.nose_wrinkle > 0) == (9 in units)
        assert (found.cheek > 0) == (6 in units)
        assert (found.inner_brow > 0) == (1 in units)
    assert UNITS_OF["happy"] == (6, 12)


def test_every_emotion_has_several_cues_of_its_own() -> None:
    kinds = [cue for emotion in EMOTIONS for cue in CUES[emotion]]
    assert len(set(kinds)) == len(kinds)
    assert min(len(CUES[emotion]) for emotion in EMOTIONS) >= 2


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_unknown_emotions_and_small_sizes_are_refused(draw: Draw) -> None:
    with pytest.raises(ValueError, match=r"emotion must be one of .*'happy'.*, got 'awe'"):
        draw("awe", size=64, seed=0)
    with pytest.raises(ValueError, match="size must be >= 32, got 8"):
        draw("sad", size=8, seed=0)


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_the_cue_keeps_its_place_at_any_size(draw: Draw) -> None:
    for seed in range(5):
        masks = [draw("hate", size=size, seed=seed).cue_mask for size in (64, 192)]
        small, large = (np.argwhere(mask).mean(axis=0) / len(mask) for mask in masks)
        np.testing.assert_allclose(small, large, atol=0.03)

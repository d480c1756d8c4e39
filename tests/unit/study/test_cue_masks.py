"""Rectangles, strokes and Label Studio's brush masks as pixels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from support.studies import encode_brush

from ier_ray.errors import DataError
from ier_ray.study.brush import decode_brush
from ier_ray.study.cues import GRID, on_grid, rectangle_mask, stroke_mask


def test_a_rectangle_has_the_pixels_whose_centers_are_inside() -> None:
    mask = rectangle_mask((6, 10), (2, 1), (3, 4), 0)
    expected = np.zeros((6, 10), dtype=bool)
    expected[1:5, 2:5] = True
    assert_array_equal(mask, expected)
    assert_array_equal(rectangle_mask((6, 10), (1.6, 1), (3, 4), 0), expected)


def test_a_rectangle_turns_clockwise_about_its_upper_left_corner() -> None:
    mask = rectangle_mask((10, 10), (5, 2), (4, 2), 90)  # width now runs down, height to the left
    expected = np.zeros((10, 10), dtype=bool)
    expected[2:6, 3:5] = True
    assert_array_equal(mask, expected)
    turned = rectangle_mask((200, 200), (100, 20), (80, 50), 37)
    assert abs(turned.sum() - 80 * 50) < 60


def test_a_stroke_covers_what_is_near_its_line() -> None:
    dot = stroke_mask((20, 20), [(10, 10)], 3)
    y, x = np.mgrid[:20, :20] + 0.5
    assert_array_equal(dot, np.hypot(x - 10, y - 10) <= 3)
    line = stroke_mask((20, 40), [(5, 10), (30, 10), (30, 30)], 2)
    assert_array_equal(np.flatnonzero(line[:, 20]), [8, 9, 10, 11])
    assert line[19, 30]
    assert not line[:, :3].any()
    assert stroke_mask((9, 9), [(0, 0), (9, 9)], 0.8).trace() == 9


def test_masks_keep_their_share_of_the_area_on_the_grid() -> None:
    mask = rectangle_mask((300, 700), (70, 60), (350, 120), 0)
    assert abs(on_grid(mask).mean() - mask.mean()) < 0.01
    assert on_grid(mask).shape == (GRID, GRID)
    assert not on_grid(np.zeros((5, 5), dtype=bool)).any()
    assert_array_equal(on_grid(np.eye(2, dtype=bool)), np.kron(np.eye(2), np.ones((112, 112))) > 0)


def test_a_mark_smaller_than_a_cell_is_not_lost() -> None:
    mask = np.zeros((1000, 1000), dtype=bool)
    mask[503, 207] = True
    assert on_grid(mask).sum() == 1
    assert on_grid(mask)[503 * GRID // 1000, 207 * GRID // 1000]


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_brush_masks_equal_what_was_encoded(seed: int, runs: bool) -> None:
    generator = np.random.default_rng(seed)
    mask = np.repeat(generator.random((17, 5)) < 0.4, 6, axis=1)
    assert_array_equal(decode_brush(encode_brush(mask, runs=runs), height=17, width=30), mask)


def test_long_runs_of_a_brush_mask() -> None:
    mask = np.zeros((200, 300), dtype=bool)
    mask[150:, 250:] = True
    assert_array_equal(decode_brush(encode_brush(mask), height=200, width=300), mask)


def test_a_brush_mask_written_by_hand() -> None:
    # 8 values (2 pixels of RGBA): a run of 4 zeros, then 1, 2, 3, 255 written out. Words of 8 bits
    # (less 1: 00111), lengths of 2, 4, 8 and 16 bits (less 1: 0001 0011 0111 1111).
    header = f"{8:032b}" + "00111" + "0001" + "0011" + "0111" + "1111"
    run = "1" + "00" + "11" + "00000000"
    literal = "0" + "00" + "11" + "00000001" + "00000010" + "00000011" + "11111111"
    bits = header + run + literal
    bits += "0" * (-len(bits) % 8)
    encoded = [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]
    assert decode_brush(encoded, height=1, width=2).tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda rle: [], "not a list of bytes"),
        (lambda rle: [*rle[:-1], 256], "not a list of bytes"),
        (lambda rle: [-1, *rle[1:]], "not a list of bytes"),
        (lambda rle: rle[: len(rle) // 2], "ends early"),
        (lambda rle: [255, *rle[1:]], "values, but an image of 30x17 pixels has 2040"),
        (lambda rle: [*rle[:6], 255, *[255] * len(rle)], "more values than it announces"),
    ],
)
def test_damaged_brush_masks_are_refused(damage, told: str) -> None:  # type: ignore[no-untyped-def]
    mask = np.zeros((17, 30), dtype=bool)
    mask[3:9, 4:20] = True
    with pytest.raises(DataError, match=told):
        decode_brush(damage(encode_brush(mask)), height=17, width=30)

"""Random changes of training images, against torchvision's own operations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from ier_ray.config import parse_settings
from ier_ray.data.augmentation import AugmentSettings, augment, crop, jitter, mirrored
from ier_ray.errors import SettingsError


def photographs(count: int, side: int = 16) -> Tensor:
    return torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(5))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_settings_nothing_changes() -> None:
    images = photographs(4)
    assert augment(images, AugmentSettings(), seeded()) is images


def test_flip_mirrors_with_its_probability() -> None:
    images = photographs(1).expand(4000, -1, -1, -1)
    changed = augment(images, AugmentSettings(flip=0.3), seeded())
    mirrored = (changed == images.flip(-1)).all((1, 2, 3))
    assert ((changed == images).all((1, 2, 3)) ^ mirrored).all()
    assert abs(mirrored.double().mean() - 0.3) < 3 * (0.3 * 0.7 / 4000) ** 0.5
    torch.testing.assert_close(augment(images, AugmentSettings(flip=1), seeded()), images.flip(-1))


def test_mirrored_tells_which_images_augment_mirrors_next() -> None:
    images, settings = photographs(50), AugmentSettings(flip=0.5)
    told, changed = seeded(), seeded()
    for _ in range(2):  # the second batch continues the same draws
        turned = mirrored(50, settings, told)
        expected = torch.where(turned[:, None, None, None], images.flip(-1), images)
        torch.testing.assert_close(augment(images, settings, changed), expected, rtol=0, atol=0)
        assert 0 < turned.sum() < 50
    assert not mirrored(50, AugmentSettings(), told).any()


@pytest.mark.parametrize(
    ("values", "only"),
    [({}, True), ({"flip": 1}, True), ({"crop": 0.9}, False), ({"jitter": 0.1}, False)],
)
def test_crops_and_jitter_give_more_than_mirror_images(
    values: dict[str, float], only: bool
) -> None:
    assert AugmentSettings.model_validate(values).only_mirrors is only


def test_crop_equals_slicing_and_resizing() -> None:
    images = photographs(2)
    side, left, top = (
        torch.tensor([0.5, 0.75]),
        torch.tensor([0.25, 0.0]),
        torch.tensor([0.5, 0.25]),
    )
    found = crop(images, side, left, top)
    for image, got, (y, x, s) in zip(images, found, ((8, 4, 8), (4, 0, 12)), strict=True):
        # Edges are excluded: here, bilinear weights extend beyond the cut; in the reference, not.
        wide = reference.resize(image[:, y : y + s, x : x + s], [16, 16], antialias=False)
        torch.testing.assert_close(got[:, 2:-2, 2:-2], wide[:, 2:-2, 2:-2], atol=1e-5, rtol=0)
    whole = crop(images, torch.ones(2), torch.zeros(2), torch.zeros(2))
    torch.testing.assert_close(whole, images, atol=1e-5, rtol=0)


def test_crops_keep_at_least_the_smallest_area_and_stay_inside() -> None:
    ramp = torch.linspace(0, 1, 64).expand(500, 3, 64, 64)  # brightness is the horizontal position
    found = augment(ramp, AugmentSettings(crop=0.25), seeded())
    width = found[:, 0, 0, -1] - found[:, 0, 0, 0]
    assert (width > 0.45).all()
    assert (width < 1.01).all()
    areas = width.square()
    assert abs(areas.mean() - 0.625) < 0.05  # uniform between 0.25 and 1


def test_jitter_equals_torchvision() -> None:
    images = photographs(3)
    factors = torch.tensor([[0.6, 1.0, 1.3], [1.2, 0.7, 1.0], [1.0, 1.4, 0.5]])
    found = jitter(images, *factors)
    for image, got, (b, c, s) in zip(images, found, factors.T.tolist(), strict=True):
        expected = reference.adjust_brightness(image, b)
        expected = reference.adjust_contrast(expected, c)
        expected = reference.adjust_saturation(expected, s)
        torch.testing.assert_close(got, expected, atol=1e-3, rtol=0)


def test_same_seed_gives_the_same_draws_and_one_change_does_not_alter_the_others() -> None:
    images = photographs(8)
    everything = AugmentSettings(flip=0.5, crop=0.6, jitter=0.3)
    first = augment(images, everything, seeded(1))
    torch.testing.assert_close(first, augment(images, everything, seeded(1)), atol=0, rtol=0)
    assert not torch.equal(first, augment(images, everything, seeded(2)))
    flips = augment(images, AugmentSettings(flip=0.5), seeded(1))
    both = augment(images, AugmentSettings(flip=0.5, jitter=1e-9), seeded(1))
    torch.testing.assert_close(flips, both, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"flip": 2}, "flip must be <= 1, got 2"),
        ({"crop": 0}, "crop must be > 0, got 0"),
        ({"jitter": 1}, "jitter must be < 1, got 1"),
    ],
)
def test_impossible_changes_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_settings(AugmentSettings, values, source="test")

"""Errors on their way to the user."""

from __future__ import annotations

import pickle

from ier_ray.errors import DataError, ImageError


def test_the_message_outlives_what_others_append_to_the_arguments() -> None:
    error = DataError("image 'a' is unreadable")
    error.args = (f"{error.args[0]}\nFailed to apply UDF transform after 1/1 attempts",)
    assert str(error) == "image 'a' is unreadable"
    assert str(pickle.loads(pickle.dumps(error))) == "image 'a' is unreadable"  # noqa: S301


def test_an_image_error_goes_from_process_to_process() -> None:
    error = pickle.loads(pickle.dumps(ImageError("truncated", "the image is cut off")))  # noqa: S301
    assert (error.reason, str(error)) == ("truncated", "the image is cut off")

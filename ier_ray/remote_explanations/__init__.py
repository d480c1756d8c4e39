"""Explaining pictures through a running service; writes the files of :mod:`explained_images`."""

from ier_ray.remote_explanations.by_jobs import explain_by_jobs
from ier_ray.remote_explanations.by_requests import explain_remotely
from ier_ray.remote_explanations.pictures import TOKEN, PictureFile, pictures_of, token_of
from ier_ray.remote_explanations.run import RETRIES, TIMEOUT_S, Written

__all__ = [
    "RETRIES",
    "TIMEOUT_S",
    "TOKEN",
    "PictureFile",
    "Written",
    "explain_by_jobs",
    "explain_remotely",
    "pictures_of",
    "token_of",
]

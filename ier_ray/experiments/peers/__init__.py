"""Other explainers behind one call, for comparison (extra ``compare``)."""

from ier_ray.experiments.peers.image import IMAGE_PEERS, Subject
from ier_ray.experiments.peers.perturbation import GAME_PEERS, GamePeer

__all__ = ["GAME_PEERS", "IMAGE_PEERS", "GamePeer", "Subject"]

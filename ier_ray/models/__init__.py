"""The networks: the paper's, its baselines, and the module that joins two for training."""

from ier_ray.models.classifier import EmotionClassifier
from ier_ray.models.emotion_net import EmotionNet
from ier_ray.models.joint import JointModel
from ier_ray.models.registry import ModelSettings, build_joint_model, build_network

__all__ = [
    "EmotionClassifier",
    "EmotionNet",
    "JointModel",
    "ModelSettings",
    "build_joint_model",
    "build_network",
]

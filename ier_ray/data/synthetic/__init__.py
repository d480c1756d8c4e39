"""Synthetic faces and scenes, with masks of the pixels that carry the emotion."""

from ier_ray.data.synthetic.canvas import EMOTIONS, Drawing
from ier_ray.data.synthetic.faces import draw_face
from ier_ray.data.synthetic.scenes import draw_scene

__all__ = ["EMOTIONS", "Drawing", "draw_face", "draw_scene"]

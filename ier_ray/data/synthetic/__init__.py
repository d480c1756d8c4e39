"""Faces and scenes drawn by code, with the pixels that carry the emotion known."""

from ier_ray.data.synthetic.canvas import EMOTIONS, Drawing
from ier_ray.data.synthetic.faces import draw_face
from ier_ray.data.synthetic.scenes import draw_scene
from ier_ray.data.synthetic.sheet import contact_sheet

__all__ = ["EMOTIONS", "Drawing", "contact_sheet", "draw_face", "draw_scene"]

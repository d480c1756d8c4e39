"""Results as the answers of the service."""

from ier_ray.emotions import EmotionScheme
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.rendering import leaf_records
from ier_ray.inference import ExplainerSettings
from ier_ray.serve.schemas import ExplanationReply, Prediction


def prediction(probabilities: list[float], scheme: EmotionScheme) -> Prediction:
    """Probabilities as an answer."""
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    return Prediction(
        label=scheme.classes[best],
        probability=probabilities[best],
        probabilities=dict(zip(scheme.classes, probabilities, strict=True)),
    )


def explanation_reply(
    explanation: Explanation,
    target: int,
    predicted: Prediction,
    settings: ExplainerSettings,
    scheme: EmotionScheme,
) -> ExplanationReply:
    """An explanation as an answer."""
    return ExplanationReply.model_validate(
        {
            "target": scheme.classes[target],
            "prediction": predicted,
            "image_size": explanation.tree.shape[0],
            "full": float(explanation.full[target]),
            "empty": float(explanation.empty[target]),
            "efficiency_gap": explanation.efficiency_gap(target),
            "evaluations": explanation.evaluations,
            "inference": explanation.inference,
            "settings": settings,
            "leaves": leaf_records(explanation, target),
        }
    )

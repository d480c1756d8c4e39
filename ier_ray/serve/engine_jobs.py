"""What an explainer gives its engine to do: explanations, and scores for other explainers.

Free of Ray, as the engine is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from threading import Lock

from torch import Tensor

from ier_ray.data.images import Pixels
from ier_ray.data.schema import Domain
from ier_ray.explain.anytime import AnytimeExplainer
from ier_ray.explain.demands import Demands, recorded, scored
from ier_ray.explain.engine import Job, Lend, SharedNetwork
from ier_ray.explain.evaluators import SCORES, Interrupt, logit
from ier_ray.explain.masking import MaskedImages
from ier_ray.explainer_settings import ExplainerSettings, Precision
from ier_ray.inference import Recognizer

MOST_KNOWN = 1024
"""Predicted costs that are kept: settings are as many as clients send."""


@dataclass(frozen=True)
class EngineJobs:
    """Makes the jobs of one engine; their networks are prepared once and shared by all.

    Args:
        recognizer: the networks.
    """

    recognizer: Recognizer
    _shared: dict[tuple[Domain, Precision], SharedNetwork] = field(default_factory=dict, repr=False)
    _macs: dict[tuple[AnytimeExplainer, SharedNetwork], float] = field(
        default_factory=dict, repr=False
    )
    _lock: Lock = field(default_factory=Lock, repr=False)

    def explanation(
        self,
        pixels: Pixels,
        settings: ExplainerSettings,
        *,
        domain: Domain = "ier",
        target: int | None = None,
        lend: Lend | None = None,
    ) -> Job:
        """The explanation of an image ``(S, S, 3)`` as a job.

        Args:
            target: class whose credits decide which regions are divided; by default the predicted
                one.
            lend: asks somebody else to score masked images.
        """
        image, baseline, remark = self.recognizer.normalized(pixels, settings, domain)
        explainer = settings.explainer(target)
        network = self._together(domain, settings.precision, image, baseline)

        def demands(interrupt: Interrupt) -> Demands:
            dialog = explainer.demands(network.shape, by_level=True, interrupt=interrupt)
            return recorded(dialog, network.inference + remark)

        image_key = image_key_of(pixels, settings, domain)
        return Job(
            key=(image_key, settings, target),
            image_key=image_key,
            network=network,
            image=image,
            baseline=baseline,
            demands=demands,
            score=SCORES[settings.score],
            macs=self._predicted_macs(explainer, network),
            lend=lend,
        )

    def scores(
        self,
        pixels: Pixels,
        settings: ExplainerSettings,
        masking: MaskedImages,
        *,
        domain: Domain = "ier",
    ) -> Job:
        """The logits of masked versions of an image ``(S, S, 3)`` as a job."""
        image, baseline, _ = self.recognizer.normalized(pixels, settings, domain)
        network = self._together(domain, settings.precision, image, baseline)
        return Job(
            key=object(),
            image_key=image_key_of(pixels, settings, domain),
            network=network,
            image=image,
            baseline=baseline,
            demands=lambda _: scored(masking),
            score=logit,
            macs=float(network.costs(masking).sum()),
            is_help=True,
        )

    def _together(
        self, domain: Domain, precision: Precision, image: Tensor, baseline: Tensor
    ) -> SharedNetwork:
        """The network prepared for several images at once, once for each domain and precision."""
        with self._lock:
            if (domain, precision) not in self._shared:
                prepared = self.recognizer.exact(domain, precision)
                self._shared[domain, precision] = SharedNetwork(
                    prepared, image, baseline, name=domain
                )
            return self._shared[domain, precision]

    def _predicted_macs(self, explainer: AnytimeExplainer, network: SharedNetwork) -> float:
        """Predicted cost of an explanation, both backgrounds included."""
        known = self._macs.get((explainer, network))
        if known is None:
            tree = explainer.macs(network.shape, network.costs, network.whole_macs)
            known = tree + 2 * network.whole_macs
            with self._lock:
                while len(self._macs) >= MOST_KNOWN:
                    del self._macs[next(iter(self._macs))]
                self._macs[explainer, network] = known
        return known


def image_key_of(pixels: Pixels, settings: ExplainerSettings, domain: Domain) -> tuple[object, ...]:
    """Equal for images with the same scores of masked versions."""
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()
    return digest, settings.baseline, domain, settings.precision

"""The paper's baseline 4: a model captions the image, and BERT recognizes the caption's emotion.

Both models come from the ``transformers`` library, an optional dependency (extra ``captions``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ier_ray.errors import SettingsError
from ier_ray.extras import optional_library
from ier_ray.models.baselines import BaselineNetwork
from ier_ray.models.emotion_net import scaled

CAPTION_TOKENS = 32
"""Length of every caption in tokens: shorter ones are padded, longer ones cut."""
PADDING = 0
"""Id of BERT's padding token."""
VOCABULARY_SIZE = 30522
"""Number of tokens of BERT-base."""
HEADS, HEAD_CHANNELS, LAYERS = 12, 64, 12


def transformers() -> Any:
    """The ``transformers`` module.

    Raises:
        SettingsError: when it is not installed.
    """
    return optional_library("transformers", extra="captions", use="captions need")


class CaptionBert(BaselineNetwork):
    """BERT as a classifier of captions.

    Input token ids ``(N, L)``, 0 after a caption's end; output logits ``(N, num_classes)``.
    Pretrained weights are those of ``BertForSequenceClassification``, as its ``save_pretrained``
    writes them.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of captions."""
        logits: Tensor = self.network(input_ids=tokens, attention_mask=tokens != PADDING).logits
        return logits


def caption_bert(*, num_classes: int, image_size: int, width: float, dropout: float) -> CaptionBert:
    """BERT-base; ``width`` scales the channels of each of its 12 heads.

    Raises:
        SettingsError: when the transformers library is not installed.
    """
    del image_size  # it reads no images
    library = transformers()
    hidden = HEADS * scaled(HEAD_CHANNELS, width)
    config = library.BertConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=hidden,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * hidden,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=PADDING,
        num_labels=num_classes,
    )
    return CaptionBert(library.BertForSequenceClassification(config), head="classifier")


def bert_tokenizer(directory: str) -> Any:
    """The tokenizer in a directory, checked to suit :class:`CaptionBert`.

    Raises:
        SettingsError: when transformers is missing, or the directory holds no tokenizer of BERT's.
    """
    try:
        tokenizer = transformers().AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"tokenizer {directory}: holds no tokenizer that transformers can read; give a "
            f"directory that save_pretrained of a BERT tokenizer wrote"
        ) from error
    if tokenizer.pad_token_id != PADDING or len(tokenizer) > VOCABULARY_SIZE:
        raise SettingsError(
            f"tokenizer {directory}: has {len(tokenizer)} tokens and pads with "
            f"{tokenizer.pad_token_id}; caption_bert reads at most {VOCABULARY_SIZE}, "
            f"padded with {PADDING}, as the tokenizers of BERT-base do"
        )
    return tokenizer


def check_captioner(directory: str) -> None:
    """Raise if a directory holds no captioning model; reads all of it but its weights.

    Raises:
        SettingsError: when transformers is missing, or cannot read what is there.
    """
    library = transformers()
    try:
        config = library.AutoConfig.from_pretrained(directory, local_files_only=True)
        with torch.device("meta"):
            library.AutoModelForImageTextToText.from_config(config)
        library.AutoImageProcessor.from_pretrained(directory, local_files_only=True)
        library.AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"captioner {directory}: holds no image captioning model with its image processor and "
            f"tokenizer that transformers can read; give a directory that save_pretrained wrote"
        ) from error


class Captioner:
    """An image captioning model, and the tokenizer of the network that reads its captions.

    Args:
        model: directory of an image-to-text model with its image processor and tokenizer, as
            ``save_pretrained`` writes them (a vision encoder-decoder, BLIP, GIT, …).
        tokenizer: directory of the tokenizer of the BERT that reads the captions.
        device: where the model runs.

    Raises:
        SettingsError: when transformers is missing, or the tokenizer is not one of BERT's.
    """

    def __init__(self, model: str, tokenizer: str, *, device: torch.device) -> None:
        library = transformers()
        self._device = device
        captioner = library.AutoModelForImageTextToText.from_pretrained(
            model, local_files_only=True
        )
        self._model = captioner.to(device).eval()
        self._processor = library.AutoImageProcessor.from_pretrained(model, local_files_only=True)
        self._words = library.AutoTokenizer.from_pretrained(model, local_files_only=True)
        self._tokenizer = bert_tokenizer(tokenizer)

    @torch.inference_mode()
    def describe(self, images: Sequence[Image.Image]) -> list[str]:
        """A caption of each RGB image, by greedy decoding."""
        pixels = self._processor(images=list(images), return_tensors="pt").pixel_values
        tokens = self._model.generate(
            pixel_values=pixels.to(self._device),
            max_new_tokens=CAPTION_TOKENS,
            num_beams=1,
            do_sample=False,
        )
        texts: list[str] = self._words.batch_decode(tokens, skip_special_tokens=True)
        return [text.strip() for text in texts]

    @property
    def vocabulary(self) -> str:
        """Hash of the tokenizer's mapping from tokens to ids."""
        words = json.dumps(self._tokenizer.get_vocab(), sort_keys=True)
        return hashlib.sha256(words.encode()).hexdigest()

    def tokens(self, captions: Sequence[str]) -> NDArray[np.int32]:
        """Token ids ``(N, CAPTION_TOKENS)`` of captions."""
        encoded = self._tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=CAPTION_TOKENS
        )
        return np.asarray(encoded["input_ids"], dtype=np.int32)

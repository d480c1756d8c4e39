"""A captioner and a tokenizer of a handful of words, with random weights: no download."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

from ier_ray.models.captions import PADDING

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


CUES = ["smile", "tears", "rot", "fist"]


WORDS = ["a", "the", "dog", "tree", "house", "with", "near", "red", "blue"]


def write_caption_models(root: Path) -> tuple[str, str]:
    """A captioner of one layer, whose large random weights give every image its own caption.

    Returns:
        The directories of the captioner and of its tokenizer.
    """
    vocabulary = [*SPECIAL, *CUES, *WORDS]
    (root / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = transformers.BertTokenizer(str(root / "vocab.txt"))
    tokenizer.save_pretrained(root / "captioner")
    tokenizer.save_pretrained(root / "tokenizer")
    small = {
        "hidden_size": 12,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "initializer_range": 2.0,
    }
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.ViTConfig(image_size=32, patch_size=16, **small),
        transformers.BertConfig(
            vocab_size=len(vocabulary), is_decoder=True, add_cross_attention=True, **small
        ),
        decoder_start_token_id=SPECIAL.index("[CLS]"),
        eos_token_id=SPECIAL.index("[SEP]"),
        pad_token_id=PADDING,
    )
    torch.manual_seed(0)
    transformers.VisionEncoderDecoderModel(config).save_pretrained(root / "captioner")
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(root / "captioner")
    return str(root / "captioner"), str(root / "tokenizer")

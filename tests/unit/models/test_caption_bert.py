"""The text network of baseline 4, with random weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from support.captions import CUES, WORDS, write_caption_models
from support.runs import SIZE
from torch import Tensor

from ier_ray.errors import CheckpointError, SettingsError
from ier_ray.losses import JointLoss
from ier_ray.models import ModelSettings, build_joint_model
from ier_ray.models.captions import PADDING, Captioner, caption_bert
from ier_ray.models.weights import load_pretrained


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SettingsError, match=r"pip install 'ier_ray\[captions\]'"):
        caption_bert(num_classes=4, image_size=SIZE, width=0.1, dropout=0.0)


def test_the_text_network_is_bert_base_at_width_1() -> None:
    with torch.device("meta"):
        network = caption_bert(num_classes=4, image_size=SIZE, width=1.0, dropout=0.0)
        reference = transformers.BertForSequenceClassification(
            transformers.BertConfig(num_labels=4)
        )
    found, expected = network.network.state_dict(), reference.state_dict()
    assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in expected.items()}
    assert [tuple(weight.shape) for weight in network.dense_weights()] == [(4, 768)]


def test_padding_says_nothing() -> None:
    torch.manual_seed(0)
    network = caption_bert(num_classes=4, image_size=SIZE, width=0.05, dropout=0.0).eval()
    short = torch.tensor([[2, 5, 9, 3]])
    padded = torch.nn.functional.pad(short, (0, 6), value=PADDING)
    torch.testing.assert_close(network(short), network(padded))


def test_bert_weights_load_from_what_the_library_saves(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = caption_bert(num_classes=7, image_size=SIZE, width=0.02, dropout=0.0)
    library: Any = source.network
    library.save_pretrained(tmp_path)
    network = caption_bert(num_classes=4, image_size=SIZE, width=0.02, dropout=0.0)
    load_pretrained([network], str(tmp_path / "model.safetensors"))
    for name, tensor in network.get_submodule("network.bert").state_dict().items():
        assert torch.equal(tensor, library.bert.state_dict()[name])
    state = safetensors.torch.load_file(tmp_path / "model.safetensors")
    state["cls.predictions.bias"] = torch.zeros(3)
    safetensors.torch.save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match=r"cls\.predictions\.bias is unexpected"):
        load_pretrained([network], str(tmp_path / "odd.safetensors"))


def test_joint_training_overfits_32_captions(tmp_path: Path) -> None:
    """The same joint model and loss as for images, on token ids."""
    torch.manual_seed(0)
    settings = ModelSettings(architecture="caption_bert", image_size=SIZE, width=0.05)
    model = build_joint_model(settings, num_classes=4)
    captioner = Captioner(*write_caption_models(tmp_path), device=torch.device("cpu"))
    fer, ier = (sentences(captioner, seed) for seed in (1, 2))
    labels = torch.arange(32) % 4
    loss = JointLoss(balance=1.0, regularization=1e-5)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    accuracies = [0.0]
    for _ in range(150):
        outputs = model(fer, ier, compared=loss.compared)
        parts = loss(outputs, labels, labels, model.dense_weights())
        optimizer.zero_grad()
        parts.total.backward()
        optimizer.step()
        # Without dropout training and evaluation compute the same.
        correct = [logits.argmax(1) == labels for logits in (outputs.fer, outputs.ier)]
        accuracies = [float(hits.double().mean()) for hits in correct]
        if min(accuracies) >= 0.95:
            break
    assert min(accuracies) >= 0.95


def sentences(captioner: Captioner, seed: int) -> Tensor:
    """Captions in which one word among others carries the emotion."""
    rng = np.random.default_rng(seed)
    texts = []
    for number in range(32):
        words = list(rng.choice(WORDS, size=4))
        words[int(rng.integers(4))] = CUES[number % 4]
        texts.append(" ".join(words))
    tokens = torch.as_tensor(captioner.tokens(texts)).long()
    return tokens[:, tokens.ne(PADDING).any(0)]  # padding says nothing and takes time

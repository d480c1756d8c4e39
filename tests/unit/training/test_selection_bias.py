"""On random labels, what selected an epoch flatters it, and what selected nothing does not."""

from __future__ import annotations

from pathlib import Path

import torch
from scipy.stats import binomtest
from selection_bias import run

RUNS, HELD_OUT, EPOCHS = 6, 40, 20


def test_the_best_epoch_is_above_chance_only_where_it_was_chosen(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    right = [
        run(seed, held_out=HELD_OUT, epochs=EPOCHS, directory=tmp_path / str(seed))
        for seed in range(RUNS)
    ]
    selected, tested = (sum(hits) for hits in zip(*right, strict=True))
    images = RUNS * HELD_OUT
    assert binomtest(selected, images, 0.25, alternative="greater").pvalue < 0.01
    assert binomtest(tested, images, 0.25).pvalue > 0.01

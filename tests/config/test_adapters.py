"""The learning rate of a language model depends on what is trained: adapters, or all weights."""

import pytest

from align_lab.config import composition


@pytest.mark.parametrize(
    ("overrides", "rate"),
    [
        (["model=hf"], 1e-6),
        (["model=hf", "model.lora.rank=16"], 3e-4),
        (["model=hf", "model.lora.rank=16", "train.lr=2e-5"], 2e-5),
        (["model=smollm2_135m"], 1e-5),
        (["model=smollm2_135m", "model.lora.rank=4"], 3e-4),
        (["model=tiny", "model.lora.rank=4"], 1.5e-4),
    ],
)
def test_adapters_have_a_learning_rate_of_their_own(overrides, rate):
    composition.load_components()
    assert composition.Composer().values(overrides)["train"]["lr"] == rate

"""What is compared before weights arrive. That they arrive is tested in two processes (`test_sharded_engines.py`)."""

import pytest
import torch
from torch import nn

from align_lab.base.errors import ConfigError
from align_lab.train.engines import arrival


class Turning(nn.Module):
    """A weight, a buffer that no checkpoint has, and a tensor that is neither."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 3, dtype=torch.bfloat16))
        self.register_buffer("angles", torch.ones(4), persistent=False)
        self.first_angles = torch.ones(5)


def test_every_tensor_is_described():
    model = nn.ModuleDict({"block": Turning()})
    assert arrival.described(model) == {
        "block.weight": "torch.bfloat16 [2, 3]",
        "block.angles": "torch.float32 [4]",
        "block.first_angles": "torch.float32 [5]",
    }


def test_a_model_that_has_other_tensors_without_its_weights_is_rejected():
    whole = arrival.described(Turning())
    arrival.check_equal([whole, dict(whole)])
    changed = whole | {".angles": "torch.bfloat16 [4]"}
    with pytest.raises(
        ConfigError, match=r"angles is then torch.bfloat16 \[4\], not torch.float32 \[4\]. Set hardware"
    ):
        arrival.check_equal([whole, whole, changed])
    lacking = {name: text for name, text in whole.items() if name != ".angles"}
    with pytest.raises(ConfigError, match=r"angles is then missing, not torch.float32 \[4\]"):
        arrival.check_equal([whole, lacking])

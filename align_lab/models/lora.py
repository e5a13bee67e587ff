"""Low-rank adapters (arXiv 2106.09685): W + (α / r) B A, where only A and B are trained.

The policy with its adapters disabled is its own reference, so no second copy of the weights is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from align_lab.base.errors import ConfigError
from align_lab.models.language_model import Cache, GrowingCache, LanguageModel
from align_lab.models.lora_settings import Lora
from align_lab.models.packing import Packing

NAME = "default"  # the name that peft gives to an adapter


def adapt(model: LanguageModel, lora: Lora) -> LanguageModel:
    """Add an adapter to every matrix of the blocks, in place, and freeze all other weights; rank 0 does nothing.

    B is initialized to 0, so the outputs do not change. Raises ConfigError without peft or without linear layers.
    """
    if lora.rank == 0:
        return model
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as missing:
        raise ConfigError('model.lora.rank needs peft: pip install "align_lab[hf]"') from missing
    head = {id(model.head)}
    matrices = [name for name, m in model.named_modules() if isinstance(m, nn.Linear) and id(m.weight) not in head]
    if not matrices:
        raise ConfigError(
            f"model.lora.rank={lora.rank}: this model has no linear layers to adapt. Set model.lora.rank=0"
        )
    with torch.random.fork_rng():
        torch.manual_seed(lora.seed)
        plan = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=matrices, use_rslora=False)
        inject_adapter_in_model(plan, model)
    return model


def is_adapted(model: nn.Module) -> bool:
    """True if the model has adapters."""
    return any(True for _ in layers(model))


def layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """(name, layer) of every layer with an adapter."""
    return ((name, module) for name, module in model.named_modules() if hasattr(module, "get_delta_weight"))


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict with adapters merged: W + (α / r) B A under the name of W."""
    deltas = {f"{name}.base_layer.weight": layer for name, layer in layers(model)}
    return {
        name.replace(".base_layer.", "."): value + deltas[name].get_delta_weight(NAME) if name in deltas else value
        for name, value in ((name, value.detach()) for name, value in model.state_dict().items())
        if ".lora_" not in name
    }


@torch.no_grad()
def load_base(model: nn.Module, state: Mapping[str, Tensor]) -> bool:
    """Copy the weights of a model without adapters below the adapters of `model`; False, without a copy, where the two
    have other weights or shapes.
    """
    own = {
        name.replace(".base_layer.", "."): value for name, value in model.state_dict().items() if ".lora_" not in name
    }
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in state.items()}:
        return False
    for name, value in own.items():
        value.copy_(state[name])
    return True


@contextmanager
def adapters_disabled(model: nn.Module) -> Iterator[None]:
    """Compute without the adapters inside the `with` block. They remain trained parameters, which peft would change:
    an engine that shards them asks at its first pass."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for _, layer in layers(model):
        layer.enable_adapters(enabled=False)
    for parameter in trained:
        parameter.requires_grad_()
    try:
        yield
    finally:
        for _, layer in layers(model):
            layer.enable_adapters(enabled=True)


class BaseModel(LanguageModel):
    """An adapted model with its adapters disabled, sharing its memory: the reference. It computes no gradients."""

    def __init__(self, adapted: LanguageModel) -> None:
        super().__init__()
        self.context, self.width = adapted.context, adapted.width
        self._adapted = (adapted,)  # in a tuple, so that it is not a submodule: the weights belong to the policy

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """`LanguageModel.forward` of the base model, as a call of the adapted one, which gathers its weights there."""
        with torch.no_grad(), adapters_disabled(self._adapted[0]):
            return self._adapted[0](*inputs, **options)

    @property
    def head(self) -> Tensor:
        """Output weights [V D], which have no adapter."""
        return self._adapted[0].head

    def hidden(self, ids: Tensor, pad: Tensor | None = None) -> Tensor:
        """ids [B L] -> hidden states [B L D] of the base model."""
        with torch.no_grad(), adapters_disabled(self._adapted[0]):
            return self._adapted[0].hidden(ids, pad)

    def packs(self) -> bool:
        """As the adapted model does."""
        return self._adapted[0].packs()

    def packed(self, ids: Tensor, packing: Packing) -> Tensor:
        """Rows ids [B S+T] without their padding -> hidden states [N D] of the base model."""
        with torch.no_grad(), adapters_disabled(self._adapted[0]):
            return self._adapted[0].packed(ids, packing)

    def new_cache(self, rows: int, length: int) -> GrowingCache:
        """A KV cache of the same shape as the policy's."""
        return self._adapted[0].new_cache(rows, length)

    def fixed(self, cache: Any, length: int) -> Cache:
        """As the adapted model has it."""
        return self._adapted[0].fixed(cache, length)

    def step(self, ids: Tensor, cache: Any, pad: Tensor | None = None) -> Tensor:
        """The next columns [B S] -> hidden state [B D] of the base model."""
        with torch.no_grad(), adapters_disabled(self._adapted[0]):
            return self._adapted[0].step(ids, cache, pad)

    def hf_state(self) -> dict[str, Tensor]:
        """Not supported: the base model is never saved."""
        raise NotImplementedError("the reference is not saved: its weights are in the start policy's folder")

    def hf_config(self, *, eos: int | None = None) -> dict[str, Any]:
        """The content of `config.json`."""
        return self._adapted[0].hf_config(eos=eos)

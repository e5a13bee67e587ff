"""Low-rank adapters (arXiv 2106.09685): W + (α / r) B A, only A and B learn; without them the policy is its own reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from align_lab.base.errors import ConfigError
from align_lab.models.language_model import Cache, LanguageModel
from align_lab.models.lora_settings import Lora

NAME = "default"  # peft's name of an adapter


def adapt(model: LanguageModel, lora: Lora) -> LanguageModel:
    """Give every matrix of the blocks an adapter, in place; the rest no longer learns. B is 0: nothing changes yet."""
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
    return any(True for _ in layers(model))


def layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """(name, layer) of every adapter."""
    return ((name, module) for name, module in model.named_modules() if hasattr(module, "get_delta_weight"))


def merged(model: nn.Module) -> dict[str, Tensor]:
    """The weights as if they had never been split: W + (α / r) B A under W's own name."""
    deltas = {f"{name}.base_layer.weight": layer for name, layer in layers(model)}
    return {
        name.replace(".base_layer.", "."): value + deltas[name].get_delta_weight(NAME) if name in deltas else value
        for name, value in ((name, value.detach()) for name, value in model.state_dict().items())
        if ".lora_" not in name
    }


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    for _, layer in layers(model):
        layer.enable_adapters(enabled=False)
    try:
        yield
    finally:
        for _, layer in layers(model):
            layer.enable_adapters(enabled=True)


class Base(LanguageModel):
    """The model as it was before its adapters, in the same memory: the reference. Only for use without gradient."""

    def __init__(self, adapted: LanguageModel) -> None:
        super().__init__()
        self.context, self.width = adapted.context, adapted.width
        self._of = (adapted,)  # not a submodule: its weights are the policy's

    @property
    def head(self) -> Tensor:
        return self._of[0].head

    def hidden(self, ids: Tensor, pad: Tensor | None = None) -> Tensor:
        with torch.no_grad(), switched_off(self._of[0]):
            return self._of[0].hidden(ids, pad)

    def new_cache(self, rows: int, length: int) -> Cache:
        return self._of[0].new_cache(rows, length)

    def step(self, ids: Tensor, cache: Any, pad: Tensor | None = None) -> Tensor:
        with torch.no_grad(), switched_off(self._of[0]):
            return self._of[0].step(ids, cache, pad)

    def hf_state(self) -> dict[str, Tensor]:
        raise NotImplementedError("the reference is not written anywhere: its folder is the start policy's")

    def hf_config(self, *, eos: int | None = None) -> dict[str, Any]:
        return self._of[0].hf_config(eos=eos)

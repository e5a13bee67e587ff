"""Any causal language model of transformers, behind the interface of `language_model.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from align_lab.base.errors import ConfigError, DataError
from align_lab.models.kv_cache import ALIGNED, FixedCache, KVCache
from align_lab.models.language_model import LanguageModel
from align_lab.models.loading import target
from align_lab.models.lora import merged_state
from align_lab.models.precision import NARROW

MAX_DIFFERENCE = 1e-3  # between hidden states times head and the model's own logits, in float32
MAX_RELATIVE = 2.0**-6  # the same in narrow numbers, of the largest logit


class HfCache:
    """The KV cache of transformers, behind the `Cache` protocol."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    @property
    def used(self) -> int:
        """The number of columns in the cache."""
        return int(self.cache.get_seq_length())

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows: indices [B'], or a mask [B]."""
        self.cache.batch_select_indices(rows.nonzero().squeeze(1) if rows.dtype == torch.bool else rows)

    def repeat(self, rows: Tensor, length: int) -> HfCache:
        """This cache itself, with these rows [B'], of which one may occur several times. It grows by itself."""
        self.keep(rows)
        return self

    def fixed(self, length: int) -> FixedCache:
        """The same columns, in shapes that do not change any more, with room for `length`."""
        layers = self.cache.layers
        room = (len(layers), *layers[0].keys.shape[:2], length, layers[0].keys.shape[3])
        copy = KVCache(layers[0].keys.new_empty(room), layers[0].values.new_empty(room))
        for number, layer in enumerate(layers):
            copy.extend(number, layer.keys, layer.values)
        copy.used = self.used
        return copy.fixed(length)


class Filled:
    """A fixed cache, as the layers of transformers see it."""

    def __init__(self, cache: FixedCache) -> None:
        self.cache = cache

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Put the next column [B K 1 E] into a layer and return all its columns [B K L E]."""
        return self.cache.extend(layer, key, value)


class Transformer(LanguageModel):
    """A PreTrainedModel in evaluation mode (no dropout), with gradients."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model.eval()
        config = model.config.get_text_config()
        self.context, self.width = int(getattr(config, "max_position_embeddings", 1 << 20)), int(config.hidden_size)
        self.takes_fixed: bool | None = None  # not tried yet

    @property
    def head(self) -> Tensor:
        """Output weights [V D]."""
        return self.model.get_output_embeddings().weight

    def hidden(self, ids: Tensor, pad: Tensor | None = None) -> Tensor:
        """ids [B L] -> hidden states [B L D] after the final norm."""
        return self._run(ids, pad, None)

    def new_cache(self, rows: int, length: int) -> HfCache:
        """An empty cache, which grows as columns are added."""
        from transformers import DynamicCache

        return HfCache(DynamicCache(config=self.model.config))

    def fixed(self, cache: Any, length: int) -> FixedCache | HfCache:
        """A cache of fixed shapes, if the model computes the same with it, which is tried once."""
        if self.takes_fixed is None:
            self.takes_fixed = self._same_with_fixed()
        return cache.fixed(length) if self.takes_fixed else cache

    def step(self, ids: Tensor, cache: FixedCache | HfCache, pad: Tensor | None = None) -> Tensor:
        """The next columns [B S] after those in the cache -> hidden state [B D] of the last one."""
        hidden = self._next(ids, pad, cache) if isinstance(cache, FixedCache) else self._run(ids, pad, cache)
        return hidden[:, -1]

    def _next(self, ids: Tensor, pad: Tensor | None, cache: FixedCache) -> Tensor:
        """One column [B 1] after those in the cache -> [B 1 D]. A mask of four axes is used as it is: of one with two,
        transformers looks whether it is needed, which waits for the device."""
        position = cache.next if pad is None else cache.next - pad
        hidden = self.model.base_model(
            input_ids=ids,
            attention_mask=cache.bias(pad).expand(len(ids), -1, -1, -1),
            position_ids=position.expand(len(ids))[:, None],
            past_key_values=Filled(cache),
            use_cache=True,
        ).last_hidden_state
        cache.advance()
        return hidden

    @torch.no_grad()
    def _same_with_fixed(self) -> bool:
        """Does a padded column have the same hidden state with a cache of fixed shapes? Not with windows or states."""
        from transformers.cache_utils import DynamicLayer

        device = self.head.device
        ids, pad = torch.arange(1, 13, device=device).view(2, 6), torch.tensor([0, 2], device=device)
        hidden = []
        try:
            for kind in (lambda cache: cache, lambda cache: cache.fixed(ALIGNED)):
                cache = self.new_cache(2, 6)
                self.step(ids[:, :5], cache, pad)
                if any(type(layer) is not DynamicLayer for layer in cache.cache.layers):
                    return False
                hidden.append(self.step(ids[:, 5:], kind(cache), pad))
        except (AttributeError, TypeError, ValueError, IndexError, RuntimeError, NotImplementedError):
            return False
        limit = (MAX_RELATIVE if hidden[0].dtype in NARROW else MAX_DIFFERENCE) * float(hidden[0].abs().max())
        return bool((hidden[0] - hidden[1]).abs().max() <= limit)

    def _run(self, ids: Tensor, pad: Tensor | None, cache: HfCache | None) -> Tensor:
        used = cache.used if cache else 0
        columns = torch.arange(used + ids.shape[1], device=ids.device).expand(len(ids), -1)
        mask = None if pad is None else (columns >= pad[:, None]).long()
        positions = columns if pad is None else (columns - pad[:, None]).clamp(min=0)
        return self.model.base_model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions[:, used:],
            past_key_values=cache.cache if cache else None,
            use_cache=cache is not None,
        ).last_hidden_state

    def hf_state(self) -> dict[str, Tensor]:
        """The model's own state dict, with adapters merged and without a tied head."""
        state = {name.removeprefix("model."): value for name, value in merged_state(self).items()}
        tied = self.model.config.get_text_config().tie_word_embeddings
        return {name: value for name, value in state.items() if not (tied and name == "lm_head.weight")}

    def hf_config(self, *, eos: int | None = None) -> dict[str, Any]:
        """The model's own config."""
        return self.model.config.to_dict() | ({} if eos is None else {"eos_token_id": eos})


def open_transformer(folder: Path) -> Transformer:
    """Load a Hugging Face folder. Raises DataError if it needs custom code, or if its head is more than a matrix."""
    try:
        from transformers import AutoConfig, AutoModelForCausalLM
        from transformers.utils import logging
    except ModuleNotFoundError as missing:
        raise ConfigError(f'{folder} needs transformers: pip install "align_lab[hf]"') from missing
    logging.disable_progress_bar()
    dtype = torch.bfloat16 if target().dtype == torch.bfloat16 else torch.float32
    try:
        if target().is_skeleton:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            with torch.device("meta"):
                return Transformer(AutoModelForCausalLM.from_config(config, trust_remote_code=False, dtype=dtype))
        model = AutoModelForCausalLM.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, local_files_only=True, dtype=dtype
        )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"transformers cannot load {folder}: {str(error).strip().splitlines()[0]}") from error
    return _checked(Transformer(model), folder)


@torch.no_grad()
def _checked(model: Transformer, folder: Path) -> Transformer:
    """The model, if its logits equal hidden states times head; some models scale or cap logits, or add a bias."""
    ids = torch.arange(1, 9)[None]
    logits = model.model(input_ids=ids).logits
    difference = (logits - model.hidden(ids) @ model.head.t()).abs().max()
    narrow = logits.dtype in NARROW
    if not difference < (MAX_RELATIVE * float(logits.abs().max()) if narrow else MAX_DIFFERENCE):
        raise DataError(
            f"the logits of {folder} ({type(model.model).__name__}) are not its hidden states times its head (they "
            f"differ by up to {difference:.3g}): the model scales or caps them, which is not supported. Use another "
            "model"
        )
    return model

"""Loading of a quantized GGUF file as a policy in float32."""

from __future__ import annotations

import io
import json
import tempfile
from contextlib import redirect_stderr
from pathlib import Path

import torch
from safetensors.torch import save_file

from align_lab.base.errors import ConfigError
from align_lab.models.policy import Policy, load_policy


def read_gguf(file: Path) -> Policy:
    """Weights, tokenizer and chat template, as transformers reads them. Raises ConfigError without transformers."""
    try:
        import gguf  # noqa: F401  transformers needs it to read such files
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging
    except ModuleNotFoundError as missing:
        raise ConfigError(f'reading {file.name} needs transformers and gguf: pip install "align_lab[hf]"') from missing
    logging.disable_progress_bar()
    with redirect_stderr(io.StringIO()):  # one progress bar ignores disable_progress_bar
        model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    config = model.config.to_dict()
    config.pop("quantization_config", None)  # the weights are float32 now; `save_pretrained` would refuse to write them
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    if config["tie_word_embeddings"]:
        state.pop("lm_head.weight", None)
    with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
        save_file(state, Path(scratch) / "model.safetensors", metadata={"format": "pt"})
        (Path(scratch) / "config.json").write_text(json.dumps(config))
        AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(scratch)
        return load_policy(Path(scratch))

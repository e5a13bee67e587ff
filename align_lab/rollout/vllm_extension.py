"""What vLLM's own workers can do for us besides: take new weights, and report log-probabilities at the sampling temperature.

vLLM mixes this class into its worker (`worker_extension_cls`), so that methods are called by name, in whatever process
the worker lives. No function is pickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn

FILE = "weights.safetensors"


class Extension:
    """Names start with align_lab_: vLLM refuses one that its worker has already."""

    model_runner: Any

    def align_lab_load(self, folder: str = "", weights: Iterable[tuple[str, Tensor]] | None = None) -> None:
        """All weights, under transformers' names: from `folder`, or in the same process as tensors."""
        model = self.model_runner.get_model()
        self.model_runner.reload_weights(weights_iterator=read(Path(folder)) if weights is None else weights)
        pack_tied(model)

    def align_lab_temperature(self, temperature: float) -> None:
        """Divide logits by the temperature where they are made.

        vLLM reports log-probabilities either at temperature 1, or of the distribution that top_p has cut: we want
        neither. With logits that are divided already, in float32, its raw log-probabilities are those of training.
        """
        head = self.model_runner.get_model().logits_processor
        for hook in list(head._forward_hooks):
            del head._forward_hooks[hook]
        if temperature != 1:
            head.register_forward_hook(
                lambda module, asked, logits: None if logits is None else logits.float().div_(temperature)
            )


def read(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """One tensor after the other: a large model is never twice in memory."""
    with safe_open(folder / FILE, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118
            yield name, file.get_tensor(name)


def pack_tied(model: nn.Module) -> None:
    """Pack a tied head again on a processor.

    There matrices are multiplied in a packed copy, which is made when a layer's weights arrive. A head that is the
    embedding is sent none, so its copy stays old; vLLM 0.32 forgets it, and nothing shows but wrong log-probabilities.
    """
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm  # pyright: ignore[reportMissingImports]
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, VocabParallelEmbedding  # pyright: ignore[reportMissingImports]

    layers = [layer for layer in model.modules() if isinstance(layer, VocabParallelEmbedding)]  # heads are some, too
    embeddings = {id(layer.weight) for layer in layers if not isinstance(layer, ParallelLMHead)}
    for layer in layers:
        if isinstance(layer, ParallelLMHead) and hasattr(layer, "cpu_linear") and id(layer.weight) in embeddings:
            dispatch_cpu_unquantized_gemm(layer, remove_weight=False)

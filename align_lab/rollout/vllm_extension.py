"""An extension of vLLM's workers: new weights, a seed, and log-probabilities at the sampling temperature.

vLLM adds this class to the bases of its worker (`worker_extension_cls`), so its methods can be called by name in the
process of the worker. No function is pickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn

FILE = "weights.safetensors"


class Extension:
    """Methods that vLLM calls by name. The prefix align_lab_ is needed: vLLM rejects names that its worker has."""

    model_runner: Any

    def align_lab_load(self, folder: str = "", weights: Iterable[tuple[str, Tensor]] | None = None) -> None:
        """Replace all weights, under transformers' names: from `folder`, or within one process from tensors."""
        model = self.model_runner.get_model()
        self.model_runner.reload_weights(weights_iterator=read(Path(folder)) if weights is None else weights)
        pack_tied(model)

    def align_lab_seed(self, seed: int) -> None:
        """Seed the random generators that all requests without a seed of their own draw from."""
        from vllm.utils.torch_utils import set_random_seed  # pyright: ignore[reportMissingImports]

        set_random_seed(seed)

    def align_lab_temperature(self, temperature: float) -> None:
        """Divide the logits by the temperature in a forward hook of the model.

        vLLM reports log-probabilities either at temperature 1 or of the distribution truncated by top_p; training uses
        neither. If the logits are already divided, in float32, its raw log-probabilities are those of training.
        """
        head = self.model_runner.get_model().logits_processor
        for hook in list(head._forward_hooks):
            del head._forward_hooks[hook]
        if temperature != 1:
            head.register_forward_hook(
                lambda module, inputs, logits: None if logits is None else logits.float().div_(temperature)
            )


def read(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a folder one by one, so that the weights are never in memory twice."""
    with safe_open(folder / FILE, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118
            yield name, file.get_tensor(name)


def pack_tied(model: nn.Module) -> None:
    """Repack a tied head on the CPU, where matrices are multiplied from a packed copy.

    The copy is made when the weights of a layer are loaded. A head that shares the weights of the embedding gets none,
    so vLLM 0.32 keeps the outdated copy, and the log-probabilities are wrong without an error.
    """
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm  # pyright: ignore[reportMissingImports]
    from vllm.model_executor.layers.vocab_parallel_embedding import (  # pyright: ignore[reportMissingImports]
        ParallelLMHead,
        VocabParallelEmbedding,
    )

    layers = [layer for layer in model.modules() if isinstance(layer, VocabParallelEmbedding)]  # includes heads
    embeddings = {id(layer.weight) for layer in layers if not isinstance(layer, ParallelLMHead)}
    for layer in layers:
        if isinstance(layer, ParallelLMHead) and hasattr(layer, "cpu_linear") and id(layer.weight) in embeddings:
            dispatch_cpu_unquantized_gemm(layer, remove_weight=False)

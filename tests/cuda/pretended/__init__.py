"""A pretended CUDA device for tests on a processor: real CPU kernels run, and what CUDA refuses raises `Refused`.

    with pretended_cuda() as machine:
        ...                      # torch.cuda.is_available() is True, and `.to("cuda")` works
    machine.counts.launches      # by line of the code under test; syncs, and bytes that were copied, too
    machine.places.peak          # bytes

`places.py` knows on which device a tensor lies, `rules.py` what CUDA refuses and waits for, `modes.py` watches every
call of torch, and `machine.py` replaces what torch.cuda answers. Not seen are: which CUDA kernel is chosen, streams,
NCCL, DeepSpeed, vLLM, and other threads than the one that entered the context.
"""

from __future__ import annotations

from tests.cuda.pretended.machine import Machine, pretended_cuda
from tests.cuda.pretended.rules import Refused

__all__ = ["Machine", "Refused", "pretended_cuda"]

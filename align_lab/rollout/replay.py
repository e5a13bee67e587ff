"""Work that is repeated with the same kernels and the same arguments: on a GPU it is recorded and launched at once."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

WORTH = 24  # repetitions for which recording pays: it takes about as long as launching the kernels of two


class Replay:
    """Calls `work`, which reads and writes the same memory every time, changes nothing but that memory, and waits for
    nothing. On a GPU its kernels are recorded as a CUDA graph at the second call and launched together from then on,
    which takes the processor a few microseconds in place of some for each kernel.

    `repetitions`: how often it will be called.
    """

    def __init__(self, work: Callable[[], None], device: torch.device, *, repetitions: int) -> None:
        self.work = work
        self.records = device.type == "cuda" and repetitions >= WORTH
        self.graph: torch.cuda.CUDAGraph | None = None
        self.warm = False

    def __call__(self) -> None:
        """Do the work once."""
        if not self.records:
            self.work()
        elif not self.warm:
            self._warm_up()
        elif self.graph is None:
            self._record()
        else:
            self.graph.replay()

    def _warm_up(self) -> None:
        """The first time, beside the main stream: libraries allocate then what they need, which no recording may."""
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            self.work()
        torch.cuda.current_stream().wait_stream(beside)
        self.warm = True

    def _record(self) -> None:
        """Record the kernels, none of which runs meanwhile, and launch them. Where that is impossible, for example
        because a module of somebody else waits for the device, they are launched one by one as before."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self.work()
        except RuntimeError as error:
            self.records = False
            reason = str(error).strip().splitlines()[0]
            print(f"sampling launches its kernels one by one, which is slower: {reason}", file=sys.stderr)
            self.work()
            return
        graph.replay()
        self.graph = graph

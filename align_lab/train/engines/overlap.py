"""Gradients are summed over processes while the backward pass goes on: each bucket as soon as it is complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from align_lab.base.world import World, buckets

IN_FLIGHT = 4  # buckets of which a copy is under way


class Overlap:
    """The gradients of a learner's models in buckets, the last layers first, as a backward pass completes them.

    Every process sums the same buckets in the same order, whatever its own backward pass has gradients for: a bucket
    waits for the one before it, and what is left is summed at the end.
    """

    def __init__(self, gradients: Sequence[tuple[nn.Parameter, nn.Parameter]]) -> None:
        """`gradients`: each weight of the models, with the tensor whose `grad` accumulates its gradient."""
        self.buckets = [list(bucket) for bucket in buckets(own for _, own in reversed(gradients))]
        self.bucket_of = {id(own): place for place, bucket in enumerate(self.buckets) for own in bucket}
        self.world: World | None = None  # of the pass that is under way
        self.missing: list[int] = []  # gradients that each bucket waits for
        self.started = 0
        self.waits: list[Callable[[], None]] = []
        for parameter, own in gradients:
            parameter.register_post_accumulate_grad_hook(self._hook(id(own)))

    def begin(self, world: World) -> None:
        """The next backward pass is the last one of the update. It may be said twice."""
        if self.world is None:
            self.world, self.missing, self.started = world, [len(bucket) for bucket in self.buckets], 0

    def start_rest(self) -> None:
        """Nothing more will become complete: begin to sum the other gradients as they are."""
        if self.world is None:
            return
        self.missing = [0] * len(self.buckets)
        self._start_complete()

    def finish(self) -> None:
        """Wait for all sums that were begun."""
        self.start_rest()
        while self.waits:
            self.waits.pop(0)()
        self.world = None

    def _hook(self, key: int) -> Callable[[object], None]:
        def completed(_: object) -> None:
            if self.world is not None:
                self.missing[self.bucket_of[key]] -= 1
                self._start_complete()

        return completed

    def _start_complete(self) -> None:
        while self.world is not None and self.started < len(self.buckets) and self.missing[self.started] <= 0:
            if len(self.waits) >= IN_FLIGHT:
                self.waits.pop(0)()
            grads = [own.grad for own in self.buckets[self.started] if own.grad is not None]
            self.waits.append(self.world.begin_adding_up(grads))
            self.started += 1

"""Gradients are summed over processes while the backward pass goes on, in one order in all of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from align_lab.base import world as worlds
from align_lab.base.world import World
from align_lab.train.engines.overlap import Overlap


@dataclass(frozen=True, kw_only=True)
class OfTwins(World):
    """One of two processes with equal gradients; what happens is noted."""

    size: int = 2
    events: list[str] = field(default_factory=list)

    def begin_adding_up(self, bucket):
        self.events.append(f"sum of {len(bucket[0])}")
        begun = [2 * one for one in bucket]

        def wait():
            self.events.append(f"wait for {len(bucket[0])}")
            for own, total in zip(bucket, begun, strict=True):
                own.copy_(total)

        return wait


@pytest.fixture
def layers(monkeypatch):
    """Three weights, a bucket each."""
    monkeypatch.setattr(worlds, "BUCKET", 1)
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(rows)) for rows in (2, 3, 4)]


def backward(layers, world):
    """The gradient of a loss to which the later layers are nearer, with the moments at which gradients are complete."""
    for one in layers:
        one.grad = torch.zeros_like(one)
        one.register_post_accumulate_grad_hook(lambda own: world.events.append(f"gradient of {len(own)}"))
    overlap = Overlap([(one, one) for one in layers])
    overlap.begin(world)
    first, second, third = layers
    ((first.sum() * second).sum() * third).sum().backward()
    return overlap


def test_a_bucket_is_summed_as_soon_as_it_is_complete_and_the_last_layers_come_first(layers):
    world = OfTwins()
    overlap = backward(layers, world)
    assert world.events == [f"{what} of {rows}" for rows in (4, 3, 2) for what in ("gradient", "sum")]
    alone = [one.grad.clone() for one in layers]
    overlap.finish()
    assert world.events[6:] == ["wait for 4", "wait for 3", "wait for 2"]
    assert all(torch.equal(one.grad, 2 * before) for one, before in zip(layers, alone, strict=True))


def test_a_process_whose_pass_ended_early_takes_part_in_the_same_sums(layers):
    world = OfTwins()
    for one in layers:
        one.grad = torch.zeros_like(one)
    overlap = Overlap([(one, one) for one in layers])
    overlap.begin(world)
    layers[1].sum().backward()  # memory ran out before the other two
    assert world.events == []
    overlap.finish()
    assert world.events[:3] == ["sum of 4", "sum of 3", "sum of 2"]
    assert layers[1].grad.tolist() == [2.0] * 3 and not layers[0].grad.any()


def test_only_the_last_micro_batch_of_an_update_begins_sums(layers):
    world = OfTwins()
    overlap = backward(layers, world)
    overlap.finish()
    world.events.clear()
    layers[2].sum().backward()
    assert world.events == ["gradient of 4"]
    overlap.finish()
    assert world.events == ["gradient of 4"]

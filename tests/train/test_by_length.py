"""Rows of similar length are computed together, cut to their longest, and come back in their order."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from align_lab.base.types import Batch
from align_lab.models.row_batches import RowBatches
from align_lab.rollout.torch_sampler import TorchSampler
from align_lab.train.by_length import Columns, Lengths, Sequences
from align_lab.train.minibatch import StepContext
from align_lab.train.update import update
from tests.train.small import algorithm, loop, model

PROMPT, RESPONSE = [4, 2, 4, 1, 3, 2], [1, 5, 3, 2, 5, 1]  # tokens of six rows


def sequences(dtype=torch.int64):
    S, T = 5, 6  # each wider than any row needs
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(T) < torch.tensor(RESPONSE)[:, None]
    ids = torch.randint(1, 280, (6, S + T), generator=generator, dtype=dtype)
    return Sequences(ids=ids, pad=S - torch.tensor(PROMPT), mask=mask)


def test_the_lengths_of_rows_and_of_groups():
    x = sequences()
    assert x.lengths.longest_prompt.tolist() == PROMPT == x.lengths.shortest_prompt.tolist()
    assert x.lengths.response.tolist() == RESPONSE
    of_pairs = Lengths.of(x.pad.view(3, 2), x.mask.view(3, 2, -1), x.prompt)
    assert of_pairs.longest_prompt.tolist() == [4, 4, 3] and of_pairs.shortest_prompt.tolist() == [2, 1, 2]
    assert of_pairs.response.tolist() == [5, 3, 5]
    assert of_pairs.longest_first(torch.tensor([1, 0, 2])).tolist() == [0, 2, 1]
    assert of_pairs.columns(torch.tensor([1, 2])) == Columns(prompt=4, response=5, padded=True)
    assert x.lengths.columns(torch.tensor([0, 2])) == Columns(prompt=4, response=3, padded=False)


def test_a_hole_in_a_response_is_no_end_and_an_empty_response_keeps_a_column():
    mask = torch.tensor([[True, False, True, False], [False, False, False, False]])
    assert Lengths.of(torch.tensor([0, 1]), mask[:, None], 2).response.tolist() == [3, 1]


@pytest.mark.parametrize("rows", [None, 1, 2, 4])
def test_each_pass_reads_what_its_longest_row_needs_and_the_rows_come_back_in_order(rows):
    x, policy, read = sequences(), model(dtype=torch.float64), []

    def work(ids, pad, mask):
        read.append((len(ids), ids.shape[1]))
        return (policy(ids, pad, mask),)

    (found,) = x.scored(work, RowBatches(rows))
    for row, (prompt, response) in enumerate(zip(PROMPT, RESPONSE, strict=True)):
        ids = x.ids[row : row + 1, x.prompt - prompt : x.prompt + response]
        alone = policy(ids, None, torch.ones(1, response, dtype=torch.bool))[0]
        torch.testing.assert_close(found[row, :response], alone, rtol=0, atol=1e-12)
        assert not found[row, response:].any()
    expected = {  # lengths in order: 8, 7, 7, 5, 3, 3; a pass needs its longest prompt and its longest response
        None: [(6, 5 + 6)],  # a single pass reads them as they are
        1: [(1, 8), (1, 7), (1, 7), (1, 5), (1, 3), (1, 3)],
        2: [(2, 3 + 5), (2, 4 + 3), (2, 2 + 2)],
        4: [(3, 4 + 5), (3, 4 + 2)],
    }
    assert read == expected[rows]


def test_rows_come_back_in_order_where_memory_runs_out():
    x, policy = sequences(), model(dtype=torch.float64)
    (expected,) = x.scored(lambda *rows: (policy(*rows),), RowBatches())

    def limited(ids, pad, mask):
        if len(ids) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return (policy(ids, pad, mask),)

    for rows in (None, 4):
        (found,) = x.scored(limited, RowBatches(rows))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["rloo", "kto"])
def test_a_micro_batch_reads_what_its_longest_group_needs(name):
    """Six groups in micro-batches of two: the longest first, none with a column that its rows do not need."""
    it = loop(algorithm(name), dtype=torch.float64, prompts_per_step=6, steps=1)
    group = it.learner.plan.group_size if name == "rloo" else 1
    it.learner.plan = replace(it.learner.plan, micro_batch=2 * group)
    x = it.source.collect(0, groups=6).experience
    advantage, _ = it.algo.advantages(x.rollout, ())
    S, read, batches = x.ids.shape[-1] - x.rollout.mask.shape[-1], [], []
    logps, loss = it.learner.logps, type(it.algo).loss

    class Watched(type(it.algo)):
        def loss(self, now, batch: Batch):
            batches.append(batch.mask)
            return loss(self, now, batch)

    def watched(ids, pad, mask, **options):
        read.append(ids.shape)
        return logps(ids, pad, mask, **options)

    it.learner.logps = watched
    update(it.learner, Watched(), x, advantage, StepContext(step=0, seed=0, reference=model(dtype=torch.float64)))
    needed = [(S - x.pad[g]).max() + x.rollout.mask[g].any(0).nonzero().max() + 1 for g in range(6)]
    assert len(batches) == 3 and len(set(map(int, needed))) > 1
    widths = [shape[1] for shape in read[-3:]]  # of the losses
    assert widths == sorted(widths, reverse=True)
    assert sum(widths) < 3 * x.ids.shape[-1]
    assert all(mask.any((0, 1))[-1] for mask in batches)
    assert sum(int(mask.sum()) for mask in batches) == int(x.rollout.mask.sum())


def test_a_step_scores_no_column_that_is_behind_all_of_its_completions():
    it, read = loop(algorithm("rloo")), []
    reference = it.source.reference

    class Short(TorchSampler):
        def __call__(self, *args, **options):
            samples = super().__call__(*args, **options)
            return replace(samples, mask=samples.mask & (torch.arange(8) < 3))

    def watched(ids, pad, mask, **options):
        read.append((ids.shape[1], mask.shape[1]))
        return reference(ids, pad, mask, **options)

    source = replace(it.source, sampler=Short(), reference=watched)
    x = source.collect(0, groups=4).experience
    assert x.rollout.mask.shape[-1] == 3 and x.rollout.longest == 8
    assert read == [(x.ids.shape[-1], 3)]

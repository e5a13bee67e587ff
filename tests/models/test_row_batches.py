"""Passes over some rows at a time: equal outputs, halves where memory runs out, equally many in all processes."""

import pytest
import torch

from align_lab.base.errors import AlignLabError
from align_lab.models.row_batches import RowBatches
from tests.train.ranks import ranks, together

X = torch.arange(20.0).view(10, 2)


def doubled(calls, most=100):
    """Work that runs out of memory beyond `most` rows, and notes how many rows each pass had."""

    def work(rows):
        part = X[rows]
        if len(part) > most:
            raise torch.OutOfMemoryError("there is no more memory")
        calls.append(len(part))
        return 2 * part, part.sum(1)

    return work


@pytest.mark.parametrize("rows", [None, 1, 3, 4, 9, 10, 11])
def test_the_outputs_are_those_of_all_rows_at_once_in_passes_of_nearly_equal_size(rows):
    calls = []
    twice, sums = RowBatches(rows)(doubled(calls), 10)
    assert torch.equal(twice, 2 * X) and torch.equal(sums, X.sum(1))
    assert sum(calls) == 10 and max(calls) <= (rows or 10) and max(calls) - min(calls) <= 1


def test_no_rows_take_one_pass_whose_outputs_are_empty():
    calls = []
    twice, sums = RowBatches(4)(doubled(calls), 0)
    assert twice.shape == (0, 2) and sums.shape == (0,) and calls == [0]


def test_when_memory_runs_out_the_rows_are_halved_once_for_all(capsys):
    calls, batches = [], RowBatches()
    assert torch.equal(batches(doubled(calls, most=3), 10)[0], 2 * X)
    assert torch.equal(batches(doubled(calls, most=3), 10)[0], 2 * X)
    assert batches.rows == 3 and max(calls) == 3
    said = capsys.readouterr().err.splitlines()
    assert said == [f"memory ran out in scoring: {rows} completions at a time from now on" for rows in (5, 3)]


def test_a_single_row_that_does_not_fit_is_an_error_and_another_error_stays_as_it_is():
    with pytest.raises(AlignLabError, match="memory ran out in scoring of a single completion"):
        RowBatches()(doubled([], most=0), 10)

    def broken(rows):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        RowBatches()(broken, 10)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_processes_of_a_sharded_model_make_equally_many_passes(rows):
    """One process has a row less than the other, and still comes to each of its passes."""
    worlds, calls = ranks(2), [[], []]

    def work(rank):
        return lambda: RowBatches(rows)(doubled(calls[rank]), (5, 4)[rank], world=worlds[rank])

    results = together([work(0), work(1)], worlds[0].meeting)
    assert len(calls[0]) == len(calls[1])
    for result, count in zip(results, (5, 4), strict=True):
        assert torch.equal(result[0], 2 * X[:count])


def test_a_process_of_a_sharded_model_says_what_to_set_where_memory_runs_out():
    (alone,) = ranks(1)
    with pytest.raises(AlignLabError, match=r"of 10 completions at a time. Set train.scoring_batch=5"):
        RowBatches()(doubled([], most=9), 10, world=alone)

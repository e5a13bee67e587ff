"""Supervised fine-tuning of a very small policy on made-up reviews."""

import dataclasses
import json

import pytest
import torch

from align_lab.base.errors import DataError, DivergedError
from align_lab.base.progress import listening
from align_lab.base.task import Demonstration
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.lora_settings import Lora
from align_lab.models.policy import load_built, load_policy
from align_lab.models.sft_settings import Sft
from align_lab.models.tiny import Tiny
from align_lab.models.tokenizer import encode
from align_lab.train import sft
from tests.tasks.movie_reviews.corpus import synthetic_reviews

SMALL = Tiny(
    vocab=300, width=32, layers=1, heads=2, kv_heads=1, mlp=64, context=64, sft=Sft(epochs=2.0, batch_tokens=256)
)
PLAN = Sft(epochs=2.0, batch_tokens=32)
TEXTS = [review.text for review in synthetic_reviews(300)]
REVIEWS = [Demonstration(completion=text) for text in TEXTS]


def build(folder, model):
    """The start policy of a tiny model, as its stage builds it."""
    sft.build_sft(folder, model.initial(TEXTS), model.fine_tuning(), train_on=REVIEWS, held_out=REVIEWS[:50])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft")
    build(folder, SMALL)
    return folder


def test_it_learns_and_the_folder_gives_the_policy_back(folder):
    policy = load_policy(folder)
    nats, count = sft.total_loss(policy.model, encode(policy.tokenizer, TEXTS[:50], longest=64))
    assert nats / count == pytest.approx(json.loads((folder / "metrics.json").read_text())["loss_per_token"], rel=1e-5)
    assert nats / count < 0.6 * torch.tensor(300.0).log()


def test_every_step_is_reported():
    reports = []

    class Listener:
        def notice(self, text):
            raise AssertionError(text)

        def progress(self, done, total):
            reports.append((done, total))

    with listening(Listener()):
        sft.train(
            Llama(LlamaConfig(vocab=9, width=8, layers=1, heads=2, kv_heads=2, mlp=8, context=8)),
            [[1, 2, 3]] * 40,
            PLAN,
        )
    total = len(sft.schedule_batches([[1, 2, 3]] * 40, PLAN))
    assert total > 2 and reports == [(done, total) for done in range(total + 1)]


def test_the_same_seed_gives_the_same_weights(folder, tmp_path):
    state = torch.random.get_rng_state()
    build(tmp_path, SMALL)
    assert (tmp_path / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert torch.equal(torch.random.get_rng_state(), state)  # and leaves the caller's random numbers alone


def test_batches_hold_every_sequence_once_an_epoch_and_no_more_tokens_than_allowed():
    sequences = [[0] * (i % 40 + 2) for i in range(1000)]
    steps = sft.schedule_batches(sequences, Sft(epochs=2.0, batch_tokens=300))
    assert sorted(row for rows in steps for row in rows) == sorted([*range(1000)] * 2)
    assert all(max(len(sequences[row]) for row in rows) * len(rows) <= 300 for rows in steps)
    half = sft.schedule_batches(sequences, Sft(epochs=0.5, batch_tokens=300))
    assert len(half) == pytest.approx(len(steps) / 4, abs=1)


def test_the_loss_is_that_of_log_softmax_and_padding_does_not_matter():
    torch.manual_seed(0)
    model = Llama(LlamaConfig(vocab=50, width=16, layers=1, heads=2, kv_heads=2, mlp=32, context=16)).double()
    model.rotary = model.rotary.double()
    rows = [[3, 4, 5, 6, 7], [8, 9, 10]]
    logps = sft.logps(model, *sft.collate(rows))
    alone = [(model.hidden(torch.tensor([row[:-1]]))[0] @ model.head.t()).log_softmax(-1) for row in rows]
    expected = [logp[range(len(row) - 1), row[1:]] for logp, row in zip(alone, rows, strict=True)]
    torch.testing.assert_close(logps, torch.cat(expected))


def test_the_learning_rate_rises_stays_and_falls_to_nothing():
    rates = [sft.trapezoid(step, 100, warmup=0.1, decay=0.5) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == 1.0 and rates[10:50] == [1.0] * 40 and 0 < rates[-1] < 0.05


def test_a_loss_that_is_not_finite_stops_it(tmp_path):
    wild = dataclasses.replace(SMALL, sft=Sft(epochs=3.0, batch_tokens=256, vector_lr=1e30, warmup=0.0))
    with pytest.raises(DivergedError, match=r"set model\.sft\.matrix_lr"):
        build(tmp_path, wild)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_file_cut_short_says_how_to_rebuild_it(folder, tmp_path, name):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: 100 if file.name == name else None])
    with pytest.raises(DataError, match="rm -r"):
        load_built(tmp_path, Lora())

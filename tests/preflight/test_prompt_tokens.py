"""The estimate of a prompt's tokens bounds what a tokenizer makes of it, in each form in which a model is asked."""

import pytest

from align_lab.base import registry
from align_lab.preflight.workload import prompt_tokens
from tests.data.written import write

registry.scan()


@pytest.mark.parametrize("chat_form", ["answer", "continuation"])
@pytest.mark.parametrize("words", [3, 200])
def test_the_estimate_is_an_upper_bound_for_plain_words_and_not_far_above(tmp_path, monkeypatch, chat_form, words):
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    prompts = [" ".join(["film"] * words) + f" {i}" for i in range(40)]
    path = write(tmp_path / "my.jsonl", [{"prompt": prompt} for prompt in prompts])
    data = {"name": "files", "prompts": str(path), "chat_form": chat_form}
    estimate = prompt_tokens({"data": data, "model": {"name": "hf", "chat": True}})
    times = 2 if chat_form == "continuation" else 1
    assert times * words <= estimate <= times * (3 * words + 45) + 45


def test_a_long_prompt_counts_two_tokens_a_word(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path / "my.jsonl", [{"prompt": f"{'a ' * 999}{i}"} for i in range(40)])
    model = {"name": "hf", "chat": False}
    assert prompt_tokens({"data": {"name": "files", "prompts": str(path)}, "model": model}) == 36 + 2 * 1000


def test_a_text_with_few_blanks_counts_by_its_length(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    text = "日本語の文章" * 50
    path = write(tmp_path / "my.jsonl", [{"prompt": f"{text}{i}"} for i in range(40)])
    estimate = prompt_tokens({"data": {"name": "files", "prompts": str(path)}, "model": {"name": "hf", "chat": False}})
    assert estimate >= 300  # characters

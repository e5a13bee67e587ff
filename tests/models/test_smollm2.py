"""SmolLM2: the converted weights and template are the released ones, and the model writes reviews."""

import json

import pytest
import torch

from align_lab.base import registry
from align_lab.base.paths import cache_folder
from align_lab.base.settings import Sampling
from align_lab.base.task import Example, PromptForm
from align_lab.models.llama import Llama
from align_lab.rollout.prompts import Prompts
from align_lab.rollout.sampler import uniforms
from align_lab.rollout.torch_sampler import sample
from align_lab.stages import dependencies
from align_lab.stages.store import Store
from align_lab.train.experience import left_padding

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder():
    registry.scan()
    data = dependencies.data_stage({"name": "movie_reviews"})
    return (
        Store(cache_folder() / "artefacts")
        .get(dependencies.policy_stage({"name": "smollm2_135m"}, data, form=PromptForm()))
        .path
    )


@pytest.fixture(scope="module")
def policy(folder):
    return registry.build("model", {"name": "smollm2_135m"}).load(folder)


def test_the_converted_model_computes_the_logits_of_transformers(folder, policy):
    assert isinstance(policy.model, Llama)
    assert sum(p.numel() for p in policy.model.parameters()) == 134_515_008
    assert policy.tokenizer.id_to_token(policy.eos) == "<|im_end|>"
    reference = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor(
        [policy.tokenizer.encode("The capital of France is Paris, and the capital of Italy is Rome.").ids]
    )
    with torch.no_grad():
        expected = reference(input_ids=ids).logits
        torch.testing.assert_close(policy.model.hidden(ids) @ policy.model.head.t(), expected, rtol=1e-3, atol=2e-3)
        loss = torch.nn.functional.cross_entropy(expected[0, :-1], ids[0, 1:])
    assert loss < 4.5  # nats per token; a uniform distribution over the vocabulary has 10.8


def test_its_chat_template_renders_as_in_transformers(folder, policy):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi The"}], tokenize=False, add_generation_prompt=True
    )
    assert policy.text.prompts(
        [Example.of_text("The")], PromptForm(instruction="Hi {prompt}", chat="continuation")
    ) == [tokenizer(text + "The", add_special_tokens=False).input_ids]
    assert text.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")


def test_it_continues_an_opening_with_words_of_a_review(policy):
    form = registry.lookup("data", "movie_reviews")().prompt_form
    openings = [Example.of_text(text) for text in ("The film is", "Despite its flaws,")]
    prompts = Prompts.of(policy, openings, Sampling(max_new_tokens=16), form=form)
    ids, pad = (each.repeat_interleave(2, 0) for each in prompts.batch([0, 1]))
    samples = sample(
        policy.model, ids, left_padding(pad), uniforms=uniforms(0, 0, [0, 1], 2, 16), temperature=0.7, eos=policy.eos
    )
    texts = prompts.completions(samples)
    words = {word.strip(".,") for text in texts for word in text.lower().split()}
    assert len(words & {"film", "movie", "story", "a", "the", "is", "and", "of", "it"}) >= 3, json.dumps(texts)
    logp = policy.model(torch.cat([ids, samples.tokens], 1), left_padding(pad), samples.mask, temperature=0.7)
    torch.testing.assert_close(samples.logp, logp, rtol=1e-3, atol=1e-3)

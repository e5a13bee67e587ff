"""The real chat model: what was converted is what was released, and it writes reviews."""

import json

import pytest
import torch

from align_lab.base import registry
from align_lab.base.paths import cache_folder
from align_lab.base.settings import Sampling
from align_lab.models.llama import Llama
from align_lab.rollout.prompts import Prompts
from align_lab.rollout.sampler import uniforms
from align_lab.rollout.torch_sampler import sample
from align_lab.stages import dependencies
from align_lab.stages.store import Store
from align_lab.train.update import left_padding

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder():
    registry.scan()
    data = dependencies.data_stage({"name": "movie_reviews"})
    return Store(cache_folder() / "artefacts").get(dependencies.policy_stage({"name": "smollm2_135m"}, data)).path


@pytest.fixture(scope="module")
def policy(folder):
    return registry.build("model", {"name": "smollm2_135m"}).load(folder)


def test_it_is_the_released_model_in_our_own_code(folder, policy):
    assert isinstance(policy.model, Llama)
    assert sum(p.numel() for p in policy.model.parameters()) == 134_515_008
    assert policy.tokenizer.id_to_token(policy.eos) == "<|im_end|>"
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor(
        [policy.tokenizer.encode("The capital of France is Paris, and the capital of Italy is Rome.").ids]
    )
    with torch.no_grad():
        want = theirs(input_ids=ids).logits
        torch.testing.assert_close(policy.model.hidden(ids) @ policy.model.head.t(), want, rtol=1e-3, atol=2e-3)
        loss = torch.nn.functional.cross_entropy(want[0, :-1], ids[0, 1:])
    assert loss < 4.5  # it knows English: a uniform guess would be 10.8


def test_its_template_is_the_one_that_transformers_reads(folder, policy):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi The"}], tokenize=False, add_generation_prompt=True
    )
    assert policy.text.prompts(["The"], "Hi {prompt}") == [tokenizer(text + "The", add_special_tokens=False).input_ids]
    assert text.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")


def test_it_goes_on_from_an_opening_with_sentences_of_a_review(policy):
    asked = registry.lookup("data", "movie_reviews")().instruction
    prompts = Prompts.of(policy, ["The film is", "Despite its flaws,"], Sampling(max_new_tokens=16), instruction=asked)
    ids, pad = prompts.batch([0, 1], repeat=2)
    got = sample(
        policy.model, ids, left_padding(pad), uniforms=uniforms(0, 0, [0, 1], 2, 16), temperature=0.7, eos=policy.eos
    )
    texts = prompts.completions(got)
    words = {word.strip(".,") for text in texts for word in text.lower().split()}
    assert len(words & {"film", "movie", "story", "a", "the", "is", "and", "of", "it"}) >= 3, json.dumps(texts)
    whole = policy.model(torch.cat([ids, got.tokens], 1), left_padding(pad), got.mask, temperature=0.7)
    torch.testing.assert_close(got.logp, whole, rtol=1e-3, atol=1e-3)

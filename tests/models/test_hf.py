"""Models of transformers behind our protocol: their own numbers, with and without adapters, and what is refused."""

import json

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from align_lab.base import registry
from align_lab.base.errors import ConfigError, DataError
from align_lab.models.blocks import prepare
from align_lab.models.llama import Llama
from align_lab.models.lora import Base, adapt, is_adapted, merged
from align_lab.models.lora_settings import Lora
from align_lab.models.policy import load_policy, save_policy
from align_lab.models.transformer import Transformer
from align_lab.rollout.torch_sampler import sample

transformers = pytest.importorskip("transformers")

TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SMALL = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
LLAMA_LIKE = SMALL | {"intermediate_size": 48, "num_key_value_heads": 2}
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**LLAMA_LIKE, tie_word_embeddings=True),
    "untied": lambda: transformers.LlamaConfig(**LLAMA_LIKE, tie_word_embeddings=False),
    "qwen2": lambda: transformers.Qwen2Config(**LLAMA_LIKE, tie_word_embeddings=True),
    "gpt2": lambda: transformers.GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4, n_positions=256),
}
KIND = {"llama": Llama, "untied": Llama, "qwen2": Transformer, "gpt2": Transformer}
IDS = torch.tensor([[0, 0, 5, 6, 7, 20, 21, 2], [9, 8, 7, 6, 5, 30, 31, 32]])
PAD = torch.tensor([2, 0])


def folder(path, kind, *, template=TEMPLATE):
    """A Hugging Face model of a few thousand random weights, as its authors would save it."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[kind]())
    for parameter in model.parameters():  # livelier than an initialisation
        parameter.data = parameter.data * 3
    model.save_pretrained(path)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        ["a good film"],
        trainers.BpeTrainer(vocab_size=290, special_tokens=["<s>", "<pad>", "</s>"], initial_alphabet=alphabet),
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    fast.chat_template = template
    fast.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = folder(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return get


def theirs(path, ids):
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    return model(input_ids=ids).logits


@pytest.mark.parametrize("kind", CONFIGS)
def test_log_probabilities_are_those_of_transformers(at, kind):
    policy = load_policy(at(kind))
    assert isinstance(policy.model, KIND[kind])
    mask = torch.ones(2, 3, dtype=torch.bool)
    got = policy.model(IDS, PAD, mask, temperature=0.7)
    for row, pad in enumerate(PAD.tolist()):  # theirs without padding
        logp = (theirs(at(kind), IDS[row : row + 1, pad:]) / 0.7).log_softmax(-1)[0, -4:-1]
        want = logp.gather(-1, IDS[row, -3:, None]).squeeze(-1)
        torch.testing.assert_close(got[row], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_sampling_with_the_cache_has_the_log_probabilities_of_training(at, kind):
    model = load_policy(at(kind)).model
    prompts, uniforms = IDS[:, :5], torch.rand(2, 12, generator=torch.Generator().manual_seed(1))
    got = sample(model, prompts, PAD, uniforms=uniforms, temperature=0.8, eos=2)
    want = model(torch.cat([prompts, got.tokens], 1), PAD, got.mask, temperature=0.8)
    torch.testing.assert_close(got.logp, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_is_written_loads_in_transformers_with_equal_logits(at, kind, tmp_path):
    save_policy(load_policy(at(kind)), tmp_path / "copy")
    torch.testing.assert_close(theirs(tmp_path / "copy", IDS), theirs(at(kind), IDS))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "copy")
    assert tokenizer.eos_token_id == 2 and tokenizer.chat_template == TEMPLATE


def test_adapters_need_linear_layers(at):
    with pytest.raises(ConfigError, match=r"no linear layers.*model\.lora\.rank=0"):
        load_policy(at("gpt2"), lora=Lora(rank=4))


@pytest.mark.parametrize("kind", ["llama", "untied", "qwen2"])
def test_adapters_learn_alone_merge_exactly_and_leave_the_reference_where_it_was(at, kind, tmp_path):
    plain, policy = load_policy(at(kind)), load_policy(at(kind), lora=Lora(rank=4))
    model, mask = policy.model, torch.ones(2, 3, dtype=torch.bool)
    assert is_adapted(model) and not is_adapted(plain.model)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert names and all("lora_" in name for name in names)
    before = plain.model(IDS, PAD, mask)
    torch.testing.assert_close(model(IDS, PAD, mask), before)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        (-model(IDS, PAD, mask).sum()).backward()
        optimizer.step()
    after = model(IDS, PAD, mask)
    assert (after - before).abs().max() > 0.1
    torch.testing.assert_close(Base(model)(IDS, PAD, mask), before)
    torch.testing.assert_close(model(IDS, PAD, mask), after)  # and they are on again
    save_policy(policy, tmp_path / "merged")
    torch.testing.assert_close(load_policy(tmp_path / "merged").model(IDS, PAD, mask), after, rtol=1e-4, atol=1e-5)
    assert merged(plain.model).keys() == plain.model.state_dict().keys()


def test_the_adapters_start_is_a_function_of_its_seed(at):
    def start(seed):
        torch.manual_seed(seed + 7)
        return adapt(load_policy(at("llama")).model, Lora(rank=2, seed=seed)).state_dict()

    one, same, other = start(0), start(0), start(1)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one if "lora_A" in name)


def test_prompts_are_rendered_as_transformers_renders_them(at):
    policy = load_policy(at("llama"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(at("llama"))
    got = policy.text.prompts(["a good", "film"], "Go on: {prompt}")
    for ids, opening in zip(got, ["a good", "film"], strict=True):
        asked = [{"role": "user", "content": f"Go on: {opening}"}]
        text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True) + opening
        assert ids == tokenizer(text, add_special_tokens=False).input_ids
    bare = load_policy(at("llama"), chat=False)
    assert bare.text.prompts(["a good"], "Go on: {prompt}") == [tokenizer("a good").input_ids]


# --- what is refused


def component(**fields):
    registry.scan()
    return registry.build("model", {"name": "hf", **fields})


def test_a_folder_is_noted_with_its_hashes_and_refused_when_it_changed(tmp_path):
    source = folder(tmp_path / "source", "llama")
    hf, artefact = component(path=str(source)), tmp_path / "artefact"
    artefact.mkdir()
    hf.build(artefact, None)
    assert hf.load(artefact).eos == 2
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= json.loads((artefact / "source.json").read_text())[
        "files"
    ].keys()
    (source / "config.json").write_text((source / "config.json").read_text() + " ")
    with pytest.raises(DataError, match=r"config\.json is gone, or is not the file that this study began with"):
        hf.load(artefact)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            "only pytorch_model.bin.*only safetensors",
        ),
        (lambda f: (f / "model.safetensors").unlink(), "no weights"),
        (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer.json.*save_pretrained"),
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "config.json").write_text('{"auto_map": {}}'), "code of its own"),
    ],
)
def test_what_is_not_safe_or_not_whole_is_refused_before_anything_runs(tmp_path, spoil, said):
    spoil(folder(tmp_path, "llama"))
    problems = component(path=str(tmp_path)).problems()
    assert len(problems) == 1
    with pytest.raises(DataError, match=said):
        raise DataError(problems[0])


def test_a_base_model_must_be_asked_for_as_one(tmp_path):
    source, artefact = folder(tmp_path / "base", "llama", template=None), tmp_path / "artefact"
    artefact.mkdir()
    with pytest.raises(ConfigError, match=r"no chat template.*model\.chat=false"):
        component(path=str(source)).build(artefact, None)
    component(path=str(source), chat=False).build(artefact, None)


@pytest.mark.parametrize(
    ("path", "said"), [("", "set model.path"), ("./nowhere", "no such folder"), ("gpt2", "OWNER/NAME")]
)
def test_a_path_that_leads_nowhere(path, said):
    assert said in component(path=path).problems()[0]


def test_logits_that_are_more_than_hidden_states_times_head_are_refused(tmp_path):
    config = transformers.Gemma2Config(**LLAMA_LIKE, head_dim=8, final_logit_softcapping=0.5)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="scales or caps"):
        load_policy(tmp_path)


@pytest.mark.parametrize("kind", ["qwen2", "gpt2"])
def test_gradients_are_the_same_when_activations_are_computed_again(tmp_path, kind):
    path, mask, found = folder(tmp_path, kind), torch.ones(2, 4, dtype=torch.bool), []
    for again in (False, True):
        model, kept = load_policy(path).model, []
        prepare(model, recompute=again, compiled=False)
        with torch.autograd.graph.saved_tensors_hooks(lambda x, kept=kept: kept.append(x.numel()) or x, lambda x: x):
            loss = model(IDS, PAD, mask).sum()
        loss.backward()
        found.append((sum(kept), [p.grad for p in model.parameters() if p.grad is not None]))
    assert found[1][0] < found[0][0]
    torch.testing.assert_close(found[1][1], found[0][1])
    cache = model.new_cache(2, 8)  # sampling is as before
    with torch.no_grad():
        step = model.step(IDS, cache, PAD)
    torch.testing.assert_close(step, model.hidden(IDS, PAD)[:, -1], rtol=1e-4, atol=1e-5)

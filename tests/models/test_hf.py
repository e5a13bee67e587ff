"""Models of transformers as a `LanguageModel`: equal log-probabilities, LoRA adapters, and rejected folders."""

import json
import re

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from align_lab.base import registry
from align_lab.base.errors import ConfigError, DataError
from align_lab.base.task import Example, PromptForm
from align_lab.models import hub
from align_lab.models.blocks import configure_blocks
from align_lab.models.llama import Llama
from align_lab.models.loading import loading
from align_lab.models.lora import BaseModel, adapt, is_adapted, merged_state
from align_lab.models.lora_settings import Lora
from align_lab.models.policy import load_policy, save_policy
from align_lab.models.transformer import Transformer
from align_lab.rollout.torch_sampler import sample
from align_lab.train.engines import arrival
from tests.cuda.pretended import pretended_cuda

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
    """A Hugging Face model of a few thousand random weights, saved by transformers."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[kind]())
    for parameter in model.parameters():  # at initialization all logits are nearly equal
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
    folders = {}

    def get(kind):
        if kind not in folders:
            folders[kind] = folder(tmp_path_factory.mktemp(kind), kind)
        return folders[kind]

    return get


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("kind", "rank"), [*((kind, 0) for kind in CONFIGS), ("llama", 2), ("qwen2", 2)])
def test_a_model_that_is_built_without_weights_has_the_tensors_of_the_whole_one(at, kind, rank, dtype):
    described = {}
    for device in ("cpu", "meta"):
        with loading(dtype, torch.device(device)):
            model = load_policy(at(kind), lora=Lora(rank=rank)).to(dtype).model
        named = list(model.named_parameters(remove_duplicate=False))
        first = {id(parameter): name for name, parameter in reversed(named)}
        tied = [(name, first[id(parameter)], parameter.requires_grad) for name, parameter in named]
        described[device] = (arrival.described(model), tied, model.training, model.dtype)
    assert described["meta"] == described["cpu"]
    assert model.head.is_meta and (rank or all(parameter.is_meta for parameter in model.parameters()))


def transformers_logits(path, ids):
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    return model(input_ids=ids).logits


@pytest.mark.parametrize("kind", CONFIGS)
def test_log_probabilities_are_those_of_transformers(at, kind):
    policy = load_policy(at(kind))
    assert isinstance(policy.model, KIND[kind])
    mask = torch.ones(2, 3, dtype=torch.bool)
    actual = policy.model(IDS, PAD, mask, temperature=0.7)
    for row, pad in enumerate(PAD.tolist()):  # transformers gets each row without padding
        logp = (transformers_logits(at(kind), IDS[row : row + 1, pad:]) / 0.7).log_softmax(-1)[0, -4:-1]
        expected = logp.gather(-1, IDS[row, -3:, None]).squeeze(-1)
        torch.testing.assert_close(actual[row], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_sampling_with_the_cache_has_the_log_probabilities_of_training(at, kind):
    model = load_policy(at(kind)).model
    prompts, uniforms = IDS[:, :5], torch.rand(2, 12, generator=torch.Generator().manual_seed(1))
    samples = sample(model, prompts, PAD, uniforms=uniforms, temperature=0.8, eos=2)
    expected = model(torch.cat([prompts, samples.tokens], 1), PAD, samples.mask, temperature=0.8)
    torch.testing.assert_close(samples.logp, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_gpu_samples_in_fixed_shapes_what_the_processor_samples(at, kind):
    uniforms = torch.rand(2, 40, generator=torch.Generator().manual_seed(1))
    here = sample(load_policy(at(kind)).model, IDS[:, :5], PAD, uniforms=uniforms, temperature=0.8, eos=2)
    with pretended_cuda() as machine:
        model = load_policy(at(kind)).model.to("cuda")
        prompts, pad = IDS[:, :5].to("cuda"), PAD.to("cuda")
        sample(model, prompts, pad, uniforms=uniforms.to("cuda"), temperature=0.8, eos=2)  # which tries it
        machine.counts.clear()
        there = sample(model, prompts, pad, uniforms=uniforms.to("cuda"), temperature=0.8, eos=2)
        assert torch.equal(there.tokens.cpu(), here.tokens)
        torch.testing.assert_close(there.logp.cpu(), here.logp, rtol=1e-4, atol=1e-5)
        assert machine.counts.syncs.total() < 40
        assert machine.counts.launches.total() < 40 * 16  # with the prompts and the two columns before the recording


def test_a_model_with_windows_of_attention_keeps_a_cache_that_grows():
    config = transformers.MistralConfig(**LLAMA_LIKE, sliding_window=4)
    model = Transformer(transformers.AutoModelForCausalLM.from_config(config))
    cache = model.new_cache(2, 12)
    model.step(IDS, cache)
    assert model.fixed(cache, 12) is cache


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_groups_prompt_is_read_once_and_its_completions_are_those_of_a_prompt_each(at, kind):
    model, prompts, read = load_policy(at(kind)).model, IDS[:, :5], []
    uniforms, prompt_of = torch.rand(6, 12, generator=torch.Generator().manual_seed(1)), torch.arange(6) // 3
    expected = sample(model, prompts[prompt_of], PAD[prompt_of], uniforms=uniforms, eos=2)
    run = model._run
    model._run = lambda ids, *rest: read.append(tuple(ids.shape)) or run(ids, *rest)
    found = sample(model, prompts, PAD, uniforms=uniforms, eos=2)
    assert read[:2] == [(2, 5), (6, 1)]
    assert torch.equal(found.tokens, expected.tokens)
    torch.testing.assert_close(found.logp, expected.logp, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_saved_policy_loads_in_transformers_with_equal_logits(at, kind, tmp_path):
    save_policy(load_policy(at(kind)), tmp_path / "copy")
    torch.testing.assert_close(transformers_logits(tmp_path / "copy", IDS), transformers_logits(at(kind), IDS))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "copy")
    assert tokenizer.eos_token_id == 2 and tokenizer.chat_template == TEMPLATE


def test_adapters_need_linear_layers(at):
    with pytest.raises(ConfigError, match=r"no linear layers.*model\.lora\.rank=0"):
        load_policy(at("gpt2"), lora=Lora(rank=4))


@pytest.mark.parametrize("kind", ["llama", "untied", "qwen2"])
def test_only_adapters_are_trained_they_merge_exactly_and_the_reference_does_not_change(at, kind, tmp_path):
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
    torch.testing.assert_close(BaseModel(model)(IDS, PAD, mask), before)
    torch.testing.assert_close(model(IDS, PAD, mask), after)  # the adapters are enabled again
    save_policy(policy, tmp_path / "merged")
    torch.testing.assert_close(load_policy(tmp_path / "merged").model(IDS, PAD, mask), after, rtol=1e-4, atol=1e-5)
    assert merged_state(plain.model).keys() == plain.model.state_dict().keys()


def test_the_initialization_of_adapters_is_a_function_of_the_seed(at):
    def initial_state(seed):
        torch.manual_seed(seed + 7)
        return adapt(load_policy(at("llama")).model, Lora(rank=2, seed=seed)).state_dict()

    first, same, other = initial_state(0), initial_state(0), initial_state(1)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first if "lora_A" in name)


def test_prompts_are_rendered_as_transformers_renders_them(at):
    policy = load_policy(at("llama"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(at("llama"))
    openings = [Example.of_text(text) for text in ("a good", "film")]
    form = PromptForm(chat="continuation", instruction="Go on: {prompt}")
    prompts = policy.text.prompts(openings, form)
    for ids, opening in zip(prompts, ["a good", "film"], strict=True):
        messages = [{"role": "user", "content": f"Go on: {opening}"}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + opening
        assert ids == tokenizer(text, add_special_tokens=False).input_ids
    without_template = load_policy(at("llama"), chat=False)
    assert without_template.text.prompts(openings[:1], form) == [tokenizer("a good").input_ids]


# --- models that are rejected


def component(**fields):
    registry.scan()
    return registry.build("model", {"name": "hf", **fields})


def test_the_hashes_of_a_folder_are_recorded_and_a_changed_file_is_rejected(tmp_path):
    source = folder(tmp_path / "source", "llama")
    hf, artefact = component(path=str(source)), tmp_path / "artefact"
    artefact.mkdir()
    hf.build(artefact)
    assert hf.load(artefact).eos == 2
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= json.loads((artefact / "source.json").read_text())[
        "files"
    ].keys()
    (source / "config.json").write_text((source / "config.json").read_text() + " ")
    with pytest.raises(DataError, match=r"config\.json is missing, or is not the file that this study started from"):
        hf.load(artefact)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            r"only pytorch_model\.bin.*only safetensors",
        ),
        (lambda f: (f / "model.safetensors").unlink(), "no weights"),
        (lambda f: (f / "tokenizer.json").unlink(), r"no tokenizer\.json.*save_pretrained"),
        (lambda f: (f / "config.json").unlink(), r"no config\.json"),
        (lambda f: (f / "config.json").write_text('{"auto_map": {}}'), "custom model code"),
    ],
)
def test_an_unsafe_or_incomplete_folder_is_rejected_by_validation(tmp_path, damage, message):
    damage(folder(tmp_path, "llama"))
    problems = component(path=str(tmp_path)).problems()
    assert len(problems) == 1
    assert re.search(message, problems[0])


def test_a_base_model_needs_chat_set_to_false(tmp_path):
    source, artefact = folder(tmp_path / "base", "llama", template=None), tmp_path / "artefact"
    artefact.mkdir()
    with pytest.raises(ConfigError, match=r"no chat template.*model\.chat=false"):
        component(path=str(source)).build(artefact)
    component(path=str(source), chat=False).build(artefact)


@pytest.mark.parametrize(
    ("path", "message"), [("", "set model.path"), ("./nowhere", "an existing folder"), ("gpt2", "OWNER/NAME")]
)
def test_a_path_that_is_neither_a_folder_nor_a_model_of_the_hub_is_rejected(path, message):
    assert message in component(path=path).problems()[0]


def test_a_download_that_fails_says_why_in_one_sentence_and_what_to_type(monkeypatch):
    def refuse(*_, **__):
        raise OSError("The repository is gated.\nVisit its page to ask for access.")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(DataError) as refused:
        hub.downloaded("someone/model", None, instead="model.path=FOLDER")
    message = str(refused.value)
    assert "hub: The repository is gated. Check the name" in message and message.endswith("model.path=FOLDER")


def test_a_model_whose_logits_are_not_hidden_states_times_head_is_rejected(tmp_path):
    config = transformers.Gemma2Config(**LLAMA_LIKE, head_dim=8, final_logit_softcapping=0.5)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="scales or caps"):
        load_policy(tmp_path)


@pytest.mark.parametrize("kind", ["qwen2", "gpt2"])
def test_gradient_checkpointing_saves_less_and_gives_the_same_gradients(tmp_path, kind):
    path, mask, saved, gradients = folder(tmp_path, kind), torch.ones(2, 4, dtype=torch.bool), [], []
    for checkpointing in (False, True):
        model, sizes = load_policy(path).model, []
        configure_blocks(model, gradient_checkpointing=checkpointing, compiled=False)
        with torch.autograd.graph.saved_tensors_hooks(lambda x, s=sizes: s.append(x.numel()) or x, lambda x: x):
            loss = model(IDS, PAD, mask).sum()
        loss.backward()
        saved.append(sum(sizes))
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert saved[1] < saved[0]
    torch.testing.assert_close(gradients[1], gradients[0])
    cache = model.new_cache(2, 8)  # sampling is unaffected
    with torch.no_grad():
        step = model.step(IDS, cache, PAD)
    torch.testing.assert_close(step, model.hidden(IDS, PAD)[:, -1], rtol=1e-4, atol=1e-5)

"""Models that are built without weights in all processes but the first, for the processes of test_sharded_engines."""

from pathlib import Path

import torch

from align_lab.base.hyperparameters import Train
from align_lab.models.convert import to_hf
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.loading import loading
from align_lab.models.lora import is_adapted, load_base
from align_lab.models.lora_settings import Lora
from align_lab.models.policy import load_policy
from align_lab.train.engines import deepspeed_engine
from align_lab.train.engines.arrival import arrive, beside_weights
from align_lab.train.engines.fsdp_engine import frozen
from align_lab.train.learner import Critic
from tests.models.test_hf import folder
from tests.preflight.counted import Counted

SIZES = {"layers": 8, "width": 64, "heads": 4, "kv_heads": 2, "mlp": 128, "vocab": 300, "context": 32}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
IDS, MASK = torch.arange(1, 13).view(2, 6), torch.ones(2, 3, dtype=torch.bool)
MODELS = ("tied", "untied", "qwen2")  # the last one is transformers'
TRAINED = [
    (name, dtype, rank) for name in MODELS for dtype in DTYPES for rank in ((0, 2) if name != "untied" else (0,))
]
UNTIED = ("untied", "float32", 0)
FROZEN = [(name, "float32", 0) for name in ("untied", "qwen2")]


def write(root):
    """The models' folders."""
    torch.manual_seed(0)
    for name in ("tied", "untied"):
        to_hf(Llama(LlamaConfig(**SIZES, tied=name == "tied")), folder(root / name, "llama", template=None), eos=2)
    folder(root / "qwen2", "qwen2", template=None)


def read(root, name, dtype, lora, *, device="cpu"):
    """As `run/assembly.py` reads the start policy of a sharded run."""
    with loading(DTYPES[dtype], torch.device(device)):
        return load_policy(Path(root) / name, lora=Lora(rank=lora, alpha=4), chat=False).to(DTYPES[dtype]).model


def found(root, rank, engine, trained):
    """What a process has of each model after it was sharded, the most bytes that this took, and what has no values."""
    results = {}
    for case in trained:
        model = _read_by(root, rank, case)
        with Counted() as counted:
            made = engine(model, name="policy", plan=Train(), lr=1e-3)
        with made.full_model() as whole:
            state = {name: value.clone() for name, value in whole.hf_state().items()}
            hidden, adapted = whole.hidden(IDS).detach().clone(), is_adapted(whole)
        lacking = [*without_values(made.model), *without_values(made.gathered_copy.model)]
        results["trained", *case] = {
            "peak": counted.peak,
            "state": state,
            "hidden": hidden,
            "adapted": adapted,
            "lacking": lacking,
        }
    for case in FROZEN:
        reference = frozen(_read_by(root, rank, case))
        results["frozen", *case] = {"logp": reference(IDS, None, MASK).detach(), "lacking": without_values(reference)}
    results["critic"] = _value(root, rank, engine)
    return results


def most_while_sharded_by_deepspeed(root, rank):
    """The most bytes of a process while ZeRO 3 takes its part of the weights, before it has optimizer state."""
    model = _read_by(root, rank, UNTIED)
    config = deepspeed_engine.settings(model, Train(), stage=3, offload=False)
    with Counted() as counted:
        assert arrive(model)
        deepspeed_engine.shard(model, config)
    return counted.peak


def without_values(model):
    """The names of the tensors of a model that are on the device `meta`."""
    return [
        f"{path}.{name}"
        for path, module in model.named_modules()
        for name, value in (*module.named_parameters(recurse=False), *beside_weights(module).items())
        if value.is_meta
    ]


def scorer(root):
    """A model of the policy's shape and a head for values, as a reward has them."""
    model = read(root, *FROZEN[0])
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.1)
    return model, torch.linspace(-1, 1, model.width)


def _value(root, rank, engine):
    """The values of a critic that begins as a reward, which every process has whole."""
    model, head = scorer(root)
    backbone = _read_by(root, rank, FROZEN[0])
    assert load_base(backbone, model.state_dict())
    made = engine(Critic(backbone, head), name="critic", plan=Train(), lr=1e-3)
    assert not without_values(made.model)
    return made(IDS, None, 3).detach()


def _read_by(root, rank, case):
    model = read(root, *case, device="meta" if rank else "cpu")
    assert all(parameter.is_meta == bool(rank) for parameter in model.parameters())
    return model

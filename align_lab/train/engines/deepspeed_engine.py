"""DeepSpeed (arXiv 1910.02054): shards optimizer state, gradients and parameters over the processes, by ZeRO stage.

The outputs of a model are detached from the graph of the loss: the loss is differentiated with respect to the outputs,
and each engine then backpropagates through its own outputs. So policy and critic, which have one engine each, train on
one loss at every stage, whichever of them the loss depends on.

DeepSpeed averages gradients over processes, while the losses here are to be summed: hence the factor world size.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from io import StringIO
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from align_lab.base.errors import ConfigError
from align_lab.base.hyperparameters import Train
from align_lab.base.world import World, ensure_group
from align_lab.models.blocks import blocks
from align_lab.models.language_model import LanguageModel
from align_lab.train.engines import zero_state
from align_lab.train.engines.arrival import arrive, receive
from align_lab.train.engines.engine import Engine, MakeEngine, State, adamw, learning, matched, set_rate
from align_lab.train.engines.gathered_copy import GatheredCopy
from align_lab.train.shards import Slice, sliced, whole

MOMENTS = ("exp_avg", "exp_avg_sq")
SMALL = 100_000  # parameters with fewer numbers are not sharded by stage 3
BUCKET = 500_000_000  # numbers in one reduction of gradients, DeepSpeed's default; no more than the model has
LIVE = 1_000_000_000  # numbers of weights that stage 3 keeps gathered if it is to use them again, DeepSpeed's default
FETCHED = 50_000_000  # numbers that it gathers in advance, DeepSpeed's default


def deepspeed_engine(*, stage: int, offload: bool) -> MakeEngine:
    """A function that makes engines of one ZeRO stage. Raises ConfigError if DeepSpeed is not installed."""
    _import()
    return partial(DeepSpeedEngine, stage=stage, offload=offload)


class DeepSpeedEngine(Engine):
    """One model under deepspeed.initialize, with the AdamW that all engines share."""

    waits = True

    def __init__(self, model: nn.Module, *, name: str, plan: Train, lr: float, stage: int, offload: bool) -> None:
        super().__init__(model, name=name, plan=plan, lr=lr)
        deepspeed = _import()
        ensure_group()
        self.stage, self.steps_taken, self.learning = stage, 0, True
        self.sharded = stage == 3
        config = settings(model, plan, stage=stage, offload=offload)
        arrives = self.sharded and arrive(model)
        self.gathered_copy = GatheredCopy(model) if self.sharded else None
        if arrives:
            shard(model, config)
        self.optimizer = adamw(model, plan, lr)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.groups = self.optimizer.state_dict()["param_groups"]
        with redirect_stdout(StringIO()):  # DeepSpeed prints the free memory
            self.engine, *_ = deepspeed.initialize(model=model, optimizer=self.optimizer, config=config)
        self.optimizer.register_step_pre_hook(self._before_step)
        self._set_step_count()
        if stage == 3 and isinstance(model, LanguageModel):  # the head is used outside of its module's forward
            deepspeed.zero.register_external_parameter(model, model.head)
        self.outputs: list[tuple[Tensor, Tensor]] = []  # outputs of the model, and their detached leaves in the loss

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The outputs of the model, with gradient."""
        if not (self.learning and torch.is_grad_enabled()):
            with torch.no_grad():
                return self.model(*inputs, **options)
        output = self.engine(*inputs, **options)
        if isinstance(output, tuple):
            return tuple(map(self._detach, output))
        return self._detach(output)

    def _detach(self, output: Tensor) -> Tensor:
        leaf = output.detach().requires_grad_()
        self.outputs.append((output, leaf))
        return leaf

    def zero_grad(self, *, learning: bool) -> None:
        """Start an update; without `learning` the model is not updated this time."""
        self.learning, self.norm = learning, None
        self.outputs.clear()

    def backward(self) -> None:
        """Backpropagate through the outputs that the loss was differentiated with respect to."""
        if not self.learning:
            return
        outputs, self.outputs = self.outputs, []
        parts = [(output * leaf.grad).sum() for output, leaf in outputs if leaf.grad is not None]
        self.engine.backward(torch.stack(parts).sum() * dist.get_world_size())

    def reduce(self) -> None:
        """Nothing to do: DeepSpeed reduces gradients in its backward pass and step."""

    def step(self, factor: float) -> None:
        """Update the weights with `factor` times the learning rate."""
        set_rate(self.optimizer, self.lr * factor)
        self.engine.step()
        if self.stage:
            self.check(float(self.engine.get_global_grad_norm()))
        self.steps_taken += 1

    def _before_step(self, *_: Any) -> None:
        """Check the reduced gradients before any weight changes; at stage 0 clip them, which DeepSpeed does not."""
        if not self.stage:
            self.check(float(nn.utils.clip_grad_norm_(self.parameters, self.plan.max_grad_norm)))
        else:
            self.check(float(self.engine.optimizer._global_grad_norm))

    @contextmanager
    def full_model(self) -> Iterator[nn.Module]:
        """The model; at stage 3 a copy with gathered weights, because DeepSpeed releases its own after each token."""
        if self.gathered_copy is None:
            yield self.model
            return
        from deepspeed import zero

        def gather(parameter: nn.Parameter, dtype: torch.dtype) -> Tensor:
            with zero.GatheredParameters([parameter]):
                return parameter.data.to(dtype, copy=True)

        with self.gathered_copy.filled(self.model, gather) as model:
            yield model

    def of_updates(self) -> tuple[list[Tensor], list[Tensor]]:
        """The optimizer state, with the float32 weights of a bfloat16 model; at stage 3 the gradients have buffers."""
        flat, optimizer = self._flat(), self.engine.optimizer
        moments = [self.optimizer.state[one][key] for one in flat for key in MOMENTS]
        if not self.stage:
            self.optimizer.zero_grad()
            return moments, []
        buffers = [bucket.buffer for bucket in getattr(optimizer, "ipg_buckets", {}).values()]
        gradients = [getattr(optimizer, "grad_partitions_flat_buffer", None), *buffers]
        return [*flat, *moments], [one for one in gradients if isinstance(one, Tensor)]

    def state_dict(self) -> State:
        """This process's slices of weights and moments, in main memory."""
        weights, moments = dict[str, Any](), dict[int, dict[str, Any]]()
        order = {parameter: number for number, parameter in enumerate(self.parameters)}
        for name, parameter in learning(self.model):
            weights[name], *slices = [self._slice(parameter, key) for key in (None, *MOMENTS)]
            step = torch.tensor(float(self.steps_taken), device="cpu")
            moments[order[parameter]] = {"step": step, **dict(zip(MOMENTS, slices, strict=True))}
        groups = [
            {**group, "lr": now["lr"]} for group, now in zip(self.groups, self.optimizer.param_groups, strict=True)
        ]
        adam = {"state": dict(sorted(moments.items())) if self.steps_taken else {}, "param_groups": groups}
        return {"model": weights, "optimizer": adam}

    def _slice(self, parameter: nn.Parameter, key: str | None) -> Tensor | Slice:
        """This process's slice of a parameter, or of one of its moments, in float32."""
        if self.stage:
            return zero_state.get(parameter, key, stage=self.stage)
        taken = sliced(parameter.detach() if key is None else self.optimizer.state[parameter][key], World.current())
        return Slice(taken.flat.cpu(), taken.shape) if isinstance(taken, Slice) else taken.cpu()

    def load_state_dict(self, state: State) -> None:
        """Load a state, written by any engine. At stage 3, a process reads its own slices, and rank 0 the weights."""
        from deepspeed import zero

        moments = state["optimizer"]["state"]
        self.steps_taken = max((int(own["step"]) for own in moments.values()), default=0)
        self._set_step_count()
        order = {parameter: number for number, parameter in enumerate(self.parameters)}
        for parameter, value in matched(self.model, state["model"]):
            with zero.GatheredParameters([parameter], modifier_rank=0, enabled=self.stage == 3), torch.no_grad():
                if parameter.numel() and (self.stage < 3 or dist.get_rank() == 0):
                    parameter.copy_(whole(value))
            if self.stage:
                zero_state.put(parameter, value, None, stage=self.stage)
            for key in MOMENTS if self.steps_taken else ():
                moment = moments[order[parameter]][key]
                if self.stage:
                    zero_state.put(parameter, moment, key, stage=self.stage)
                else:
                    self.optimizer.state[parameter][key].copy_(whole(moment))

    def _set_step_count(self) -> None:
        """Set AdamW's step count, and allocate its state before the first step, because DeepSpeed expects it."""
        for flat in self._flat():
            state = self.optimizer.state[flat]
            for key in MOMENTS:
                state.setdefault(key, torch.zeros_like(flat))
            state["step"] = torch.tensor(float(self.steps_taken), device=flat.device)
        if link := getattr(self.engine.optimizer, "_lazy_init_hp_params_optimizer_state", None):
            link()

    def _flat(self) -> list[Tensor]:
        """The tensors that AdamW updates: this process's shard of each parameter group."""
        if not self.stage:
            return list(self.parameters)
        names = ("single_partition_of_fp32_groups", "fp32_partitioned_groups_flat", "fp32_groups_flat_partition")
        return list(next(getattr(self.engine.optimizer, n) for n in names if hasattr(self.engine.optimizer, n)))


def shard(model: nn.Module, config: dict[str, Any]) -> None:
    """Replace the parameters of a model by this process's parts of those of rank 0, block by block. Collective."""
    from deepspeed import zero

    for unit in (*blocks(model), model):
        receive(unit)
        zero.Init(module=unit, config_dict_or_path=config)


def settings(model: nn.Module, plan: Train, *, stage: int, offload: bool) -> dict[str, Any]:
    """The engine's settings as a DeepSpeed configuration."""
    half = next(model.parameters()).dtype == torch.bfloat16
    clip = plan.max_grad_norm if stage and math.isfinite(plan.max_grad_norm) else 0.0
    zero: dict[str, Any] = {
        "stage": stage,
        "overlap_comm": False,
        "stage3_param_persistence_threshold": SMALL,
        "stage3_max_live_parameters": LIVE,
        "stage3_max_reuse_distance": LIVE,
        "stage3_prefetch_bucket_size": FETCHED,
        "reduce_bucket_size": min(BUCKET, sum(p.numel() for p in model.parameters())),
    }
    if offload:
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": 1,  # required, but not used: the loop makes the batches
        "managed_gradient_accumulation": False,  # the loop decides when to update
        "gradient_clipping": clip,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": None,
    } | ({"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}} if half else {})


def _import() -> Any:
    """Import DeepSpeed for this process's device, without its log output. Raises ConfigError if it is not installed."""
    if importlib.util.find_spec("deepspeed") is None:
        raise ConfigError(
            'hardware.numerics.engine=deepspeed needs DeepSpeed: pip install "align_lab[deepspeed]", or set '
            "hardware.numerics.engine=torch"
        )
    os.environ.setdefault("DS_ACCELERATOR", torch.get_default_device().type)  # otherwise it guesses and prints
    for key, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
        os.environ.setdefault(key, value)
    warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)  # DeepSpeed uses deprecated names
    import deepspeed
    from deepspeed import ops

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # its communication in shared memory would be compiled first, which needs a compiler and most of a minute
    ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed

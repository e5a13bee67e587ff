"""DeepSpeed (arXiv 1910.02054): shards optimizer state, gradients and parameters over the processes, by ZeRO stage.

The outputs of a model are detached from the graph of the loss: the loss is differentiated with respect to the outputs,
and each engine then backpropagates through its own outputs. So policy and critic, which have one engine each, train on
one loss at every stage, whichever of them the loss depends on.

DeepSpeed averages gradients over processes, while the losses here are to be summed: hence the factor world size.
"""

from __future__ import annotations

import copy
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
from align_lab.base.world import World
from align_lab.models.language_model import LanguageModel
from align_lab.train.engines.engine import Engine, MakeEngine, State, adamw, learning, matched

MOMENTS = ("exp_avg", "exp_avg_sq")
SMALL = 100_000  # parameters with fewer numbers are not sharded by stage 3


def deepspeed_engine(*, stage: int, offload: bool) -> MakeEngine:
    """A function that makes engines of one ZeRO stage. Raises ConfigError if DeepSpeed is not installed."""
    _import()
    return partial(DeepSpeedEngine, stage=stage, offload=offload)


class DeepSpeedEngine(Engine):
    """One model under deepspeed.initialize, with the AdamW that all engines share."""

    def __init__(self, model: nn.Module, *, name: str, plan: Train, lr: float, stage: int, offload: bool) -> None:
        super().__init__(model, name=name, plan=plan, lr=lr)
        deepspeed = _import()
        if not dist.is_initialized():  # a single process; DeepSpeed needs a group
            store = dist.HashStore()  # pyright: ignore[reportPrivateImportUsage]
            dist.init_process_group("gloo", store=store, rank=0, world_size=1)
        self.stage, self.steps_taken, self.learning = stage, 0, True
        self.gathered_copy = _empty_copy(model) if stage == 3 else None
        self.optimizer = adamw(model, plan, lr)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.groups = self.optimizer.state_dict()["param_groups"]
        with redirect_stdout(StringIO()):  # DeepSpeed prints the free memory
            self.engine, *_ = deepspeed.initialize(
                model=model, optimizer=self.optimizer, config=settings(model, plan, stage=stage, offload=offload)
            )
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

    def reduce(self, world: World) -> None:
        """Nothing to do: DeepSpeed reduces gradients in its backward pass and step."""

    def step(self, factor: float) -> None:
        """Update the weights with `factor` times the learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * factor
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

        pairs = list(zip(self.gathered_copy.parameters(), self.model.parameters(), strict=True))
        try:
            for own, sharded in pairs:
                with zero.GatheredParameters([sharded]):
                    own.data = sharded.data.clone()
            yield self.gathered_copy
        finally:
            for own, _ in pairs:
                own.data = own.data.new_empty(0)

    def state_dict(self) -> State:
        """The full state: gathered weights and moments, in rank 0."""
        keep, weights, moments = dist.get_rank() == 0, dict[str, Tensor](), dict[int, dict[str, Tensor]]()
        order = {parameter: number for number, parameter in enumerate(self.parameters)}
        gathered = self.stage > 0  # into memory that the next one takes
        for name, parameter in learning(self.model):
            weight, *moment = [self._gathered(parameter, key) for key in (None, *MOMENTS)]
            if keep:
                weights[name] = weight.to("cpu", copy=gathered)
                state = {key: value.to("cpu", copy=gathered) for key, value in zip(MOMENTS, moment, strict=True)}
                moments[order[parameter]] = {"step": torch.tensor(float(self.steps_taken), device="cpu"), **state}
        groups = [
            {**group, "lr": now["lr"]} for group, now in zip(self.groups, self.optimizer.param_groups, strict=True)
        ]
        adam = {"state": dict(sorted(moments.items())) if self.steps_taken else {}, "param_groups": groups}
        return {"model": weights, "optimizer": adam}

    def _gathered(self, parameter: nn.Parameter, key: str | None) -> Tensor:
        """A full parameter, or one of its moments, in float32."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        if not self.stage:
            return parameter.detach() if key is None else self.optimizer.state[parameter][key]
        value = safe_get_full_optimizer_state(parameter, key) if key else safe_get_full_fp32_param(parameter)
        assert value is not None
        return value

    def load_state_dict(self, state: State) -> None:
        """Load a full state, written by any engine."""
        from deepspeed import zero
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        moments = state["optimizer"]["state"]
        self.steps_taken = max((int(own["step"]) for own in moments.values()), default=0)
        self._set_step_count()
        order = {parameter: number for number, parameter in enumerate(self.parameters)}
        for parameter, value in matched(self.model, state["model"]):
            with zero.GatheredParameters([parameter], modifier_rank=0, enabled=self.stage == 3), torch.no_grad():
                if parameter.numel():
                    parameter.copy_(value)
            if self.stage:
                safe_set_full_fp32_param(parameter, value.to(parameter.device, torch.float32))
            for key in MOMENTS if self.steps_taken else ():
                moment = moments[order[parameter]][key].to(parameter.device, torch.float32)
                if self.stage:
                    safe_set_full_optimizer_state(parameter, moment, key)
                else:
                    self.optimizer.state[parameter][key].copy_(moment)

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


def settings(model: nn.Module, plan: Train, *, stage: int, offload: bool) -> dict[str, Any]:
    """The engine's settings as a DeepSpeed configuration."""
    half = next(model.parameters()).dtype == torch.bfloat16
    clip = plan.max_grad_norm if stage and math.isfinite(plan.max_grad_norm) else 0.0
    zero: dict[str, Any] = {"stage": stage, "overlap_comm": False, "stage3_param_persistence_threshold": SMALL}
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


def _empty_copy(model: nn.Module) -> nn.Module:
    """A copy of the model whose weights have no memory."""
    empty = copy.deepcopy(model).requires_grad_(False)
    for parameter in empty.parameters():
        parameter.data = parameter.data.new_empty(0)
    return empty


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

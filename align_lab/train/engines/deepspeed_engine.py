"""DeepSpeed (arXiv 1910.02054): optimiser state, gradients and weights spread over the processes, by ZeRO's stage.

What a model answers is cut off from the graph of the loss: the loss is differentiated with respect to the answers, and
each engine differentiates its own answers. So policy and critic, two engines, learn from one loss at every stage, and
it does not matter which of them a loss has used.

DeepSpeed averages gradients over processes; our losses are shares of one whole, to be added up: hence the factor.
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
SMALL = 100_000  # numbers of a weight that stage 3 leaves whole in every process


def deepspeed_engine(*, stage: int, offload: bool) -> MakeEngine:
    """Engines of one ZeRO stage. Raises ConfigError where DeepSpeed is missing."""
    _import()
    return partial(DeepSpeedEngine, stage=stage, offload=offload)


class DeepSpeedEngine(Engine):
    """One model under deepspeed.initialize, with our own AdamW."""

    def __init__(self, model: nn.Module, *, name: str, plan: Train, lr: float, stage: int, offload: bool) -> None:
        super().__init__(model, name=name, plan=plan, lr=lr)
        deepspeed = _import()
        if not dist.is_initialized():  # alone
            store = dist.HashStore()  # pyright: ignore[reportPrivateImportUsage]
            dist.init_process_group("gloo", store=store, rank=0, world_size=1)
        self.stage, self.taken, self.learning = stage, 0, True
        self.spare = _hollow(model) if stage == 3 else None
        self.optimizer = adamw(model, plan, lr)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.groups = self.optimizer.state_dict()["param_groups"]
        with redirect_stdout(StringIO()):  # it prints how much memory is free
            self.engine, *_ = deepspeed.initialize(
                model=model, optimizer=self.optimizer, config=settings(model, plan, stage=stage, offload=offload)
            )
        self.optimizer.register_step_pre_hook(self._before_step)
        self._count()
        if stage == 3 and isinstance(model, LanguageModel):  # the head is used outside the module that owns it
            deepspeed.zero.register_external_parameter(model, model.head)
        self.answers: list[tuple[Tensor, Tensor]] = []  # what a model has answered, and what the loss was given

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if not (self.learning and torch.is_grad_enabled()):
            with torch.no_grad():
                return self.model(*inputs, **options)
        answer = self.engine(*inputs, **options)
        if isinstance(answer, tuple):
            return tuple(map(self._cut, answer))
        return self._cut(answer)

    def _cut(self, answer: Tensor) -> Tensor:
        leaf = answer.detach().requires_grad_()
        self.answers.append((answer, leaf))
        return leaf

    def zero_grad(self, *, learning: bool) -> None:
        self.learning, self.norm = learning, None
        self.answers.clear()

    def backward(self) -> None:
        if not self.learning:
            return
        answers, self.answers = self.answers, []
        parts = [(answer * leaf.grad).sum() for answer, leaf in answers if leaf.grad is not None]
        self.engine.backward(torch.stack(parts).sum() * dist.get_world_size())

    def reduce(self, world: World) -> None:
        """DeepSpeed does it within its step."""

    def step(self, factor: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * factor
        self.engine.step()
        if self.stage:
            self.check(float(self.engine.get_global_grad_norm()))
        self.taken += 1

    def _before_step(self, *_: Any) -> None:
        """Gradients are added up, no weight is touched yet. Only stage 0 leaves their clipping to us."""
        if not self.stage:
            self.check(float(nn.utils.clip_grad_norm_(self.parameters, self.plan.max_grad_norm)))
        else:
            self.check(float(self.engine.optimizer._global_grad_norm))

    @contextmanager
    def full_model(self) -> Iterator[nn.Module]:
        """At stage 3 a copy that is filled while it is wanted: DeepSpeed's hooks would take weights away between two tokens."""
        if self.spare is None:
            yield self.model
            return
        from deepspeed import zero

        pairs = list(zip(self.spare.parameters(), self.model.parameters(), strict=True))
        try:
            for own, spread in pairs:
                with zero.GatheredParameters([spread]):
                    own.data = spread.data.clone()
            yield self.spare
        finally:
            for own, _ in pairs:
                own.data = own.data.new_empty(0)

    def state_dict(self) -> State:
        keep, weights, moments = dist.get_rank() == 0, dict[str, Tensor](), dict[int, dict[str, Tensor]]()
        order = {parameter: number for number, parameter in enumerate(self.parameters)}
        gathered = self.stage > 0  # into memory that the next one takes
        for name, parameter in learning(self.model):
            weight, *moment = [self._gathered(parameter, key) for key in (None, *MOMENTS)]
            if keep:
                weights[name] = weight.to("cpu", copy=gathered)
                state = {key: value.to("cpu", copy=gathered) for key, value in zip(MOMENTS, moment, strict=True)}
                moments[order[parameter]] = {"step": torch.tensor(float(self.taken), device="cpu"), **state}
        groups = [
            {**group, "lr": now["lr"]} for group, now in zip(self.groups, self.optimizer.param_groups, strict=True)
        ]
        adam = {"state": dict(sorted(moments.items())) if self.taken else {}, "param_groups": groups}
        return {"model": weights, "optimizer": adam}

    def _gathered(self, parameter: nn.Parameter, key: str | None) -> Tensor:
        """The whole of a weight, or of one of its moments, in float32."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        if not self.stage:
            return parameter.detach() if key is None else self.optimizer.state[parameter][key]
        found = safe_get_full_optimizer_state(parameter, key) if key else safe_get_full_fp32_param(parameter)
        assert found is not None
        return found

    def load_state_dict(self, state: State) -> None:
        from deepspeed import zero
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        moments = state["optimizer"]["state"]
        self.taken = max((int(own["step"]) for own in moments.values()), default=0)
        self._count()
        order = {parameter: number for number, parameter in enumerate(self.parameters)}
        for parameter, value in matched(self.model, state["model"]):
            with zero.GatheredParameters([parameter], modifier_rank=0, enabled=self.stage == 3), torch.no_grad():
                if parameter.numel():
                    parameter.copy_(value)
            if self.stage:
                safe_set_full_fp32_param(parameter, value.to(parameter.device, torch.float32))
            for key in MOMENTS if self.taken else ():
                moment = moments[order[parameter]][key].to(parameter.device, torch.float32)
                if self.stage:
                    safe_set_full_optimizer_state(parameter, moment, key)
                else:
                    self.optimizer.state[parameter][key].copy_(moment)

    def _count(self) -> None:
        """Tell AdamW how many steps it has taken; its state is there from the first: DeepSpeed looks for all of it too soon."""
        for flat in self._flat():
            state = self.optimizer.state[flat]
            for key in MOMENTS:
                state.setdefault(key, torch.zeros_like(flat))
            state["step"] = torch.tensor(float(self.taken), device=flat.device)
        if link := getattr(self.engine.optimizer, "_lazy_init_hp_params_optimizer_state", None):
            link()

    def _flat(self) -> list[Tensor]:
        """The tensors that AdamW really steps: this process' part of each group."""
        if not self.stage:
            return list(self.parameters)
        names = ("single_partition_of_fp32_groups", "fp32_partitioned_groups_flat", "fp32_groups_flat_partition")
        return list(next(getattr(self.engine.optimizer, n) for n in names if hasattr(self.engine.optimizer, n)))


def settings(model: nn.Module, plan: Train, *, stage: int, offload: bool) -> dict[str, Any]:
    """What DeepSpeed calls it."""
    half = next(model.parameters()).dtype == torch.bfloat16
    clip = plan.max_grad_norm if stage and math.isfinite(plan.max_grad_norm) else 0.0
    zero: dict[str, Any] = {"stage": stage, "overlap_comm": False, "stage3_param_persistence_threshold": SMALL}
    if offload:
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": 1,  # of no meaning: batches are ours
        "managed_gradient_accumulation": False,  # an update is where we say so
        "gradient_clipping": clip,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": None,
    } | ({"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}} if half else {})


def _hollow(model: nn.Module) -> nn.Module:
    """A copy whose weights take no memory."""
    spare = copy.deepcopy(model).requires_grad_(False)
    for parameter in spare.parameters():
        parameter.data = parameter.data.new_empty(0)
    return spare


def _import() -> Any:
    """DeepSpeed, on the device of this process and without its chatter. Raises ConfigError where it is missing."""
    if importlib.util.find_spec("deepspeed") is None:
        raise ConfigError(
            'hardware.numerics.engine=deepspeed needs DeepSpeed: pip install "align_lab[deepspeed]", or set '
            "hardware.numerics.engine=torch"
        )
    os.environ.setdefault("DS_ACCELERATOR", torch.get_default_device().type)  # else it guesses, aloud
    for key, alone in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
        os.environ.setdefault(key, alone)
    warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)  # names that it still uses
    import deepspeed
    from deepspeed import ops

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # its own messages in shared memory would be compiled first, which takes a compiler and most of a minute
    ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed

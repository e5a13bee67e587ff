"""What the fields are called by TRL, verl, OpenRLHF and prime-rl: whoever types such a name is shown ours."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from align_lab.config.groups import GROUPS

NAMES = {  # field of ours -> names that other trainers have for it, the last parts of dotted ones
    "algo.beta": ("dpo_beta",),
    "algo.clip": ("cliprange", "clip_range", "epsilon", "eps", "clip_ratio", "eps_clip", "clip_ratio_low"),
    "algo.clip_high": ("epsilon_high", "clip_ratio_high", "eps_clip_high"),
    "algo.entropy_coef": ("entropy_coeff", "entropy_loss_coef"),
    "algo.gamma": ("discount",),
    "algo.kl_coef": ("init_kl_coef", "kl_penalty_coef", "kl_loss_coef", "kl_ctrl", "kl_beta", "beta"),
    "algo.label_smoothing": ("smoothing",),
    "algo.lam": ("lambda", "lambd", "gae_lambda"),
    "algo.refills": ("max_num_gen_batches",),
    "algo.value_clip": ("cliprange_value", "value_clip_range"),
    "algo.vf_coef": ("value_loss_coef", "value_coef"),
    "data.prompts": ("max_samples",),
    "data.template": ("input_template", "prompt_template"),
    "evaluation.every": ("eval_steps", "eval_every", "test_freq", "eval_interval", "eval_strategy"),
    "evaluation.prompts": ("num_eval_prompts", "eval_dataset_size"),
    "hardware.numerics.dtype": ("bf16", "fp16", "torch_dtype", "precision", "mixed_precision"),
    "hardware.numerics.engine": ("fsdp", "deepspeed", "strategy"),
    "hardware.numerics.gradient_checkpointing": ("activation_checkpointing", "enable_gradient_checkpointing"),
    "hardware.numerics.sampler": ("use_vllm", "rollout_backend", "inference_engine"),
    "hardware.numerics.zero_stage": ("zero", "deepspeed_stage"),
    "hardware.placement.gpus_per_node": ("num_gpus", "n_gpus_per_node", "gpus", "ngpus"),
    "hardware.placement.minutes": ("time", "timeout_min", "walltime"),
    "hardware.placement.nodes": ("nnodes", "num_nodes"),
    "hardware.vllm.memory": ("gpu_memory_utilization", "vllm_gpu_memory_utilization"),
    "hardware.vllm.tensor_parallel": (
        "tensor_parallel_size", "tensor_model_parallel_size", "vllm_tensor_parallel_size",
    ),
    "model.lora.alpha": ("lora_alpha",),
    "model.lora.rank": ("lora_r", "lora_rank", "r"),
    "model.path": ("model_name_or_path", "pretrain", "model_path", "model_name", "model_id"),
    "record.checkpoint_every": ("save_steps", "save_freq", "save_interval"),
    "reward.path": ("reward_model_path", "reward_pretrain", "reward_model", "reward_funcs"),
    "sampling.max_new_tokens": (
        "max_completion_length", "generate_max_len", "response_length", "max_response_length", "max_tokens",
        "max_gen_len", "max_length",
    ),
    "sampling.missing_eos_penalty": ("eos_penalty",),
    "sampling.temperature": ("temp", "rollout_temperature"),
    "study": ("experiment_name", "project_name", "project", "output_dir", "run_name", "wandb_project"),
    "train.budget.episodes": ("total_episodes",),
    "train.decay": ("lr_scheduler_type", "lr_scheduler", "lr_schedule"),
    "train.epochs": ("num_iterations", "ppo_epochs", "num_ppo_epochs", "max_epochs", "mu"),
    "train.group_size": ("num_generations", "n_samples_per_prompt", "rloo_k", "n", "num_samples", "k"),
    "train.lr": ("learning_rate", "actor_learning_rate", "policy_lr", "actor_lr"),
    "train.critic_lr": ("critic_learning_rate", "value_lr"),
    "train.max_grad_norm": ("max_norm", "grad_clip", "clip_grad", "gradient_clipping"),
    "train.micro_batch": (
        "per_device_train_batch_size", "micro_train_batch_size", "micro_batch_size", "gradient_accumulation_steps",
        "ppo_micro_batch_size_per_gpu",
    ),
    "train.minibatches": ("num_mini_batches", "ppo_mini_batch_size", "mini_batch_size"),
    "train.prompts_per_step": ("train_batch_size", "rollout_batch_size", "batch_size", "prompts_per_batch"),
    "train.steps": ("max_steps", "num_train_epochs", "total_training_steps", "num_steps", "total_steps"),
    "train.warmup_steps": ("warmup_ratio", "lr_warmup_steps", "num_warmup_steps", "warmup"),
    "train.weight_decay": ("l2",),
}  # fmt: skip
OPTIONS = {  # what other trainers call the choice of an option -> our group
    "algorithm": "algo", "algorithm_name": "algo", "adv_estimator": "algo", "advantage_estimator": "algo",
    "dataset": "data", "dataset_name": "data", "model_name": "model", "logger": "record", "report_to": "record",
    "reward_function": "reward", "cluster": "hardware", "device": "hardware",
}  # fmt: skip
FIELDS = {name: field for field, names in NAMES.items() for name in names}


def group(key: str) -> str | None:
    """The group whose option another trainer, or a slip of the hand, chooses by the last part of this key."""
    names = {**OPTIONS, **{name: name for name in GROUPS}}
    close = difflib.get_close_matches(key.rpartition(".")[2].lower().replace("-", "_"), names, n=1, cutoff=0.8)
    return names[close[0]] if close else None


def ours(key: str, fields: Collection[str]) -> str | None:
    """The field that another trainer calls by the last part of this key, among those that the config has."""
    field = FIELDS.get(key.rpartition(".")[2].lower().replace("-", "_"))
    return field if field in fields else None

"""What the fields are called by TRL, verl, OpenRLHF and prime-rl: whoever types such a name is shown ours."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from align_lab.config.groups import GROUPS

NAMES = {  # field of ours -> names that other trainers have for it: a dotted one by its end, the longest that is known
    "algo.aggregation": ("loss_agg_mode",),
    "algo.beta": ("dpo_beta",),
    "algo.clip": ("cliprange", "clip_range", "epsilon", "eps", "clip_ratio", "eps_clip", "clip_ratio_low"),
    "algo.clip_high": ("epsilon_high", "clip_ratio_high", "eps_clip_high"),
    "algo.entropy_coef": ("entropy_coeff", "entropy_loss_coef"),
    "algo.gamma": ("discount",),
    "algo.kl_coef": ("init_kl_coef", "kl_penalty_coef", "kl_loss_coef", "kl_ctrl", "kl_beta", "beta"),
    "algo.label_smoothing": ("smoothing",),
    "algo.lam": ("lambda", "lambd", "gae_lambda"),
    "algo.normalization": ("scale_rewards", "norm_adv_by_std_in_grpo"),
    "algo.refills": ("max_num_gen_batches",),
    "algo.value_clip": ("cliprange_value", "value_clip_range"),
    "algo.vf_coef": ("value_loss_coef", "value_coef"),
    "data.columns.prompt": ("prompt_key", "input_key"),
    "data.evaluation": ("val_files", "eval_dataset"),
    "data.prompts": ("max_samples", "train_files", "prompt_data"),
    "data.template": ("input_template", "prompt_template"),
    "data.too_long": ("truncation", "truncation_mode"),
    "evaluation.every": (
        "eval_steps", "eval_every", "test_freq", "eval_interval", "eval_strategy",
        "evaluation_strategy",
    ),
    "evaluation.prompts": ("num_eval_prompts", "eval_dataset_size"),
    "hardware.numerics.attention": ("attn_implementation",),
    "hardware.numerics.dtype": ("bf16", "fp16", "torch_dtype", "precision", "mixed_precision"),
    "hardware.numerics.engine": ("fsdp", "deepspeed", "strategy"),
    "hardware.numerics.gradient_checkpointing": ("activation_checkpointing", "enable_gradient_checkpointing"),
    "hardware.numerics.offload_optimizer": ("optimizer_offload", "param_offload"),
    "hardware.numerics.sampler": ("use_vllm", "rollout_backend", "inference_engine", "rollout.name"),
    "hardware.numerics.zero_stage": ("zero", "deepspeed_stage"),
    "hardware.placement.gpus_per_node": ("num_gpus", "n_gpus_per_node", "gpus", "ngpus", "gpu"),
    "hardware.placement.minutes": ("time", "timeout_min", "walltime"),
    "hardware.placement.nodes": ("nnodes", "num_nodes"),
    "hardware.vllm.memory": ("gpu_memory_utilization", "vllm_gpu_memory_utilization"),
    "hardware.vllm.own_process": ("vllm_mode",),
    "hardware.vllm.tensor_parallel": (
        "tensor_parallel_size", "tensor_model_parallel_size", "vllm_tensor_parallel_size",
    ),
    "model.lora.alpha": ("lora_alpha",),
    "model.lora.rank": ("lora_r", "lora_rank", "r", "use_peft"),
    "model.path": (
        "model_name_or_path", "pretrain", "model_path", "model_name", "model_id", "model.path",
        "sft_model_path",
    ),
    "record.checkpoint_every": ("save_steps", "save_freq", "save_interval"),
    "record.keep_checkpoints": ("save_total_limit",),
    "reward.file": ("custom_reward_function.path", "custom_reward_function.name"),
    "reward.path": ("reward_model_path", "reward_pretrain", "reward_model", "reward_funcs", "reward_model.model.path"),
    "sampling.max_new_tokens": (
        "max_completion_length", "generate_max_len", "response_length", "max_response_length", "max_tokens",
        "max_gen_len", "max_length",
    ),
    "sampling.missing_eos_penalty": ("eos_penalty",),
    "sampling.temperature": ("temp", "rollout_temperature"),
    "study": ("experiment_name", "project_name", "project", "output_dir", "run_name", "wandb_project"),
    "train.adam_eps": ("adam_epsilon",),
    "train.beta1": ("adam_beta1",),
    "train.beta2": ("adam_beta2",),
    "train.budget.episodes": ("total_episodes",),
    "train.decay": ("lr_scheduler_type", "lr_scheduler", "lr_schedule"),
    "train.epochs": ("num_iterations", "ppo_epochs", "num_ppo_epochs", "max_epochs", "mu"),
    "train.group_size": ("num_generations", "n_samples_per_prompt", "rloo_k", "n", "num_samples", "k"),
    "train.lr": ("learning_rate", "actor_learning_rate", "policy_lr", "actor_lr"),
    "train.critic_lr": ("critic_learning_rate", "value_lr", "critic.lr", "critic.optim.lr"),
    "train.max_grad_norm": ("max_norm", "grad_clip", "clip_grad", "gradient_clipping"),
    "train.micro_batch": (
        "per_device_train_batch_size", "micro_train_batch_size", "micro_batch_size", "gradient_accumulation_steps",
        "ppo_micro_batch_size_per_gpu",
    ),
    "train.minibatches": ("num_mini_batches", "ppo_mini_batch_size", "mini_batch_size"),
    "train.prompts_per_step": ("train_batch_size", "rollout_batch_size", "batch_size", "prompts_per_batch"),
    "train.scoring_batch": (
        "per_device_eval_batch_size", "val_batch_size", "local_rollout_forward_batch_size",
        "log_prob_micro_batch_size_per_gpu",
    ),
    "train.steps": (
        "max_steps", "num_train_epochs", "total_training_steps", "num_steps", "total_steps",
        "total_epochs",
    ),
    "train.warmup_steps": ("warmup_ratio", "lr_warmup_steps", "num_warmup_steps", "warmup", "lr_warmup_steps_ratio"),
    "train.weight_decay": ("l2",),
}  # fmt: skip
OPTIONS = {  # what other trainers call the choice of an option -> our group
    "algorithm": "algo", "algorithm_name": "algo", "adv_estimator": "algo", "advantage_estimator": "algo",
    "dataset": "data", "dataset_name": "data", "model_name": "model", "logger": "record", "report_to": "record",
    "reward_function": "reward", "cluster": "hardware", "device": "hardware",
}  # fmt: skip
WITHOUT = {  # what other trainers have and nothing here stands for -> why
    "critic.model.path": "the critic begins as the policy, or with algo=ppo_max as algo.critic_init says",
    "clip_ratio_c": "no ratio is clipped a second time where the advantage is negative",
    "critic_warmup": "algo=ppo_max has algo.critic_pretrain_steps",
    "filter_overlong_prompts": "data.too_long says what becomes of prompts that leave no room for a completion",
    "max_prompt_length": "data.too_long says what becomes of prompts that leave no room for a completion",
    "kl_ctrl.type": "the weight of the KL penalty stays as it is: algo.kl_coef",
    "ddp_timeout": "a run that makes no progress ends by hardware.placement.hang_minutes",
    "importance_sampling_level": "the ratio of whole sequences is algo=gspo",
    "kl_loss_type": "the algorithm decides how the KL is estimated; algo=policy_gradient algo.kl=... has all forms",
    "kl_penalty": "the algorithm decides how the KL is estimated; algo=policy_gradient algo.kl=... has all forms",
    "load_in_4bit": "weights are float32 or bfloat16: hardware.numerics.dtype",
    "log_completions": "record.samples completions of every evaluation are kept",
    "logging_steps": "every step is logged",
    "lora_dropout": "adapters have no dropout: a policy that drops at random is not the one that sampled",
    "lora_target_modules": "adapters stand on all linear layers of the blocks",
    "loss_type": "a loss is an algorithm: see align_lab list algo",
    "mask_truncated_completions": "completions that are cut off count; sampling.missing_eos_penalty lowers their score",
    "optim": "the optimizer is AdamW",
    "optimizer": "the optimizer is AdamW",
    "precompute_ref_log_probs": "the reference's log-probabilities of pairs are always computed once, before training",
    "push_to_hub": "align_lab export RUN FOLDER writes a model that can be uploaded",
    "resume_from_checkpoint": "the same command goes on where it stopped",
    "resume_mode": "the same command goes on where it stopped",
    "save_strategy": "checkpoints are written every record.checkpoint_every steps",
    "shuffle": "prompts are drawn in an order that seed= decides",
    "data_seed": "prompts are drawn in an order that seed= decides",
    "stop_token": "a completion ends with the model's end-of-sequence token",
    "top_k": "tokens are drawn from all, or with sampling.top_p from the likeliest",
    "trust_remote_code": "code that comes with a model is not run",
    "use_kl_in_reward": "the algorithm decides where the KL penalty stands: see align_lab show algo=NAME",
    "use_kl_loss": "the algorithm decides where the KL penalty stands: see align_lab show algo=NAME",
    "val_before_train": "the policy is always evaluated before training",
    "whiten_rewards": "the algorithm decides what is normalized: see align_lab show algo=NAME",
}
FIELDS = {name: field for field, names in NAMES.items() for name in names}


def group(key: str) -> str | None:
    """The group whose option another trainer, or a slip of the hand, chooses by the last part of this key."""
    names = {**OPTIONS, **{name: name for name in GROUPS}}
    close = difflib.get_close_matches(key.rpartition(".")[2].lower().replace("-", "_"), names, n=1, cutoff=0.8)
    return names[close[0]] if close else None


def field_of(key: str) -> str | None:
    """The field that another trainer calls by this key, or by the longest of its ends that is known; None: none is."""
    return next((FIELDS[end] for end in _ends(key) if end in FIELDS), None)


def ours(key: str, fields: Collection[str]) -> str | None:
    """The field that another trainer calls so, among those that the config has."""
    field = None if without(key) else field_of(key)
    return field if field in fields else None


def without(key: str) -> str:
    """Why nothing here stands for what another trainer calls by this key, or an end of it; empty: not known."""
    why = next((WITHOUT[end] for end in _ends(key) if end in WITHOUT), "")
    return f"nothing here is called so: {why}" if why else ""


def _ends(key: str) -> list[str]:
    """`a.b.c`, `b.c` and `c`."""
    parts = key.lower().replace("-", "_").split(".")
    return [".".join(parts[first:]) for first in range(len(parts))]

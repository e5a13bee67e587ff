"""The metrics that a run logs, each declared with its meaning, unit and direction. An undeclared key is an error.

Names are those of TRL where it has one. `time/` metrics are measured times, which differ between identical runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from align_lab.base import registry
from align_lab.base.errors import AlignLabError, DivergedError, near


@dataclass(frozen=True)
class Metric:
    """The meaning of a metric. `label`: its name in tables; empty: the last part of its key, with blanks.

    again: of a score, how it comes out for a completion that is scored again: `same`, `varies`, or empty: not known.
    """

    meaning: str
    unit: str = ""
    better: Literal["higher", "lower", "neither"] = "neither"
    label: str = ""
    again: str = ""


METRICS: dict[str, Metric] = {  # those of every task; `of_run` adds those that follow from the task
    "step": Metric("rollouts, or batches of preference pairs, so far", "steps"),
    "episode": Metric(
        "completions charged so far: sampled and scored, in training or for the preference pairs used, or two for each "
        "pair of the data that was used",
        "completions",
    ),
    "budget/tokens": Metric("generated tokens charged so far", "tokens"),
    "budget/labels": Metric(
        "judgements charged so far: completions scored by the reward, in training or for the preference pairs used, or "
        "one for each pair of the data that was used",
        "labels",
    ),
    "budget/flops": Metric(
        "estimated FLOPs so far: charged generation (a group's prompt once), reference and critic, updates; without "
        "reward and evaluation",
        "FLOP",
    ),
    "reward/failed": Metric("completions of the step that could not be scored", "completions", "lower"),
    "reward/abstained": Metric("completions of the step on which the reward had no opinion", "completions"),
    "objective/scores": Metric("mean score of the step's completions", "", "higher"),
    "objective/kl": Metric("mean over sequences of Σₜ (logp_old - logp_ref)", "nats a sequence"),
    "objective/entropy": Metric("mean over sequences of Σₜ -logp_old", "nats a sequence"),
    "objective/non_score_reward": Metric("mean reward without the score: the penalty for KL or length"),
    "objective/rlhf_reward": Metric("mean of score plus non-score reward", "", "higher"),
    "policy/approxkl_avg": Metric("mean over tokens of ½(logp - logp_old)², before the update", "nats² a token"),
    "policy/clipfrac_avg": Metric("share of tokens whose ratio is clipped", "share"),
    "policy/entropy_avg": Metric("mean over tokens of the policy's entropy", "nats a token"),
    "loss/policy_avg": Metric("policy loss"),
    "loss/kl_avg": Metric(
        "k2 or k3 of logp and logp_ref, averaged as the loss is, where the KL is part of the loss",
        "nats a token",
        "lower",
    ),
    "loss/nll_avg": Metric("negative log-likelihood of the chosen completions, as the loss weighs it", "nats", "lower"),
    "loss/value_avg": Metric("value loss", "", "lower"),
    "loss/pretrain_avg": Metric("negative log-likelihood of human text (PPO-ptx)", "nats a token", "lower"),
    "val/ratio": Metric("mean over tokens of exp(logp - logp_old)"),
    "val/clipfrac_avg": Metric("share of tokens whose value is clipped", "share"),
    "val/num_eos_tokens": Metric("completions with an end-of-sequence token", "completions"),
    "rewards/chosen": Metric("mean of beta times the log-ratio of chosen completions"),
    "rewards/rejected": Metric("mean of beta times the log-ratio of rejected completions"),
    "rewards/accuracies": Metric("share of pairs whose chosen completion has the higher log-ratio", "share", "higher"),
    "rewards/margins": Metric("mean of rewards/chosen - rewards/rejected", "", "higher"),
    "rewards/reference_point": Metric("KTO's z₀, the log-ratio of completions of other prompts, at least 0", "nats"),
    "rewards/policy_labels": Metric("share of pairs whose label the policy draws (SAIL)", "share"),
    "logps/chosen": Metric("mean log-probability of chosen completions", "nats a sequence"),
    "logps/rejected": Metric("mean log-probability of rejected completions", "nats a sequence"),
    "frac_reward_zero_std": Metric(
        "share of the sampled groups whose scores are all equal, where a prompt has several samples",
        "fraction",
        "lower",
        "groups of equal scores",
    ),
    "rollout/groups_kept": Metric("share of the sampled groups that are trained on", "fraction"),
    "completions/mean_length": Metric("mean length", "tokens"),
    "completions/min_length": Metric("shortest", "tokens"),
    "completions/max_length": Metric("longest", "tokens"),
    "sampling/importance_sampling_ratio/min": Metric("smallest p of the trainer / p of the sampler of a token"),
    "sampling/importance_sampling_ratio/mean": Metric("mean over tokens of p of the trainer / p of the sampler"),
    "sampling/importance_sampling_ratio/max": Metric("largest p of the trainer / p of the sampler of a token"),
    "sampling/sampling_logp_difference/mean": Metric("mean over tokens of |logp - logp of the sampler|", "nats"),
    "sampling/sampling_logp_difference/max": Metric("largest |logp - logp of the sampler| of a token", "nats"),
    "sampling/staleness": Metric("steps between the weights that sampled and those that learn: 0 or 1", "steps"),
    "sampling/kl": Metric("k3 estimate of KL(sampler ‖ trainer), mean over tokens", "nats a token", "lower"),
    "optim/policy_grad_norm": Metric("norm of the policy's gradient before clipping"),
    "optim/critic_grad_norm": Metric("norm of the critic's gradient before clipping"),
    "lr": Metric("learning rate of the policy"),
    "development/score": Metric("mean score of the development set, which decides the best checkpoint", "", "higher"),
    "eval/score": Metric("mean score of held-out completions: what the policy is trained on", "", "higher"),
    "eval/win_rate": Metric(
        "share of prompts whose completion scores higher than the start policy's", "share", "higher"
    ),
    "eval/kl": Metric("mean over sequences of Σₜ (logp - logp_ref)", "nats a sequence", "lower"),
    "eval/length": Metric("mean length", "tokens"),
    "eval/entropy": Metric("mean over tokens of the policy's entropy on its own completions", "nats a token"),
    "eval/distinct_2": Metric("distinct word pairs over all word pairs of the completions", "share", "higher"),
    "eval/repetition": Metric("share of words that repeat one of the four words before", "share", "lower"),
    "eval/ended": Metric("share of completions with an end-of-sequence token", "share"),
    "time/rollout": Metric("sampling", "s"),
    "time/sync": Metric("transfer of the policy's weights to a sampler with its own copy", "s"),
    "time/score": Metric("reward, reference and critic", "s"),
    "time/update": Metric("forward pass, backward pass, optimizer", "s"),
    "time/step": Metric("the whole step", "s"),
    "time/samples_per_second": Metric("completions per second of the step", "1/s", "higher"),
    "time/elapsed": Metric("training so far, without stages and evaluations", "s"),
    "time/cpu": Metric("CPU time of the step, all threads", "s"),
}


def of_run(values: Mapping[str, Any]) -> dict[str, Metric]:
    """Every metric that a run with this config may log: METRICS and those of its task."""
    return METRICS | of_task(values)


def of_task(values: Mapping[str, Any]) -> dict[str, Metric]:
    """The metrics whose meaning depends on the reward, the judges and the evaluation sets of a config."""
    reward, evaluation = registry.build("reward", values["reward"]), values["evaluation"]
    judges = {name: registry.build("reward", judge) for name, judge in evaluation["judges"].items()}
    scored = {"eval/score": _score(reward, "what the policy was trained on")}
    for name, judge in judges.items():
        scored[f"eval/{name}"] = _score(judge, judge.meaning or "a judge that is never optimized", name)
    decides = scored.get(evaluation["metric"], scored["eval/score"])
    label = decides.label or label_of(evaluation["metric"])
    metrics = {
        **{f"reward/{name}": Metric(f"mean of the reward's part {name}") for name in reward.parts()},
        **{name: metric for score in scored for name, metric in _without_score(score).items()},
        **{name: metric for one in {"score": reward, **judges}.items() for name, metric in _parts(*one).items()},
        **_pass_metrics(evaluation.get("pass_at", ()), label),
        "objective/scores": Metric("mean score of the step's completions", reward.unit, "higher"),
        "objective/non_score_reward": Metric(
            "mean reward without the score: the penalty for KL or length", reward.unit
        ),
        "objective/rlhf_reward": Metric("mean of score plus non-score reward", reward.unit, "higher"),
        "development/score": Metric("mean score of completions of the development set", reward.unit, "higher"),
        **scored,
        f"{evaluation['metric']}_se": Metric(f"standard error of the {label} over prompts", decides.unit),
        "eval/win_rate": Metric(
            f"share of prompts whose completion has a higher {label} than the start policy's", "share", "higher"
        ),
    }
    return metrics | _of_further_sets(values, metrics)


def _score(component: Any, meaning: str, name: str = "score") -> Metric:
    return Metric(meaning, component.unit, "higher", component.label or name.replace("_", " "), _again(component))


def _again(reward: Any) -> str:
    """What `Metric.again` says of the scores of a reward, and of those that it holds."""
    inside = [_again(registry.build("reward", values)) for values in reward.inner().values()]
    every = {{True: "same", False: "varies", None: ""}[reward.repeats], *inside}
    return "varies" if "varies" in every else "" if "" in every else "same"


def _without_score(score: str) -> dict[str, Metric]:
    """The shares of completions without this score, which are only logged where there are any."""
    label = label_of(score)
    return {
        f"{score}_failed": Metric(f"share of completions that could not be scored: {label}", "share", "lower"),
        f"{score}_abstained": Metric(f"share of completions on which there is no opinion: {label}", "share"),
        f"{score}_unread": Metric(f"share of completions in which no answer can be read: {label}", "share", "lower"),
    }


def _parts(name: str, component: Any) -> dict[str, Metric]:
    """The mean of each part of a score; a part named `order_bias` shows in the audit of `compare`."""
    label = component.label or label_of(name)
    return {f"eval/{name}_{part}": Metric(f"mean of the part {part} of the {label}") for part in component.parts()}


def pass_names(ks: Sequence[int]) -> list[str]:
    """`pass@k`, and `maj@k` of several votes."""
    return [f"pass@{k}" for k in ks] + [f"maj@{k}" for k in ks if k > 1]


def _pass_metrics(ks: Sequence[int], label: str) -> dict[str, Metric]:
    """pass@k and maj@k of the deciding score, each with its 95 % interval over prompts."""
    metrics: dict[str, Metric] = {}
    for name in pass_names(ks):
        kind, _, k = name.partition("@")
        one = "one of" if kind == "pass" else "the most frequent answer of"
        meaning = f"probability that {one} {k} completions is correct: {label}"
        metrics[f"eval/{name}"] = Metric(meaning, "share", "higher", name)
        for end, words in (("low", "lower"), ("high", "upper")):
            metrics[f"eval/{name}_{end}"] = Metric(f"{words} end of the 95 % interval of {name} over prompts", "share")
    return metrics


def _of_further_sets(values: Mapping[str, Any], metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """The evaluation metrics again, as `eval/SET/NAME`, for every evaluation set after the first."""
    sets = registry.build("data", values["data"]).evaluation_sets(values["evaluation"]["sets"])
    known = {name: metric for name, metric in (METRICS | dict(metrics)).items() if name.startswith("eval/")}
    return {
        f"eval/{further}/{name.removeprefix('eval/')}": metric for further in sets[1:] for name, metric in known.items()
    }


def is_evaluation(row: Mapping[str, Any]) -> bool:
    """Does a row of metrics hold an evaluation? It may lack any one score: the scorer may have abstained on all."""
    return any(name.startswith("eval/") for name in row)


def label_of(name: str) -> str:
    """What a metric without a label of its own is called: `eval/right_answers` -> `right answers`."""
    return name.rpartition("/")[2].replace("_", " ")


def check(row: Mapping[str, float], declared: Mapping[str, Metric] = METRICS) -> None:
    """Raises AlignLabError for an undeclared metric, DivergedError for a value that is not finite."""
    for name, value in row.items():
        if name not in declared:
            raise AlignLabError(
                f"{name!r} is not a declared metric: {near(name, declared)}. Declare it in align_lab/base/metrics.py"
            )
        if not math.isfinite(value):
            raise DivergedError(
                f"{name} is {value} at step {row.get('step', '?'):g}. The last good checkpoint is kept. "
                "Try a lower train.lr or a larger algo.kl_coef"
            )

"""What a config requires of its task: demonstrations, evaluation sets, judges, and the metric that decides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from align_lab.base import registry
from align_lab.base.contracts import Data, Model, Reward
from align_lab.base.errors import ConfigError, near
from align_lab.base.types import Needs
from align_lab.config.inner_rewards import expanded, with_inner

COLUMNS = {  # of an evaluation's rows and metrics, which no judge may take
    *("step", "set", "index", "sample", "prompt", "completion", "ended", "length", "kl", "entropy_sum", "score", "win"),
    *("win_rate", "entropy", "distinct_2", "repetition", "failures", "parts", "answers", "correct"),
}
ENDINGS = ("_se", "_failed", "_abstained", "_unread")  # of metrics that stand beside each score


def expand_rewards(cfg: dict[str, Any]) -> list[str]:
    """Give every judge, and every reward inside another, all its fields, in place, so that the config names them.

    Returns the mistakes, one sentence each.
    """
    messages: list[str] = []
    evaluation = cfg["evaluation"]
    try:
        cfg["reward"] = with_inner("reward", cfg["reward"])
    except ConfigError as error:
        messages.append(str(error))
    judges: dict[str, Any] = {}
    for name, given in evaluation["judges"].items():
        try:
            judges[name] = expanded(f"evaluation.judges.{name}", given)
        except ConfigError as error:
            messages.append(str(error))
    evaluation["judges"] = judges
    return messages


def problems(cfg: Mapping[str, Any], needs: Needs | None) -> list[str]:
    """One sentence each. `needs`: of the algorithm; None where its own fields are wrong."""
    data: Data = registry.build("data", cfg["data"])
    return [
        *_demonstrations(cfg, data, needs),
        *_pairs(cfg, data, needs),
        *_sets(cfg, data),
        *_scorers(cfg, data),
        *_judges(cfg["evaluation"]),
        *_part_names(cfg),
        *_decoding(cfg),
    ]


def _scorers(cfg: Mapping[str, Any], data: Data) -> list[str]:
    """Reward and judges that this data does not serve, and what judges themselves object to."""
    reward: Reward = registry.build("reward", cfg["reward"])
    messages = [reward.data_problem(data)]
    for name, values in cfg["evaluation"]["judges"].items():
        judge: Reward = registry.build("reward", values)
        objections = [*judge.problems(), judge.data_problem(data), _missing_package(judge)]
        messages += [f"evaluation.judges.{name}: {text}" for text in objections if text]
    return [text for text in messages if text]


def _missing_package(judge: Reward) -> str:
    missing = registry.missing_package(judge)
    return f"it needs {missing}" if missing else ""


def _demonstrations(cfg: Mapping[str, Any], data: Data, needs: Needs | None) -> list[str]:
    """Models that are fine-tuned need texts to imitate, and so does a pre-training term."""
    if data.has_demonstrations():
        return []
    name, model = cfg["data"]["name"], cfg["model"]
    messages = [_not_fine_tuned(model, f"model={model['name']}", "model.sft.epochs=0", name)]
    for field, values in _scorers_of(cfg).items():
        for start in _starts(values, model):
            backbone = f"model={start['name']}, the backbone of {field},"
            messages.append(_not_fine_tuned(start, backbone, "its sft.epochs=0", name))
    if needs is not None and needs.pretrain_batch:
        messages.append(
            f"algo={cfg['algo']['name']} has a pre-training term on human texts, and data={name} has none. "
            "Set algo.ptx_coef=0"
        )
    return [text for text in messages if text]


def _scorers_of(cfg: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The config of the reward and of each judge, by the name of its field."""
    judges = cfg["evaluation"]["judges"]
    return {"reward": cfg["reward"], **{f"evaluation.judges.{name}": values for name, values in judges.items()}}


def _starts(values: Mapping[str, Any], model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The models other than the run's own that a reward, and those that it holds, start from."""
    reward: Reward = registry.build("reward", values)
    start = reward.starts_from(model)
    inside = [one for inner in reward.inner().values() for one in _starts(inner, model)]
    return inside if start is None or start == model else [start, *inside]


def _not_fine_tuned(values: Mapping[str, Any], model: str, switch: str, data: str) -> str:
    """Why a model cannot be fine-tuned on data without demonstrations; empty where it is not to be."""
    component: Model = registry.build("model", values)
    if component.fine_tuning() is None:
        return ""
    if component.pretrained:
        return (
            f"{model} is to be fine-tuned on the data's demonstrations, and data={data} has none. "
            f"Set {switch}, or choose data with demonstrations"
        )
    return (
        f"{model} learns to write from the data's demonstrations, and data={data} has none. "
        "Choose a model that can write already, for example model=smollm2_135m, or data with demonstrations"
    )


def _pairs(cfg: Mapping[str, Any], data: Data, needs: Needs | None) -> list[str]:
    """Preference pairs that exist, for an algorithm that learns from them; others do not read `preferences`."""
    if needs is None or not needs.pairs:
        return []
    plan = cfg["preferences"]
    if plan["source"] == "data" and (missing := _missing_preferences(cfg, data, needs)):
        return [
            f"preferences.source=data: algo={cfg['algo']['name']} learns from {missing}. Or set "
            "preferences.source=reward, for which the reward labels pairs of the start policy's completions"
        ]
    if plan["source"] == "reward" and plan["pairs"] is None:
        return [
            "preferences.pairs=null means all pairs of the data, and with preferences.source=reward they are sampled: "
            "set a number, for example preferences.pairs=1920"
        ]
    own, sampled = plan["temperature"], cfg["sampling"]["temperature"]
    if needs.samples and own not in (None, sampled):
        return [
            f"preferences.temperature={own}: algo={cfg['algo']['name']} mixes pairs with completions that it "
            f"samples at sampling.temperature={sampled}, and all log-probabilities of a step have one temperature. Set "
            "preferences.temperature=null"
        ]
    return []


def _missing_preferences(cfg: Mapping[str, Any], data: Data, needs: Needs) -> str:
    """What an algorithm learns from, what the data has, and what to choose instead; empty where the data has it."""
    labels = data.labels()
    if data.has_pairs() or (len(labels) == 2 and not needs.paired):
        return ""
    if len(labels) == 2:
        return (
            "preference pairs, and the completions of the data with a label have no partner: no prompt has one with "
            "label true and one with label false. Set algo=kto, which learns from single completions, or choose data "
            "with pairs"
        )
    if labels and not needs.paired:
        there, lacking = ("desirable", "undesirable") if True in labels else ("undesirable", "desirable")
        return (
            f"desirable and undesirable completions, and all of the data's that are trained on are {there}. "
            f"Add {lacking} ones (label {str(lacking == 'desirable').lower()})"
        )
    kind = "preference pairs" if needs.paired else "pairs or single completions with a label"
    return (
        f"preference pairs of the data, and data={cfg['data']['name']} has none. Choose data with {kind}, for example "
        "data=files data.preferences=FILE"
    )


def _sets(cfg: Mapping[str, Any], data: Data) -> list[str]:
    """Evaluation sets that exist, the first of them with enough examples."""
    name, known, named = cfg["data"]["name"], data.all_splits()[1:], cfg["evaluation"]["sets"]
    unknown = [each for each in named if each not in known]
    if unknown:
        return [
            f"evaluation.sets={each}: data={name} has no such evaluation set. {near(str(each), known)}"
            for each in unknown
        ]
    if not data.splits()[1:]:
        return [f"data={name} names no evaluation set in `splits`: every arm is judged on held-out prompts"]
    first, prompts = data.evaluation_sets(named)[0], cfg["evaluation"]["prompts"]
    size = data.size(first)
    if size is not None and prompts > size and not data.whole_sets:
        return [
            f"evaluation.prompts={prompts} is more than the {size} held-out examples of data={name} ({first}). "
            f"Set evaluation.prompts={size} or less"
        ]
    return []


def _judges(evaluation: Mapping[str, Any]) -> list[str]:
    """Judges' names that can be columns, and a metric that one of them gives."""
    judges = list(evaluation["judges"])
    messages = [
        f"evaluation.judges.{name}: a judge's name becomes a column of the evaluation, so it has letters, digits and "
        f"underscores only, and is none of {', '.join(sorted(COLUMNS))}"
        for name in judges
        if not str(name).isidentifier() or name in COLUMNS or str(name).endswith(ENDINGS)
    ]
    allowed = ["eval/score", *(f"eval/{name}" for name in judges)]
    if evaluation["metric"] not in allowed:
        messages.append(f"evaluation.metric={evaluation['metric']} is not known: {near(evaluation['metric'], allowed)}")
    return messages


def _part_names(cfg: Mapping[str, Any]) -> list[str]:
    """Judges whose metric would have the name of another scorer's part, `eval/SCORER_PART`."""
    judges = cfg["evaluation"]["judges"]
    scorers = {"score": cfg["reward"], **judges}
    parts = {f"{name}_{part}": name for name, one in scorers.items() for part in registry.build("reward", one).parts()}
    return [
        f"evaluation.judges.{name}: eval/{name} is the name of a part of {parts[name]}. Choose another name"
        for name in judges
        if name in parts
    ]


def _decoding(cfg: Mapping[str, Any]) -> list[str]:
    """Samples that pass@k needs and that greedy decoding cannot give, and completions that fit the context."""
    plan, messages = cfg["evaluation"], list[str]()
    ks, samples, new = plan["pass_at"], plan["samples"], plan["max_new_tokens"]
    if any(k < 1 for k in ks):
        messages.append(f"evaluation.pass_at={ks}: each k is a number of completions, 1 or more")
    elif ks and max(ks) > samples:
        messages.append(
            f"evaluation.pass_at={ks} needs {max(ks)} completions a prompt or more (got evaluation.samples={samples}). "
            f"Set evaluation.samples={max(ks)}"
        )
    if plan["temperature"] == 0 and samples > 1:
        messages.append(
            f"evaluation.temperature=0 gives the same completion each time, and evaluation.samples={samples} would "
            "count it several times. Set evaluation.samples=1, or a temperature above 0"
        )
    context = cfg["model"].get("context", math.inf)
    if new is not None and new >= context:
        messages.append(
            f"evaluation.max_new_tokens={new} leaves no room for a prompt in model.context={context}. "
            f"Set evaluation.max_new_tokens={context // 2} or a larger model.context"
        )
    return messages

"""The function that computes each golden value: one table for the repository's values and for any other folder.

A row names a file, a case in it (`{gamma}` matches a number in the case's key, which is passed to the function), the
function of `computed.py` that computes it, and the fields of the case that are compared (none: the case itself).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from . import computed as c
from . import computed_estimators as ce
from . import computed_groups as cg
from . import computed_preferences as p
from . import computed_sail as s


class Row(NamedTuple):
    file: str
    case: str
    compute: Callable[..., Any]
    fields: str


TABLE = (
    #   file                   case                                      computed by            fields compared
    Row("token_rewards", "", c.token_rewards, "token_reward seq_sum"),
    Row("token_rewards", "clipped_example", c.clipped_rewards, "token_reward"),
    Row("gae", "results.gamma{gamma}_lam{lam}", c.gae, "advantages returns"),
    Row("gae", "results.gamma{gamma}_lam{lam}", c.ppo_max_gae, "advantages returns"),
    Row("gae", "results.gamma{gamma}_lam{lam}", c.ppo_gae, "returns"),
    Row("gae", "results.gamma1.0_lam1.0", c.vanilla_pg, "advantages returns"),
    Row("gae", "whitened_unbiased_eps{eps}_lam{lam}", c.ppo_gae, "advantages"),
    Row("advantage_whitening", "", c.moments, "mean biased_var"),
    Row("advantage_whitening", "moss_biased_var_plus_{eps}", c.whiten_moss, "adv"),
    Row("advantage_whitening", "moss_biased_var_plus_{eps}.clipped_to_{clip}", c.clip_moss, ""),
    Row("advantage_whitening", "openrlhf_biased_var_floor_{floor}", c.whiten_openrlhf, "adv"),
    Row("advantage_whitening", "verl_trl_unbiased_var_plus_{eps}", c.whiten_trl, "adv"),
    Row("ppo_policy_loss", "ratio", c.ratio, ""),
    Row("ppo_policy_loss", "results.ppo_token_mean", c.ppo_policy, "loss clip_frac approx_kl grad"),
    Row("ppo_policy_loss", "results.ppo_token_mean", c.reinforce_pp_policy, "loss clip_frac grad"),
    Row("ppo_policy_loss", "dual_clip_probe.plain", c.clip_probe, ""),
    Row("value_loss", "", c.value_loss, "loss_clipped loss_unclipped clip_frac"),
    Row("moss_ppo_total_loss", "total_loss", c.moss_loss, "shipping_flags plus_adv_norm no_clips entropy"),
    Row("moss_ppo_total_loss", "total_loss.adv_norm_and_clip_{clip}", c.moss_clip, ""),
    Row("ppo_max_reward_norm", "steps.{step}", c.shaped_scores, "scaled normalised"),
    Row("moss_ppo_total_loss", "total_loss", c.moss_script_loss, "shipping_flags"),
    Row("ppo_max_reward_norm", "steps.{step}", c.moss_script_scores, "scaled"),
    Row("ppo_max_reward_norm", "steps.{step}.normalised_clip_{clip}", c.clipped_scores, ""),
    Row(
        "ppo_max_reward_norm",
        "steps.{step}",
        c.running_moments,
        "batch_mean batch_std running_mean running_var_biased running_std_unbiased count",
    ),
    Row("reinforce", "steps.{step}", c.reinforce, "baseline_before advantage baseline_after"),
    Row("reinforce", "", c.reinforce_third, "third_step_loss third_step_grad"),
    Row("rloo", "", cg.rloo, "seq_kl_k1 R paper_advantage_seq"),
    Row("rloo", "k{k}_example", cg.rloo_example, "advantages"),
    Row("grpo", "advantage.k{k}_rloo", cg.rloo_of_scores, ""),
    Row("grpo", "advantage.k{k}_unbiased_std", cg.grpo_of_scores, ""),
    Row("grpo", "advantage.verl_unbiased_std_eps{eps}", cg.grpo_advantage, ""),
    Row("grpo", "advantage.trl_unbiased_std_eps{eps}", cg.grpo_advantage, ""),
    Row("grpo", "advantage.openrlhf_unbiased_std_eps{eps}", cg.grpo_advantage, ""),
    Row("grpo", "zero_std_group", cg.grpo_of_equal_scores, "adv"),
    Row("grpo", "trl_losses.results.grpo_beta{beta}", cg.grpo_loss, "loss grad"),
    Row("ppo_policy_loss", "results.ppo_seq_mean_token_mean", cg.grpo_policy, "loss clip_frac approx_kl grad"),
    Row("ppo_policy_loss", "results.clip_higher_{low}_{high}", cg.dapo_policy, "loss clip_frac approx_kl grad"),
    Row("ppo_policy_loss", "results.gspo", cg.gspo_policy, "loss clip_frac approx_kl grad"),
    Row("ppo_policy_loss", "results.verl_dualclip3_seq-mean-token-sum-norm", cg.dr_grpo_policy, "loss"),
    Row("grpo", "advantage.dr_grpo_no_std", cg.centered_scores, ""),
    Row("grpo", "advantage.k{k}_dr_grpo", cg.centered_of_scores, ""),
    Row("grpo", "trl_losses.results.dr_grpo_beta{beta}", cg.dr_grpo_loss, "loss grad"),
    Row("grpo", "trl_losses.results.grpo_beta{beta}", cg.family_k3_sequence_mean, "loss grad"),
    Row("grpo", "trl_losses.results.dr_grpo_beta{beta}", cg.family_k3_constant, "loss grad"),
    Row("grpo", "trl_losses.results.bnpo_beta{beta}", cg.family_k3_token_mean, "loss grad"),
    Row("grpo", "trl_losses.results.dapo_beta{beta}", cg.family_k3_token_mean, "loss grad"),
    Row("grpo", "advantage.trl_unbiased_std_eps{eps}", cg.cispo_advantage, ""),
    Row("ppo_policy_loss", "results.ppo_token_mean", cg.family_token_mean, "loss clip_frac approx_kl grad"),
    Row("ppo_policy_loss", "results.ppo_seq_mean_token_mean", cg.family_sequence_mean, "loss clip_frac approx_kl grad"),
    Row("ppo_policy_loss", "results.verl_dualclip3_token-mean", cg.family_token_mean, "loss"),
    Row("ppo_policy_loss", "results.verl_dualclip3_seq-mean-token-mean", cg.family_sequence_mean, "loss"),
    Row("ppo_policy_loss", "results.verl_dualclip3_seq-mean-token-sum", cg.family_sequence_sum, "loss"),
    Row("ppo_policy_loss", "results.verl_dualclip3_seq-mean-token-sum-norm", cg.family_constant, "loss"),
    Row("rloo", "openrlhf_token_advantage", cg.openrlhf_rloo, "adv"),
    Row("grpo", "trl_losses.results.bnpo_beta0.0", cg.token_mean_loss, "loss grad"),
    Row("grpo", "trl_losses.results.dapo_beta0.0", cg.token_mean_loss, "loss grad"),
    Row("misc", "dapo_overlong", cg.overlong, "rewards_after"),
    Row("misc", "raft.winner", cg.raft, ""),
    Row("remax", "", cg.remax, "verl_advantage actor_loss_gamma1"),
    Row("remax", "original_gamma{gamma}", cg.remax_released, ""),
    Row("remax", "actor_loss_gamma1", cg.remax_released_loss, ""),
    Row("remax", "actor_loss_gamma1", cg.cispo_of_rewards, ""),
    Row("rloo_loss", "paper_reinforce_loss", cg.rloo_loss, "loss grad"),
    Row("reinforce_pp", "reinforce_pp", cg.reinforce_pp, "advantage_openrlhf policy_loss policy_grad"),
    Row("reinforce_pp", "reinforce_pp.advantage_gamma{gamma}", cg.reinforce_pp_gamma, ""),
    Row("reinforce_pp", "reinforce_pp.returns_gamma{gamma}", cg.reinforce_pp_return, ""),
    Row(
        "reinforce_pp",
        "reinforce_pp_baseline",
        cg.pp_baseline,
        "group_centred advantage_openrlhf advantage_verl total_loss_with_k2 grad",
    ),
    Row("reinforce_pp", "reinforce_pp.advantage_verl", cg.reinforce_pp_verl, ""),
    Row(
        "preference_losses",
        "dpo",
        p.dpo,
        "per_pair loss grad_chosen grad_rejected implicit_reward_chosen implicit_reward_rejected",
    ),
    Row("preference_losses", "dpo", p.cpo_of_log_ratios, "per_pair loss grad_chosen grad_rejected"),
    Row("preference_losses", "dpo", p.online_dpo, "per_pair loss grad_chosen grad_rejected"),
    Row("preference_losses", "dpo", p.iterative_dpo, "per_pair loss grad_chosen grad_rejected"),
    Row("preference_losses", "dpo", p.sail_dp_of_the_set, "per_pair loss grad_chosen grad_rejected"),
    Row("preference_losses", "dpo", p.sail_pp_of_the_set, "per_pair loss grad_chosen grad_rejected"),
    Row("preference_losses", "dpo", p.sail_pr_of_the_set, "per_pair loss grad_chosen grad_rejected"),
    Row("preference_losses", "cdpo_label_smoothing_{eps}", p.cdpo, "loss"),
    Row("preference_losses", "ipo_sum_paper_literal", p.ipo_sum, "per_pair loss grad_chosen grad_rejected"),
    Row("preference_losses", "ipo_length_averaged", p.ipo_mean, "per_pair loss"),
    Row("preference_losses", "slic_normalised_hinge", p.slic_norm, "per_pair loss grad_chosen grad_rejected"),
    Row("preference_losses", "slic_hf_paper", p.slic_hf, "per_pair loss"),
    Row("preference_losses", "simpo.beta{beta}_gamma{gamma}", p.simpo, ""),
    Row("preference_losses", "orpo_or_term", p.orpo, "beta_log_sigmoid log_odds_mean"),
    Row("preference_losses", "kto", p.kto, "chosen rejected"),
    Row("sail", "", s.sail_inputs, "z log_sigmoid p_keep_label p_switch_label"),
    Row("sail", "DP_rho{rho}.released_code", s.sail_dp, "loss_per_pair loss grad_chosen grad_rejected"),
    Row("sail", "DP_rho{rho}.exact_gradient", s.sail_dp, "grad_chosen grad_rejected"),
    Row("sail", "PP_pi{pi}.released_code", s.released_pp, "loss_per_pair loss grad_chosen grad_rejected"),
    Row("sail", "PP_pi{pi}.exact_gradient", s.sail_pp, "grad_chosen grad_rejected"),
    Row("sail", "PR_gamma{gamma}.released_code", s.released_pr, "loss_per_pair loss grad_chosen grad_rejected"),
    Row("sail", "PR_gamma{gamma}.exact_gradient", s.sail_pr, "grad_chosen grad_rejected"),
    Row("sail", "switched_labels", s.switched, "loss_per_pair"),
    Row("sail_exact_expectation", "results.DPO", s.expected_dpo, "objective gradient"),
    Row("sail_exact_expectation", "results.DP", s.expected_dp, "objective gradient"),
    Row("sail_exact_expectation", "results.PP", s.expected_pp, "objective gradient"),
    Row("sail_exact_expectation", "results.PR", s.expected_pr, "objective gradient"),
    Row(
        "reward_model", "bradley_terry", c.bradley_terry, "loss grad_chosen grad_rejected loss_with_margin logexp_loss"
    ),
    Row("kl_estimators", "estimators.k{n}", ce.kl_estimator, "value grad_wrt_logp seq_sum token_mean"),
    Row("kl_estimators", "expectation_demo.k{n}_expected_value", ce.expected_kl, ""),
    Row("kl_estimators", "expectation_demo.k{n}_as_loss_expected_grad", ce.kl_as_loss, ""),
    Row("kl_estimators", "expectation_demo.k{n}_in_reward_expected_score_grad", ce.kl_in_reward, ""),
    Row("estimator_bias", "expected", ce.expected_gradient, "reinforce loo group_mean grpo_unbiased_std_eps1e-4"),
    Row("estimator_bias", "variance_trace", ce.gradient_variance, "reinforce loo group_mean grpo_unbiased_std_eps1e-4"),
    Row("misc", "sft", c.sft, "token_mean"),
    Row("misc", "sft.seq_mean", p.cpo_likelihood, ""),
    Row("misc", "sft.seq_mean", p.orpo_likelihood, ""),
)

NO_COMPONENT_YET = (  # file:case, with * for anything
    "grpo:advantage.k*_biased_std",
    "ppo_policy_loss:results.dual_clip_*",
    "ppo_policy_loss:results.verl_dualclip3_token-sum.loss",
    "ppo_policy_loss:dual_clip_probe.dual",
    "rloo:trl_normalize_advantages.*",
    "rloo_loss:seq_ratio",
    "rloo_loss:*_trl*",
    "reinforce_pp:reinforce_pp_baseline.no_std",
    "reward_model:moss.*",
    "kl_estimators:estimators.k3+.*",
    "misc:adaptive_kl.*",
    "misc:stop_properly.*",
    "misc:raft.lmflow_top_alpha.*",
)

NOT_A_RESULT = (  # inputs, provenance and prose; the closed forms that enumerations are compared with
    "common_inputs:*",
    "index:*",
    *(
        f"*:{where}{word}"
        for word in ("inputs", "source", "note", "formula", "order", "lesson", "agree")
        for where in ("", "*.")
    ),
    *(f"*:{where}{word}.*" for word in ("inputs", "source") for where in ("", "*.")),
    "token_rewards:clipped_example.scores",
    "token_rewards:clipped_example.clip",
    "ppo_max_reward_norm:steps.*.batch",
    "reinforce:steps.*.R",
    "grpo:advantage.k*_scores",
    "grpo:trl_losses.eps",
    "grpo:trl_losses.advantages",
    "grpo:trl_losses.kl_estimator",
    "grpo:trl_losses.max_completion_length_for_dr_grpo",
    "grpo:zero_std_group.scores",
    "rloo:k*_example.scores",
    "rloo:k*_example.beta",
    "kl_estimators:expectation_demo.theta",
    "kl_estimators:expectation_demo.ref_logits",
    "kl_estimators:expectation_demo.policy",
    "kl_estimators:expectation_demo.ref",
    "kl_estimators:expectation_demo.true_reverse_kl*",
    "kl_estimators:expectation_demo.forward_kl_grad",
    "reinforce_pp:reinforce_pp_baseline.k2_coef",
    "misc:dapo_overlong.max_new_tokens",
    "misc:dapo_overlong.buffer",
    "misc:dapo_overlong.lengths",
    "misc:dapo_overlong.rewards_before",
    "misc:raft.scores",
    "preference_losses:kto.z",
    "sail:beta",
    "sail:discrepancy",
    *(f"sail_exact_expectation:{name}" for name in ("theta", "ref", "beta", "true_reward", "dataset_dist", "maximise")),
    *(f"sail_exact_expectation:{name}" for name in ("DPO", "DP", "PP", "PR")),
    "estimator_bias:theta",
    "estimator_bias:rewards",
    "estimator_bias:k",
    "estimator_bias:policy",
    "estimator_bias:true_gradient",
)

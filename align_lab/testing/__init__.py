"""Checks that a component keeps the contract of its kind, for the tests of plug-ins and for `doctor`.

    from align_lab.base import registry
    from align_lab.testing import assert_contract

    registry.scan(("my_plugin",))

    def test_my_reward_keeps_the_contract():
        assert_contract("reward", "mine", weight=2.0)

Each check is a plain function with one idea: `align_lab.testing.rewards.it_scores_the_same_again`, for example. Nothing
here imports torch until a check needs it.
"""

from align_lab.testing.reports import Report, assert_contract, check, reports

__all__ = ["Report", "assert_contract", "check", "reports"]

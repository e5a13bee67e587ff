"""The changes that tests/mutation/by_hand.py lists are those of the code as it is now; samples and their shares."""

from tests.mutation.__main__ import by_hand, sampled, share
from tests.mutation.by_hand import MUTANTS


def test_every_change_of_the_list_is_in_its_file_once_and_gives_python():
    mutants = list(by_hand())  # raises ValueError with those that are not
    assert len({one.key for one in mutants}) == len(MUTANTS), "two changes of a file have the same words"


def test_a_sample_is_always_the_same_and_a_larger_one_holds_it():
    small, large = (sampled("stages", count) for count in (5, 12))
    assert len({one.key for one in large}) == 12 and [one.key for one in small] == [one.key for one in large][:5]


def test_the_share_that_falls_has_the_interval_of_clopper_and_pearson():
    assert share(9, 12) == "75.0 % (42.8 to 94.5)"  # R: binom.test(9, 12)$conf.int
    assert share(20, 20) == "100.0 % (83.2 to 100.0)"  # (α/2)^(1/20)

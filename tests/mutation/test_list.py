"""The changes that tests/mutation/by_hand.py lists are those of the code as it is now."""

from tests.mutation.__main__ import by_hand
from tests.mutation.by_hand import MUTANTS


def test_every_change_of_the_list_is_in_its_file_once_and_gives_python():
    mutants = list(by_hand())  # raises ValueError with those that are not
    assert len({one.key for one in mutants}) == len(MUTANTS), "two changes of a file have the same words"

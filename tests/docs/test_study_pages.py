"""What the page of a study says of its claims is what its table says: the sentence, the short table, the gallery."""

import re
from collections import Counter

import pytest

from tests.docs.snippets import CHECKOUT

STUDIES = CHECKOUT / "docs" / "studies"
GALLERY = CHECKOUT / "docs" / "gallery.md"
WORDS = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
NUMBERS = {word: i for i, word in enumerate(WORDS)}
NUMBER = "|".join(NUMBERS)
TOTAL = re.compile(rf"\bof (?:the )?({NUMBER}) (?:statements|steps|claims)\b")
VERDICTS = ("held", "did not hold", "inconclusive")
WITH_CLAIMS = [page for page in sorted(STUDIES.glob("*.md")) if "\n## Claims\n" in page.read_text(encoding="utf-8")]
ABOUT = {page.stem: page for page in WITH_CLAIMS}


def verdict(cell):
    """The verdict that a cell of a table begins with; None where it is none."""
    text = cell.replace("*", "").strip()
    return next((one for one in VERDICTS if re.match(rf"{one}\b", text)), None)


def in_table(text):
    """How often each verdict stands in a table, which ends at its first empty line."""
    rows = [line for line in text.split("\n") if line.startswith("|")]
    return Counter(found for row in rows for found in map(verdict, row.split("|")) if found)


def in_words(sentence):
    """(number of claims or None, verdict -> number) of `Of six statements one holds, and five are inconclusive`."""
    text = " ".join(sentence.lower().split())
    total = TOTAL.search(text)
    counts = {}
    for clause in re.split(r"[,:;.]| and ", TOTAL.sub("", text)):
        number = re.search(rf"\b({NUMBER})\b", clause)
        if not number:
            continue
        if "inconclusive" in clause:
            counts["inconclusive"] = NUMBERS[number[1]]
        elif re.search(r"\b(do|does|did) not\b", clause):
            counts["did not hold"] = NUMBERS[number[1]]
        elif re.search(r"\b(hold|holds|held)\b", clause):
            counts["held"] = NUMBERS[number[1]]
    return total and NUMBERS[total[1]], counts


def claims_of(page):
    """Verdict -> number of claims, by the table below `## Claims`, which `compare` has written."""
    return in_table(page.read_text(encoding="utf-8").partition("\n## Claims\n")[2].partition("\n## ")[0])


@pytest.mark.parametrize("page", WITH_CLAIMS, ids=lambda page: page.stem)
def test_the_sentence_of_a_page_counts_the_verdicts_of_its_claims(page):
    text, counted = page.read_text(encoding="utf-8"), claims_of(page)
    (sentence, *_) = re.findall(r"^\*\*(.*?)\*\*", text.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
    total, said = in_words(sentence)
    assert total in (None, counted.total())
    assert total is None or said, sentence
    assert {one: counted[one] for one in said} == said, sentence


@pytest.mark.parametrize("page", WITH_CLAIMS, ids=lambda page: page.stem)
def test_the_short_table_of_a_page_has_the_verdicts_of_its_claims(page):
    """A study that was run at several settings shows more in its short table than the claims of the last one."""
    short = in_table(page.read_text(encoding="utf-8").partition("\n## ")[0])
    if page.stem != "back_to_basics_noise":
        assert short == claims_of(page)
    assert short


def test_the_gallery_counts_what_the_pages_count():
    rows = re.findall(r"^\| \[[^\]]*\]\(studies/(\w+)\.md\) \|.*\|(.*)\|$", GALLERY.read_text(encoding="utf-8"), re.M)
    said = {name: in_words(cell) for name, cell in rows if name in ABOUT and TOTAL.search(cell.lower())}
    assert len(said) >= 3
    for name, (total, counts) in said.items():
        counted = claims_of(ABOUT[name])
        assert total == counted.total() and counts, name
        assert {one: counted[one] for one in counts} == counts, name


def test_numbers_are_read_from_such_sentences():
    """The reader of this file itself, by sentences with known numbers."""
    assert in_words("Of eight statements three hold, one does not, and four are inconclusive") == (
        8,
        {"held": 3, "did not hold": 1, "inconclusive": 4},
    )
    assert in_words("One of three statements holds; two do not hold") == (3, {"held": 1, "did not hold": 2})
    assert in_words("Of eight statements none held: five did not hold, three inconclusive")[1]["held"] == 0
    assert in_words("Two of the three steps hold, and the first is inconclusive") == (3, {"held": 2})

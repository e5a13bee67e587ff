"""Progress is reported to whoever listens, and to nobody else."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from align_lab.base.progress import listening, notice, report, track


class Heard:
    def __init__(self):
        self.lines, self.steps = [], []

    def notice(self, text):
        self.lines.append(text)

    def progress(self, done, total):
        self.steps.append((done, total))


def test_tracked_items_come_in_order_with_a_report_after_each():
    heard, seen = Heard(), []
    with listening(heard):
        for item in track("abc"):
            seen.append((item, len(heard.steps)))
    assert seen == [("a", 1), ("b", 2), ("c", 3)]  # the first report comes before the first item
    assert heard.steps == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_without_a_listener_work_goes_on_in_silence():
    notice("fetching")
    report(1, 2)
    assert list(track([1, 2])) == [1, 2]


def test_the_innermost_listener_hears_and_an_error_ends_its_turn():
    outer, inner = Heard(), Heard()
    with listening(outer):
        with pytest.raises(OSError), listening(inner):
            notice("inside")
            raise OSError
        notice("outside")
    assert inner.lines == ["inside"] and outer.lines == ["outside"]


def test_a_thread_begins_without_a_listener():
    heard = Heard()
    with listening(heard), ThreadPoolExecutor(1) as pool:
        pool.submit(notice, "from a thread").result()
    assert heard.lines == []

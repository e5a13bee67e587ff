"""The states of a study while it runs: polling takes little of the cores that the runs need."""

import io

from rich.console import Console

from align_lab.dispatch import status_table
from align_lab.dispatch.status_table import POLL_SECONDS, POLL_SHARE, StatusTable


class Clocks:
    """Time as the table sees it: a fetch takes `cost` seconds of the processor."""

    def __init__(self, cost):
        self.cost, self.now, self.used, self.fetched = cost, 100.0, 0.0, 0

    def fetch(self):
        self.used, self.fetched = self.used + self.cost, self.fetched + 1
        return []

    def monotonic(self):
        return self.now

    def process_time(self):
        return self.used


def test_polling_takes_at_most_its_share_of_a_core(monkeypatch):
    for cost, pause in ((0.0, POLL_SECONDS), (0.3, 0.3 / POLL_SHARE)):
        clocks = Clocks(cost)
        monkeypatch.setattr(status_table, "time", clocks)
        shown = StatusTable(Console(file=io.StringIO()), clocks.fetch, names=None)
        shown.update()
        clocks.now += pause - 0.01
        shown.update()
        assert clocks.fetched == 1
        clocks.now += 0.02
        shown.update()
        assert clocks.fetched == 2

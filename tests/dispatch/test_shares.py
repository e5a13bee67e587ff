"""Whatever ends, is cancelled or is added: the shares of a study's arrays keep to `max_parallel`, and nothing idles.

The simulated Slurm knows what sbatch and scontrol were told: the limit of each array, and what it waits for.
"""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from align_lab.dispatch.shares import Part, handed_on, of_next


class Cluster:
    """It starts whatever it may start."""

    def __init__(self, most):
        self.most, self.parts, self.running = most, [], {}

    def submit(self, count, left):
        share, behind = of_next(self.parts, most=self.most, left=left)
        self.parts.append(Part(token=str(len(self.running)), share=share, behind=behind, live=count))
        self.running[self.parts[-1].token] = 0
        self.start()

    def start(self):
        there = {part.token for part in self.parts if part.live}
        for part in self.parts:
            if not there & {*part.behind}:
                self.running[part.token] = min(part.live, part.share)
        assert sum(self.running.values()) <= self.most

    def end(self, token, count):
        part = next(part for part in self.parts if part.token == token)
        self.running[token] = max(0, self.running[token] - count)
        self.parts[self.parts.index(part)] = replace(part, live=max(0, part.live - count))
        self.start()

    def hand_on(self):
        self.parts = [part for part in self.parts if part.live]
        more = {part.token: part for part in handed_on(self.parts, most=self.most)}
        self.parts = [more.get(part.token, part) for part in self.parts]
        self.start()


@given(st.data(), st.integers(1, 6))
def test_no_more_than_max_parallel_run_at_the_same_time_and_nothing_is_left_behind(data, most):
    cluster = Cluster(most)
    for _ in range(data.draw(st.integers(1, 25))):
        there = [part.token for part in cluster.parts if part.live]
        action = data.draw(st.sampled_from(["submit", "end", "hand_on"] if there else ["submit"]))
        if action == "submit":
            cluster.submit(data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4)))
        elif action == "end":  # of a run that has ended, or of many that are cancelled
            cluster.end(data.draw(st.sampled_from(there)), data.draw(st.integers(1, 9)))
        else:
            cluster.hand_on()
            wanted = sum(part.live for part in cluster.parts)
            assert sum(cluster.running.values()) == min(most, wanted)  # nothing idles while runs wait
    while any(part.live for part in cluster.parts):  # and without anybody who hands on, Slurm goes on to the end
        token = next(token for token, count in cluster.running.items() if count)
        cluster.end(token, 1)


def test_arrays_that_are_submitted_together_share_equally():
    cluster = Cluster(7)
    for left in (3, 2, 1):
        cluster.submit(9, left)
    assert [part.share for part in cluster.parts] == [2, 2, 3]


def test_an_array_without_a_share_waits_for_all_before_it_in_the_line():
    cluster = Cluster(1)
    for _ in range(3):
        cluster.submit(2, 1)
    assert [part.behind for part in cluster.parts] == [(), ("0",), ("0", "1")]
    cluster.end("1", 2)  # cancelled: the third still waits for the first
    assert cluster.running == {"0": 1, "1": 0, "2": 0}

"""`reward=remote` and the server of `serve`, over real HTTP: outcomes, limits, back-pressure, clients that go."""

import json
import threading
import time

import httpx2
import pytest

from align_lab.base.errors import RewardError
from align_lab.base.task import Example, Failure, Message, Score, StepScore
from align_lab.rewards.connection import Connection
from align_lab.rewards.remote import Remote
from align_lab.rewards.score_messages import PATH
from align_lab.rewards.service import shown
from align_lab.testing import assert_contract
from tests.rewards.judge_server import Fault, judge_server
from tests.rewards.score_server import score_server

QUICK = Connection(retries=2, longest_wait=0.01, timeout=300.0)
TOKEN = "a-long-secret"


class Lengths:
    """The number of characters; it keeps what it was given."""

    def __init__(self):
        self.calls, self.examples = [], []

    def score(self, examples, completions):
        self.calls.append(list(completions))
        self.examples += examples
        return Score(total=[float(len(text)) for text in completions])


class Held(Lengths):
    """Scores once it is let go."""

    def __init__(self):
        super().__init__()
        self.started, self.go = threading.Event(), threading.Event()

    def score(self, examples, completions):
        self.started.set()
        assert self.go.wait(300)
        return super().score(examples, completions)


def texts(count):
    return ["x" * i for i in range(count)], [Example.of_text(f"prompt {i}") for i in range(count)]


def remote(url, **fields):
    return Remote(**{"url": url, "connection": QUICK, **fields}).load(None)


def body(completions, **changed):
    examples = [{"key": str(i), "prompt": "p"} for i, _ in enumerate(completions)]
    return {"version": 1, "examples": examples, "completions": completions, **changed}


class Everything:
    """Every kind of outcome."""

    def score(self, examples, completions):
        return Score(
            total=[1.5, None, Failure("no <b>answer</b>\x1b[2J" + "x" * 5000), float("nan")],
            parts={"format": [1.0, None, Failure("x"), 0.0], "other": [0.0, 0.0, 0.0, 0.0]},
            steps=[[StepScore(start=0, end=2, score=0.5)], [], [], []],
            answers=["42", None, None, "x"],
        )


def test_every_kind_of_outcome_travels():
    completions, examples = texts(4)
    with score_server(Everything()) as server:
        score = remote(server.url, logged_parts=["format"]).score(examples, completions)
    assert score.total[:2] == [1.5, None]
    assert score.total[2] == Failure("no <b>answer</b> [2J" + "x" * (2000 - 20))
    assert score.total[3] == Failure("the reward returned nan, which is no finite number")
    assert score.parts == {"format": [1.0, None, None, 0.0]}
    assert score.steps == [[StepScore(start=0, end=2, score=0.5)], [], [], []]
    assert score.answers == ["42", None, None, "x"]


def test_examples_arrive_as_they_are():
    conversation = (Message("system", "Be brief."), Message("user", "Why?"))
    sent = [
        Example(key="a", prompt="A text", columns={"answer": 3, "options": ["x", None], "nested": {"deep": 1.5}}),
        Example(key="b", prompt=conversation),
    ]
    scorer = Lengths()
    with score_server(scorer) as server:
        assert remote(server.url).score(sent, ["\ud83c\udfac", "\x00<script>"]).total == [1.0, 9.0]
    assert scorer.examples == sent


def test_completions_are_sent_in_batches_and_come_back_in_order():
    completions, examples = texts(70)
    scorer = Lengths()
    with score_server(scorer) as server:
        score = remote(server.url, batch=32).score(examples, completions)
    # A line is logged once its answer is sent: all of them are there when the server has ended.
    assert sorted(line.split("200 ")[1].split(" ")[0] for line in server.log) == ["32", "32", "6"]
    assert score.total == [float(i) for i in range(70)]
    assert sum(map(len, scorer.calls)) == 70 and max(map(len, scorer.calls)) <= 64


def test_the_contract_of_a_reward():
    with score_server(Lengths()) as server:
        assert_contract("reward", "remote", url=server.url)


def test_only_the_token_opens(monkeypatch):
    monkeypatch.setenv("SCORES", TOKEN)
    monkeypatch.setenv("WRONG", "another-secret")
    completions, examples = texts(2)
    with score_server(Lengths(), token=TOKEN) as server:
        assert remote(server.url, key_env="SCORES").score(examples, completions).total == [0.0, 1.0]
        for key_env, expected in ((None, "wants a key"), ("WRONG", "does not accept the key in the environment")):
            with pytest.raises(RewardError, match=expected) as error:
                remote(server.url, key_env=key_env).score(examples, completions)
            assert "another-secret" not in str(error.value)
        assert httpx2.get(f"{server.url}/health").json()["status"] == "ok"
    assert len(server.log) == 4 and TOKEN not in "".join(server.log)


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_a_request_that_is_too_large_is_refused_unread(chunked):
    scorer = Lengths()
    content = json.dumps(body(["x" * 3000])).encode()
    with score_server(scorer, largest=2048) as server:
        sent = iter([content[:1000], content[1000:]]) if chunked else content
        response = httpx2.post(server.url + PATH, content=sent, headers={"Content-Type": "application/json"})
        assert response.status_code == 413 and "MiB" in response.json()["error"]
        (total,) = remote(server.url).score([Example.of_text("p")], ["x" * 3000]).total
        assert isinstance(total, Failure) and "413" in total.reason
    assert not scorer.calls


@pytest.mark.parametrize(
    ("sent", "status", "expected"),
    [
        ("{", 422, "JSON"),
        ("[]", 422, "body"),
        (json.dumps({"version": 1, "examples": [], "completions": "x"}), 422, "completions"),
        (
            json.dumps(body(["a", "b"], examples=[{"key": "1", "prompt": "p"}])),
            400,
            "1 examples came with 2 completions",
        ),
        (json.dumps(body(["a"], version=2)), 400, "version 2, and this server speaks version 1"),
    ],
)
def test_a_wrong_request_gets_its_reason_as_json(sent, status, expected):
    with score_server(Lengths()) as server:
        response = httpx2.post(server.url + PATH, content=sent, headers={"Content-Type": "application/json"})
        assert (response.status_code, set(response.json())) == (status, {"error"})
        assert expected in response.json()["error"]


def test_a_web_page_cannot_ask():
    """It can send a form or plain text to any address, and can give this machine's address another name."""
    with score_server(Lengths(), hosts=frozenset({"127.0.0.1"})) as server:
        plain = httpx2.post(server.url + PATH, content=json.dumps(body(["a"])), headers={"Content-Type": "text/plain"})
        renamed = httpx2.post(server.url + PATH, json=body(["a"]), headers={"Host": "evil.example:80"})
        assert (plain.status_code, renamed.status_code) == (415, 403)
        assert httpx2.post(server.url + PATH, json=body(["a"])).status_code == 200


def test_a_full_queue_asks_clients_to_wait_and_they_do():
    scorer = Held()
    with score_server(scorer, most=4, batch=4) as server:
        first = threading.Thread(target=lambda: remote(server.url).score(*reversed(texts(3))))
        first.start()
        assert scorer.started.wait(300)
        full = httpx2.post(server.url + PATH, json=body(["a", "b"]))
        assert full.status_code == 503 and int(full.headers["Retry-After"]) >= 1
        assert "too many completions are waiting" in full.json()["error"]
        timer = threading.Timer(0.2, scorer.go.set)
        timer.start()
        assert remote(server.url).score([Example.of_text("p")] * 2, ["a", "bc"]).total == [1.0, 2.0]
        first.join()
        timer.join()


def test_what_a_client_that_has_gone_asked_for_is_not_scored():
    scorer = Held()
    with score_server(scorer) as server:
        first = threading.Thread(target=lambda: remote(server.url).score([Example.of_text("p")], ["first"]))
        first.start()
        assert scorer.started.wait(300)
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(server.url + PATH, json=body(["gone"]), timeout=0.3)
        until = time.monotonic() + 300
        while not any(" 499 " in line or " gone " in line for line in server.log) and time.monotonic() < until:
            time.sleep(0.02)
        scorer.go.set()
        first.join()
        assert remote(server.url).score([Example.of_text("p")], ["after"]).total == [5.0]
    assert scorer.calls == [["first"], ["after"]]


class Fragile(Lengths):
    """Cannot score one text."""

    def score(self, examples, completions):
        if "bad" in completions:
            raise ValueError("this one is bad")
        return super().score(examples, completions)


def test_a_reward_that_raises_fails_for_that_request_alone():
    scorer = Held()
    fragile = Fragile()
    scorer.score, held = (lambda e, c: fragile.score(e, c) if scorer.go.is_set() else held(e, c)), scorer.score
    totals = {}
    with score_server(scorer) as server:

        def ask(text):
            totals[text] = remote(server.url).score([Example.of_text("p")], [text]).total

        threads = [threading.Thread(target=ask, args=(text,)) for text in ("hold", "bad", "good")]
        threads[0].start()
        assert scorer.started.wait(300)
        for thread in threads[1:]:
            thread.start()
        while server.queue.waiting < 3:
            time.sleep(0.005)
        scorer.go.set()
        for thread in threads:
            thread.join()
    assert totals["good"] == [4.0]
    assert totals["bad"] == [Failure("the reward raised ValueError: this one is bad")]


def test_no_line_of_the_log_holds_a_text():
    with score_server(Lengths()) as server:
        remote(server.url).score([Example.of_text("a private prompt")], ["a private completion"])
        httpx2.get(f"{server.url}/a%0Aforged?private=1")
    assert len(server.log) == 2 and "private" not in "".join(server.log) and "\n" not in "".join(server.log)
    assert " POST '/v1/score' 200 1 completions " in server.log[0]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("hello", "which is not JSON"),
        ("[]", "the reward server answered '[]'"),
        ('{"version": 1, "outcomes": [{"score": "3"}]}', "outcomes.0.score"),
        ('{"version": 1, "outcomes": [{"score": NaN}]}', "outcomes.0.score"),
        ('{"version": 1, "outcomes": []}', "returned 0 outcomes for 1 completions"),
    ],
)
def test_a_server_that_answers_nonsense_is_a_failure(answer, expected):
    with judge_server(lambda message: "", key=None) as server:
        scorer = Remote(url=server.url.replace("/v1", "/no"), connection=QUICK)
        with pytest.raises(RewardError, match="answers 404"):
            scorer.load(None).score([Example.of_text("p")], ["x"])
        server.paths = {PATH}
        server.faults = [Fault(200, answer)]
        (total,) = remote(server.url.removesuffix("/v1")).score([Example.of_text("p")], ["x"]).total
    assert isinstance(total, Failure) and expected in total.reason


def test_a_server_of_another_version_is_named():
    with judge_server(lambda message: "", key=None) as server:
        server.paths = {PATH}
        server.faults = [Fault(200, '{"version": 2, "outcomes": []}')]
        with pytest.raises(RewardError, match="answers in version 2, and this side speaks version 1"):
            remote(server.url.removesuffix("/v1")).score([Example.of_text("p")], ["x"])


def test_settings_are_checked_before_anything_starts(monkeypatch):
    monkeypatch.delenv("SCORES", raising=False)
    assert "Set url=http://127.0.0.1:8000" in Remote().problems()[0]
    assert Remote(url="http://node7:8000").problems() == []
    (unset,) = Remote(url="https://node7:8000", key_env="SCORES").problems()
    assert "export SCORES=..." in unset
    monkeypatch.setenv("SCORES", TOKEN)
    (plain,) = Remote(url="http://node7:8000", key_env="SCORES").problems()
    assert "over plain http" in plain and "connection.allow_http=true" in plain


def test_a_long_answer_is_shown_by_its_beginning():
    assert shown("a" * 200) == repr("a" * 200) and shown("a" * 201) == repr("a" * 200) + "..."

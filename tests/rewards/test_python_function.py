"""`reward=python` scores as TRL does, and each way in which a function can go wrong is a failure that says so."""

import gc
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from align_lab.base.errors import ConfigError, RewardError
from align_lab.base.task import Example
from align_lab.rewards.child import CallFailed
from align_lab.rewards.python_file import PythonFile
from align_lab.rewards.scores import check
from tests.rewards.files import chat, score, scorer, write

ONE_BAD = """
    import ctypes, mmap, os, sys, time

    def reward(completions, **columns):
        return [bad(text) if text.startswith("!") else float(len(text)) for text in completions]

    def bad(text):
        {}
"""


def test_prompts_completions_and_columns_arrive_as_lists_of_the_batch(tmp_path):
    one = scorer(
        tmp_path,
        """
        def reward(prompts, completions, answer, level=None, other="default"):
            assert prompts == ["a prompt"] * 2 and level == [[1, 2]] * 2 and other == "default", (prompts, level, other)
            return [float(text == a) for text, a in zip(completions, answer)]
        """,
    )
    assert score(one, "7", "8", answer="7", level=(1, 2)) == [1.0, 0.0]


def test_a_conversation_arrives_as_messages_as_in_trl(tmp_path):
    one = scorer(
        tmp_path,
        """
        def reward(prompts, completions, **columns):
            assert prompts[0] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
            assert completions[0][0]["role"] == "assistant"
            return [len(completion[0]["content"]) for completion in completions]
        """,
    )
    assert one.score([chat("Why?")], ["four"]).total == [4.0]


def test_a_function_may_be_async_and_return_a_tuple_an_array_or_a_generator(tmp_path):
    one = scorer(
        tmp_path,
        """
        import asyncio, numpy
        async def reward(completions, **columns):
            await asyncio.sleep(0.001)
            if len(completions) == 2:
                return numpy.array([0.5, 1.5], dtype=numpy.float32)
            return (None if text == "none" else numpy.int64(len(text)) for text in completions)
        """,
    )
    assert score(one, "a", "b") == [0.5, 1.5]
    assert score(one, "none", "abc", "") == [None, 3.0, 0.0]


def test_a_function_is_named_after_a_colon_and_imports_modules_beside_its_file(tmp_path):
    write(tmp_path, "WEIGHT = 3\n", "my_weights.py")
    source = """
        import my_weights
        def short(completions, **columns): return [0.0 for _ in completions]
        def long(completions, **columns): return [my_weights.WEIGHT * len(text) for text in completions]
    """
    assert score(scorer(tmp_path, source, "long"), "ab") == [6.0]
    names = [path.name for path in PythonFile(file=str(tmp_path / "my_reward.py")).files()]
    assert names == ["my_reward.py", "my_weights.py"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("return {}['x']", "it raised KeyError: 'x'"),
        ("sys.exit(3)", "it called sys.exit(3)"),
        ("os._exit(4)", "its process ended with status 4"),
        ("os.abort()", "its process was ended by SIGABRT"),
        ("ctypes.string_at(0)", "its process was ended by SIGSEGV"),
        ("os.kill(os.getpid(), 9)", "its process was ended by SIGKILL"),
        ("while True: time.sleep(1)", "it had not returned after 3 s and was ended"),
        ("while True: pass", "raise reward.seconds (now 3)"),
        ("return len(b'x' * (30 << 30))", "it raised MemoryError"),
        ("return 'seven'", "the function returned 'seven' (str) for it: a score is a number, or None to abstain"),
        ("return [1.0]", "the function returned [1.0] (list) for it"),
    ],
)
def test_one_completion_that_goes_wrong_fails_alone(tmp_path, line, reason):
    one = scorer(tmp_path, ONE_BAD.format(line), seconds=3 if line.startswith("while") else 300)
    first, bad, last = score(one, "a", "!", "abc")
    assert (first, last) == (1.0, 3.0)
    assert reason in bad
    if not line.startswith(("return '", "return [", "os._exit", "os.kill")):
        assert 'my_reward.py", line 7' in bad
    assert score(one, "again") == [5.0]


def test_memory_that_no_limit_of_the_system_counts_is_watched(tmp_path):
    line = "m = mmap.mmap(-1, 1 << 29); [m.write(bytes(1 << 20)) or time.sleep(0.01) for _ in range(512)]"
    one = scorer(tmp_path, ONE_BAD.format(line), memory_gib=0.25, seconds=300)
    (bad,) = score(one, "!")
    assert "GiB of memory and was ended; the limit is 0.25 GiB" in bad and "raise reward.memory_gib" in bad


def test_memory_of_a_process_that_the_function_starts_counts_as_well(tmp_path):
    line = (
        "import multiprocessing; m = mmap.mmap(-1, 1 << 29); p = multiprocessing.get_context('fork').Process(target="
        "lambda: [m.write(bytes(1 << 20)) or time.sleep(0.01) for _ in range(512)]); p.start(); p.join()"
    )
    one = scorer(tmp_path, ONE_BAD.format(line), memory_gib=0.25, seconds=300)
    (bad,) = score(one, "!")
    assert "GiB of memory and was ended" in bad


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("[1.0]", "the function returned 1 scores for 2 completions: it must return one for each, in their order"),
        ("[1.0] * 3", "the function returned 3 scores for 2 completions"),
        ("None", "the function returned None (NoneType): it must return a list"),
        ("{'score': [1.0, 2.0]}", "(dict): it must return a list with a number or None for each completion"),
        ("'ab'", "the function returned 'ab' (str): it must return a list"),
        ("1.0", "the function returned 1.0 (float): it must return a list"),
    ],
)
def test_a_result_that_is_not_one_score_for_each_is_refused(tmp_path, returned, reason):
    one = scorer(tmp_path, f"def reward(completions): return {returned}\n")
    with pytest.raises(CallFailed) as failed:
        one.child.call({"prompts": ["p", "p"], "completions": ["a", "b"], "columns": {}}, seconds=300)
    assert reason in failed.value.reason


def test_a_function_that_leaves_completions_out_fails_on_these_alone(tmp_path):
    one = scorer(tmp_path, "def reward(completions): return [float(len(text)) for text in completions if text]\n")
    first, left_out, last = score(one, "a", "", "abc")
    assert (first, last) == (1.0, 3.0) and "returned 0 scores for 1 completion: it must" in left_out


def test_a_number_that_is_not_finite_becomes_a_failure_where_scores_are_checked(tmp_path):
    one = scorer(tmp_path, "def reward(completions, **c): return [float(text) for text in completions]\n")
    texts = ["nan", "inf", "2"]
    checked = check(one.score([Example.of_text("p")] * 3, texts), texts)
    assert checked.values == [None, None, 2.0] and "nan, which is no finite number" in checked.failures[0]


def test_everything_that_hangs_takes_a_bounded_time(tmp_path, monkeypatch):
    monkeypatch.setattr("align_lab.rewards.child_scorer.PATIENCE", 3)
    one = scorer(tmp_path, ONE_BAD.format("time.sleep(100)"), seconds=0.4)
    outcomes = score(one, *["!"] * 12)
    assert sum("had not returned after" in reason for reason in outcomes) <= 4
    assert "it was not scored: its batch failed as a whole, and the completions before it took 1.2 s" in outcomes[-1]


def test_batches_are_no_larger_than_asked_for(tmp_path):
    one = scorer(tmp_path, "def reward(completions, **c): return [len(completions)] * len(completions)\n", batch=3)
    assert score(one, *"abcdefg") == [3, 3, 3, 3, 3, 3, 1]


def test_what_the_function_prints_is_shown_up_to_a_limit_and_does_not_disturb_its_answers(tmp_path, capfd):
    before = set(threading.enumerate())  # loading the function starts the thread that shows its output
    one = scorer(
        tmp_path,
        """
        import os, sys
        def reward(completions, **columns):
            print("red \\x1b[31m")
            os.write(2, b"raw\\n")
            for _ in range(20):
                sys.stdout.write("x" * (1 << 20) + "\\n")
            for number in range(100):
                print(number)
            return [1.0 for _ in completions]
        """,
    )
    assert score(one, "a") == [1.0]
    one.child.close()
    for thread in set(threading.enumerate()) - before:
        thread.join()  # a look while it writes would lose what it writes: capfd reads, then truncates
    shown = capfd.readouterr().err
    assert "my_reward.py: red \\x1b[31m" in shown and "my_reward.py: raw" in shown
    assert len(shown) < 20_000 and "\x1b" not in shown
    assert "more than 50 lines" in shown


def test_large_and_unusual_texts_pass_through(tmp_path):
    one = scorer(tmp_path, "def reward(completions, **c): return [float(len(t)) for t in completions]\n")
    texts = ["x" * 3_000_000, "\x00\x1b[31m<script>", "\ud800 lone", "これ 🎬"]
    assert score(one, *texts) == [float(len(text)) for text in texts]


def test_a_file_that_cannot_be_imported_ends_the_run_before_it_starts_with_the_line(tmp_path):
    with pytest.raises(RewardError) as error:
        scorer(tmp_path, "import no_such_module\ndef reward(completions): return []\n")
    assert "cannot be loaded: it raised ModuleNotFoundError: No module named 'no_such_module'" in str(error.value)
    assert 'my_reward.py", line 1' in str(error.value) and "Repair the file" in str(error.value)


def test_a_file_that_changes_is_not_mixed_into_a_run_when_its_process_is_started_again(tmp_path):
    one = scorer(tmp_path, ONE_BAD.format("os._exit(1)"))
    write(tmp_path, ONE_BAD.format("return 1.0"))
    assert score(one, "ab") == [2.0]  # the process still has the first one
    with pytest.raises(RewardError, match="changed while the run was using it"):
        score(one, "ab", "!")


def test_a_column_that_the_data_lacks_is_named(tmp_path):
    one = scorer(tmp_path, "def reward(completions, answr): return [0.0 for _ in completions]\n")
    with pytest.raises(RewardError, match="reward needs a column 'answr', which the data lacks: did you mean 'answer'"):
        score(one, "a", answer="7")


def test_a_column_that_cannot_be_passed_on_is_named(tmp_path):
    one = scorer(tmp_path, "def reward(completions, **c): return [0.0 for _ in completions]\n")
    with pytest.raises(RewardError, match="the column 'thing' of the example .* holds a object"):
        score(one, "a", thing=object())


@pytest.mark.parametrize(
    ("source", "function", "message"),
    [
        (None, "", "there is no file my_reward.py in"),
        ("def reward(completions:\n", "", "my_reward.py, line 1: '(' was never closed: def reward(completions:"),
        ("x = 1\n", "", "my_reward.py has no function. Write one, for example 'def reward("),
        ("def _private(completions): pass\n", "", "my_reward.py has no function"),
        ("def one(completions): pass\ndef two(completions): pass\n", "", "several functions (one, two). Name one: "),
        ("def reward(completions): pass\n", "rewrad", "no function rewrad: did you mean 'reward'?"),
        ("def reward(text): pass\n", "", "reward (line 1) takes neither prompts nor completions"),
        ("def reward(prompt, completion, **c): pass\n", "", "(line 1) takes prompt and completion, for one completion"),
        ("def reward(completion, answer): pass\n", "", "it is given the list completions and returns a list"),
        ("def reward(completions, /): pass\n", "", "has parameters before a '/'"),
        ("def reward(completions, trainer_state): pass\n", "", "needs trainer_state, which TRL passes"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_runs(tmp_path, source, function, message):
    path = tmp_path / "my_reward.py"
    if source is not None:
        path.write_text(source)
    reward = PythonFile(file=f"{path}:{function}" if function else str(path))
    (problem,) = reward.problems()
    assert problem.startswith(f"reward.file={path}") and message in problem
    with pytest.raises(ConfigError):
        reward.load(None)


@pytest.mark.parametrize(
    "source",
    [
        "from math import sqrt as reward\n",
        "reward = lambda completions, **c: [1.0 for _ in completions]\n",
        "def helper(x): pass\ndef score(completions, **c): pass\n",
        "import functools\n@functools.cache\ndef reward(x, y): pass\n",
    ],
)
def test_what_the_source_does_not_show_is_left_to_the_process(tmp_path, source):
    path = write(tmp_path, source)
    assert not PythonFile(file=f"{path}:reward" if "reward" in source else str(path)).problems()


def test_the_child_imports_no_torch_and_ends_with_its_parent(tmp_path):
    one = scorer(
        tmp_path,
        """
        import os, sys
        def reward(completions, **columns):
            return [float("torch" in sys.modules), float(os.environ["PYTHONHASHSEED"]), os.getpid()]
        """,
    )
    torch, seed, pid = score(one, "a", "b", "c")
    assert (torch, seed) == (0.0, 0.0) and _runs(int(pid))
    del one
    gc.collect()
    assert not _runs(int(pid))
    script = """
        import os, sys
        from tests.rewards.files import score
        from align_lab.rewards.python_file import PythonFile
        one = PythonFile(file=sys.argv[1], seconds=600).load(None)
        print(int(score(one, "a", "b", "c")[2]), flush=True)
        os.kill(os.getpid(), 9)
    """
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "my_reward.py")], capture_output=True, text=True
    )
    assert killed.returncode == -9, killed.stderr
    assert _gone(int(killed.stdout))


def test_what_the_function_has_started_ends_with_the_run(tmp_path):
    """Code of a completion that does not end, for example, while the run is killed."""
    scorer(
        tmp_path,
        """
        import subprocess, sys
        def reward(completions, **columns):
            code = "import time; time.sleep(3600)"
            return [subprocess.Popen([sys.executable, "-c", code]).pid for _ in completions]
        """,
    )
    script = """
        import os, sys
        from tests.rewards.files import score
        from align_lab.rewards.python_file import PythonFile
        one = PythonFile(file=sys.argv[1], seconds=600).load(None)
        print(int(score(one, "a")[0]), flush=True)
        os.kill(os.getpid(), 9)
    """
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "my_reward.py")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert killed.returncode == -9 and _gone(int(killed.stdout))


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _gone(pid):
    end = time.monotonic() + 300
    while _runs(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not _runs(pid)

"""The runner as a plain function: how programs end, what of theirs is kept, and that nothing outlives them."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from hawkops.scripts import runner
from hawkops.scripts.models import State
from hawkops.scripts.runner import Line, Outcome, environment_for, masked, run_program


def run(
    tmp_path: Path,
    text: str,
    *,
    seconds: float = 20,
    go_on: bool = True,
    env: dict[str, str] | None = None,
    shell: str = "/bin/bash",
    cpu_seconds: int = 0,
    memory_bytes: int = 2_000_000_000,
) -> tuple[Outcome, list[Line]]:
    """Run a script and return how it ended and what it said."""
    program = tmp_path / "program.sh"
    program.write_text(f"#!{shell}\n{text}\n")
    program.chmod(0o755)
    lines: list[Line] = []
    outcome = run_program(
        [str(program)],
        env=environment_for(env or {}),
        cwd=tmp_path,
        timeout_seconds=seconds,
        memory_bytes=memory_bytes,
        cpu_seconds=cpu_seconds,
        on_lines=lines.extend,
        on_heartbeat=lambda: go_on,
        secrets=frozenset({"s3cret-value"}),
    )
    return outcome, lines


def alive(pid: int) -> bool:
    """Whether a process still runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("status,state", [(0, State.PASSED), (77, State.NO_DATA), (1, State.FAILED), (3, State.FAILED)])
def test_run_program__exit_status__is_the_verdict(tmp_path: Path, status: int, state: State) -> None:
    outcome, lines = run(tmp_path, f"echo 268; echo reason >&2; exit {status}")
    assert (outcome.state, outcome.exit_code) == (state, status)
    assert {(stream, text) for _, _, stream, text in lines} == {("stdout", "268"), ("stderr", "reason")}


@pytest.mark.parametrize("text", ["echo why >&2; sleep 0.5; echo 268", "echo 268; sleep 0.5; echo why >&2"])
def test_run_program__number_and_sentence__the_sentence_sums_it_up(tmp_path: Path, text: str) -> None:
    outcome, _ = run(tmp_path, text)
    assert outcome.summary == "why"


def test_run_program__a_number_alone__sums_it_up(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, "echo 268")
    assert outcome.summary == "268"


def test_run_program__killed_by_a_signal__fails(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, "kill -SEGV $$")
    assert outcome.state is State.FAILED
    assert outcome.exit_code == 128 + signal.SIGSEGV


def test_run_program__results__are_read_and_broken_lines_left_out(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, """echo '{"name": "m", "value": 3}' >> $HAWKOPS_RESULT; echo 'x{' >> $HAWKOPS_RESULT""")
    assert outcome.results == [{"name": "m", "value": 3}]


NUMBERS = [
    ('{"name": "x", "value": NaN}', "line 1 holds NaN, which is no number"),
    ('{"name": "x", "value": 1e999}', "line 1 holds a number too large to keep"),
    ('{"name": "x", "more": [' + "9" * 400 + "]}", "line 1 holds a number too large to keep"),
    ('{"value": 1}', "line 1 has no name"),
    ("[1]", "line 1 is no JSON object"),
    ("[" * 100_000, "line 1 is nested too deep"),
]


@pytest.mark.parametrize(("line", "said"), NUMBERS)
def test_results__what_cannot_be_kept__is_left_out_and_said(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "junk").write_text(f'{line}\n{{"name": "m", "value": 3}}\n')
    outcome, lines = run(tmp_path, "cat junk > $HAWKOPS_RESULT; echo Measured.")
    assert outcome.results == [{"name": "m", "value": 3}]
    assert (outcome.state, outcome.summary) == (State.PASSED, "Measured.")
    assert lines[-1][2:] == ("stderr", f"1 left out of the result file: {said}.")


def test_results__text_that_no_database_keeps__is_replaced(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, r"""echo '{"name": "m\u0000", "\ud800": "\udfff"}' > $HAWKOPS_RESULT""")
    assert outcome.results == [{"name": "m\ufffd", "?": "?"}]


@pytest.mark.parametrize(
    ("text", "said", "kept"),
    [
        ("rm $HAWKOPS_RESULT", "can't be read (No such file or directory)", 0),
        ("rm $HAWKOPS_RESULT; mkfifo $HAWKOPS_RESULT", "can't be read (it is no plain file)", 0),
        ("rm $HAWKOPS_RESULT; ln -s /etc/passwd $HAWKOPS_RESULT", "can't be read", 0),
        (
            """for n in 1 2 3; do printf '{"name": "m", "v": "%0999999d"}\n' 1; done > $HAWKOPS_RESULT""",
            "longer than 2 MB",
            1,
        ),
    ],
)
def test_results__file_gone_or_too_long__is_said(tmp_path: Path, text: str, said: str, kept: int) -> None:
    outcome, lines = run(tmp_path, f"{text}; echo Measured.")
    assert said in lines[-1][3]
    assert (outcome.state, outcome.summary, len(outcome.results)) == (State.PASSED, "Measured.", kept)


def test_run_program__time_limit__ends_the_whole_group(tmp_path: Path) -> None:
    started = time.monotonic()
    outcome, lines = run(tmp_path, "trap '' TERM; sleep 60 & echo $!; wait", seconds=1)
    assert outcome.state is State.TIMED_OUT
    assert time.monotonic() - started < 15
    assert not alive(int(lines[0][3]))


def test_run_program__cancelled__ends_at_the_next_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hawkops.scripts.runner.HEARTBEAT_SECONDS", 0.3)
    outcome, _ = run(tmp_path, "sleep 60", go_on=False)
    assert outcome.state is State.CANCELLED


def test_run_program__missing_program__is_an_error_in_words(tmp_path: Path) -> None:
    outcome = run_program(
        [str(tmp_path / "nope.sh")],
        env=environment_for({}),
        cwd=tmp_path,
        timeout_seconds=5,
        memory_bytes=1_000_000_000,
        on_lines=lambda lines: None,
        on_heartbeat=lambda: True,
    )
    assert (outcome.state, outcome.exit_code) == (State.ERROR, None)
    assert outcome.summary.endswith("nope.sh could not be started: No such file or directory.")


def test_run_program__no_interpreter__is_an_error_and_a_status_of_127_is_not(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, "echo hi", shell="/no/such")
    assert outcome.state is State.ERROR
    outcome, _ = run(tmp_path, "exit 127")
    assert (outcome.state, outcome.exit_code) == (State.FAILED, 127)


def test_output__colours_and_bad_bytes_and_no_newline__are_readable(tmp_path: Path) -> None:
    _, lines = run(
        tmp_path, r"""printf '\033[31mred\033[0m\n'; printf '10%%\r20%%\r30%%\n'; printf '\xff\xfe!\n'; printf end"""
    )
    assert [text for _, _, _, text in lines] == ["red", "30%", "\ufffd\ufffd!", "end"]


def test_output__a_flood__is_cut_with_a_line_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hawkops.scripts.runner.OUTPUT_LINES_MOST", 100)
    _, lines = run(tmp_path, "seq 1 50000")
    texts = [text for _, _, _, text in lines]
    assert texts[:100] == [str(number) for number in range(1, 101)]
    assert "cut after 100 lines" in texts[100]
    assert texts[-1] == "50000"
    assert [number for number, *_ in lines] == list(range(1, len(lines) + 1))


def test_output__secrets__are_masked(tmp_path: Path) -> None:
    _, lines = run(
        tmp_path, "echo value s3cret-value; echo key hk_demo_abcdefghijklmnopqrstuvwx; echo password=hunter2"
    )
    assert [text for _, _, _, text in lines] == ["value •••", "key hk_demo_abcdefgh•••", "password=•••"]
    assert masked("Authorization: Bearer abc") == "Authorization: Bearer •••"


def test_environment__ours__does_not_leak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    _, lines = run(tmp_path, "env", env={"HAWKOPS_ENVIRONMENT": "demo"})
    names = {text.partition("=")[0] for _, _, _, text in lines}
    assert "HAWKOPS_ENVIRONMENT" in names
    assert not names & {"AWS_SECRET_ACCESS_KEY", "SECRET_KEY", "DATABASE_URL"}


# ---- under stress ----


def python(tmp_path: Path, text: str, **more: float) -> tuple[Outcome, list[Line]]:
    """Run a Python script, which can write bytes as it likes."""
    return run(tmp_path, f"import os, sys, time\n{text}", shell=sys.executable, **more)  # type: ignore[arg-type]


def test_output__many_lines_at_the_very_end__are_all_kept(tmp_path: Path) -> None:
    _, lines = run(tmp_path, "seq 1 15000")
    assert [text for _, _, _, text in lines] == [str(number) for number in range(1, 15_001)]


def test_output__100_mb_without_a_newline__is_bounded_in_lines_and_memory(tmp_path: Path) -> None:
    outcome, lines = python(tmp_path, "for _ in range(1600): os.write(1, b'x' * 65536)", seconds=60)
    assert outcome.state is State.PASSED
    assert max(len(text) for _, _, _, text in lines) <= runner.LINE_CHARACTERS_MOST
    assert sum(len(text) for _, _, _, text in lines) < runner.OUTPUT_CHARACTERS_MOST + 100_000
    assert any("Output is cut" in text for _, _, _, text in lines)


def test_output__100_mb_of_lines__ends_with_its_last_words(tmp_path: Path) -> None:
    outcome, lines = python(
        tmp_path,
        "for _ in range(1600): os.write(1, b'y\\n' * 32768)\nprint('disk is full', file=sys.stderr)\nsys.exit(1)",
        seconds=120,
    )
    assert (outcome.state, outcome.summary) == (State.FAILED, "disk is full")
    assert len(lines) < runner.OUTPUT_LINES_MOST + 100


def test_output__carriage_returns__leave_what_a_terminal_would_show(tmp_path: Path) -> None:
    _, lines = python(
        tmp_path,
        "os.write(1, b'windows line\\r\\n')\n"
        "for n in range(3000): os.write(1, b'progress %d\\r' % n)\n"
        "os.write(1, b'done\\n')",
    )
    assert [text for _, _, _, text in lines] == ["windows line", "done"]


def test_output__colours_and_letters_split_across_writes__are_whole(tmp_path: Path) -> None:
    writes = r"""
for part in (b"\x1b[3", b"1mre", b"d\x1b", b"[0m \xe2", b"\x82", b"\xac\n", b"\x1b]0;title", b"\x07\x08ok\n"):
    os.write(1, part); time.sleep(0.05)
"""
    _, lines = python(tmp_path, writes)
    assert [text for _, _, _, text in lines] == ["red €", "ok"]


@pytest.mark.parametrize("before", [0, 3_990, 6_040, 6_100, 65_530])
def test_output__secret_split_across_writes_and_without_newline__is_masked(tmp_path: Path, before: int) -> None:
    writes = f"""
os.write(1, b"x" * {before} + b"s3cret"); time.sleep(0.3)
os.write(1, b"-value" + b"x" * 9000 + b"s3cre"); time.sleep(0.3)
os.write(1, b"t-val"); time.sleep(0.3)
os.write(1, b"ue")
"""
    _, lines = python(tmp_path, writes)
    said = "".join(text for _, _, _, text in lines)
    assert said == "x" * before + "•••" + "x" * 9000 + "•••"


def test_output__secret_behind_the_cut__is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hawkops.scripts.runner.OUTPUT_LINES_MOST", 10)
    _, lines = run(tmp_path, "seq 1 5000; echo s3cret-value; echo token=abcdef")
    said = [text for _, _, _, text in lines]
    assert said[-2:] == ["•••", "token=•••"]


def test_results__secrets__are_masked(tmp_path: Path) -> None:
    outcome, _ = run(
        tmp_path, """echo '{"name": "m", "note": "is s3cret-value", "more": ["password=x"]}' >> $HAWKOPS_RESULT"""
    )
    assert outcome.results == [{"name": "m", "note": "is •••", "more": ["password=•••"]}]


def test_limits__processor_time__ends_it_and_says_so(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, "echo begins; while :; do :; done", cpu_seconds=1, seconds=60)
    assert (outcome.state, outcome.summary) == (State.FAILED, "Used up its 1 s of processor time.")


def test_limits__memory__refuses_more(tmp_path: Path) -> None:
    outcome, lines = python(tmp_path, "b = bytearray(500_000_000)", memory_bytes=300_000_000)
    assert outcome.state is State.FAILED
    assert "MemoryError" in lines[-1][3]


def test_limits__size_of_a_file__ends_it_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hawkops.scripts.runner.FILE_BYTES", 1_000_000)
    outcome, _ = run(tmp_path, "exec head -c 5000000 /dev/zero > big")
    assert outcome.state is State.FAILED
    assert outcome.summary == "Wrote a file of more than 1 MB, its limit."
    assert (tmp_path / "big").stat().st_size <= 1_000_000


@pytest.mark.parametrize("ends", ["wait", "exit 0"])
def test_run_program__child_that_left_the_group__does_not_outlive_it(tmp_path: Path, ends: str) -> None:
    escaped = "setsid sh -c 'echo $$; exec sleep 300' & sleep 0.5"
    outcome, lines = run(tmp_path, f"{escaped}; {ends}", seconds=2)
    assert outcome.state is (State.PASSED if ends == "exit 0" else State.TIMED_OUT)
    assert not alive(int(lines[0][3]))


def test_run_program__told_to_end__may_still_say_why(tmp_path: Path) -> None:
    outcome, lines = run(tmp_path, "trap 'echo tidied up; exit 3' TERM; sleep 60 & wait", seconds=1)
    assert outcome.state is State.TIMED_OUT
    assert lines[-1][3] == "tidied up"

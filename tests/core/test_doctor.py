"""`manage.py doctor` names what is wrong, and is not held up by what is away."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from hawkops.vitals import registry
from tests.core.pooler import pooler
from tests.installation import free_ports

pytestmark = pytest.mark.fresh_database


@pytest.fixture
def asked(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[int, dict[str, Any]]]:
    """Ask, and give the exit status and each line by its title."""
    settings.DATA = tmp_path
    settings.CONSOLE_URL = settings.GATEWAY_URL = f"http://127.0.0.1:{free_ports(1)[0]}"
    # the tests' server is none that keeps what it has acknowledged, which its own test below says
    monkeypatch.setattr(registry, "_readings", {})

    def ask() -> tuple[int, dict[str, Any]]:
        written, status = io.StringIO(), 0
        try:
            call_command("doctor", "--json", stdout=written)
        except SystemExit as end:
            status = int(str(end.code))
        return status, {one["title"]: one for one in json.loads(written.getvalue())}

    return ask


def test_doctor__nothing_runs__asks_each_part_directly_and_says_what_is_wrong(asked: Any) -> None:
    status, found = asked()
    assert status == 1
    for title in (
        "PostgreSQL",
        "LISTEN",
        "Migrations",
        "Clock",
        "Connections",
        "Two roles",
        "Broker",
        "Eviction",
        "Disk",
    ):
        assert found[title]["outcome"] == "pass", found[title]
    # true of this server: tests keep nothing
    assert found["Durability"]["outcome"] == "fail" and "fsync" in found["Durability"]["sentence"]
    for door in ("Console", "Gateway"):
        assert found[door]["outcome"] == "fail" and "does not answer" in found[door]["sentence"]
    assert found["Backup"]["outcome"] == found["Mail"]["outcome"] == "no_data"


def test_doctor__database_and_broker_away__says_so_and_asks_the_rest(asked: Any, settings: Any) -> None:
    port = free_ports(1)[0]
    settings.DATABASE_URL, settings.REDIS_URL = f"postgresql://x@127.0.0.1:{port}/x", f"redis://127.0.0.1:{port}/0"
    status, found = asked()
    assert status == 1
    assert found["PostgreSQL"]["outcome"] == found["Broker"]["outcome"] == "fail"
    assert {"Disk", "Mail", "Console", "Witness"} <= found.keys()


def test_doctor__weaknesses_of_an_installation__are_named(asked: Any, settings: Any, tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("x")
    (tmp_path / "secret.key").chmod(0o644)
    settings.HISTORY_SIGNING_KEY = "no key"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", free_ports(1)[0]
    with pooler(settings.DATABASE_URL) as settings.DATABASE_URL:
        _, found = asked()
    for title, word in (
        ("secret.key", "chmod 600"),
        ("Signing key", "PEM"),
        ("Mail", "does not answer"),
        ("LISTEN", "direct connection"),
    ):
        assert found[title]["outcome"] == "fail" and word in found[title]["sentence"], found[title]


def test_doctor__signs_of_life__are_those_of_the_platform_page(asked: Any) -> None:
    def late(_now: object) -> Any:
        yield registry.at_most("x", "Beat", 99.0, 60.0, unit="s", sentence="Late.", advice="Start beat.")
        yield registry.at_most("y", "Never", None, 60.0, unit="s", sentence="Never.", advice="Wait.")

    registry.register("x", late)
    _, found = asked()
    assert found["Beat"]["outcome"] == "fail" and found["Beat"]["sentence"] == "Late. Start beat."
    assert found["Never"]["outcome"] == "no_data"

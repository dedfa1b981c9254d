"""How requests come in: through proxies that are named, and under names that are ours."""

from typing import Any

import pytest
from django.test import Client

from hawkops.asgi import Console
from hawkops.serve import configured
from tests import apart


def seen(client: str, *, door: str = "console", **headers: str) -> tuple[str, str]:
    """What an application hears of a request: where it comes from, and by which way."""
    heard: dict[str, Any] = {}

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        heard.update(scope)

    config = configured(application, door, "127.0.0.1", 0)
    config.load()
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "scheme": "http", "client": (client, 1234), "headers": sent}
    apart.run(config.loaded_app(scope, None, None))
    return heard["client"][0], heard["scheme"]


def test_forwarded__from_a_named_proxy__is_believed_and_from_nobody_else(settings: Any) -> None:
    said = {"x_forwarded_for": "203.0.113.9", "x_forwarded_proto": "https"}
    settings.TRUSTED_PROXIES = ["10.0.0.0/24", "192.0.2.1"]
    assert seen("10.0.0.7", **said) == ("203.0.113.9", "https")
    assert seen("192.0.2.1", **said) == ("203.0.113.9", "https")
    assert seen("192.0.2.2", **said) == ("192.0.2.2", "http")
    # of a chain, what the outermost of our proxies saw
    assert seen("10.0.0.7", x_forwarded_for="1.1.1.1, 203.0.113.9, 10.0.0.8")[0] == "203.0.113.9"
    assert seen("10.0.0.7", door="gateway", **said) == ("10.0.0.7", "http")
    settings.TRUSTED_PROXIES = []
    assert seen("127.0.0.1", **said) == ("127.0.0.1", "http"), "nobody is named"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/login", "/healthz", "/api/v1/demo/flags"])
def test_hosts__that_are_not_ours__are_refused(path: str, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["hawkops.example", "localhost"]
    for host in ("evil.example", "hawkops.example.evil.example", "localhost@evil.example", ""):
        assert Client().get(path, headers={"Host": host}).status_code == 400, host
    answer = Client().get(path, headers={"Host": "hawkops.example", "X-Forwarded-Host": "evil.example"})
    assert answer.status_code != 400
    assert b"evil.example" not in answer.content


def test_live__under_a_name_that_is_not_ours__is_refused(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["hawkops.example"]
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    console = Console()
    for host, status in ((b"evil.example", 400), (b"", 400), (b"hawkops.example:8000", 401)):
        sent.clear()
        scope = {"type": "http", "method": "GET", "path": "/live", "headers": [(b"host", host)]}
        apart.run(console(scope, None, send))
        assert sent[0]["status"] == status, host

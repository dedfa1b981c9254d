"""Sinks, and channels to them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hawkops.core.environments import Environment
from hawkops.history.actors import Actor
from incidents.domain.routing import Topic
from incidents.models import Channel
from incidents.services import channels as services
from incidents.services.channels import Rules
from incidents.services.dispatching import dispatch_all
from monitoring.domain.criteria import Severity
from tests.incidents.sinks import Mail, Sink, http_sink, mail_sink

SYSTEM = Actor.system("test")
ALL = Rules(list(Topic), list(Severity))
MakeChannel = Callable[..., Channel]


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    """An HTTP server on this machine, and leave to call it."""
    monkeypatch.setenv("OUTBOUND_PRIVATE", "1")
    with http_sink() as found:
        yield found


@pytest.fixture
def mail(settings: Any) -> Iterator[Mail]:
    """A mail server on this machine, which the settings name."""
    with mail_sink() as found:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", found.port
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        yield found


@pytest.fixture
def make(request: pytest.FixtureRequest, settings: Any) -> MakeChannel:
    """Make a channel: `make("slack")`. What happened before is nobody's news."""
    services.routes_seed(actor=SYSTEM)

    def channel(kind: str = "slack", **given: Any) -> Channel:
        known: dict[str, Any] = {
            "environment": Environment.STAGING.value,
            "name": f"#{kind}",
            "rules": ALL,
            "actor": SYSTEM,
        }
        if "address" not in given:
            known["address"] = _address(kind, request, settings)
        made, _ = services.channel_create(kind=kind, **{**known, **given})
        dispatch_all()
        return made

    return channel


def _address(kind: str, request: pytest.FixtureRequest, settings: Any) -> str:
    if kind == "email":
        return "team@example.com"
    url: str = request.getfixturevalue("sink").url
    if kind == "pagerduty":
        settings.PAGERDUTY_URL = url
        return "R" * 32
    if kind == "apprise":
        return url.replace("http://", "json://") + "/apprise-secret"
    return f"{url}/services/T000/B000/s3cretpath"

"""A site of three pages around the real templates, styles and scripts, with a live stream that the test holds in its
hand: it counts who listens, speaks, falls silent and hangs up. No database behind it.
"""

import contextlib
import json
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.conf import settings
from django.contrib.messages import constants
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.test import override_settings
from django.urls import include, path
from django.utils.functional import SimpleLazyObject

from hawkops.core import charts, clock
from tests.look.test_charts import example

STRIP = {
    "exposure": {"headline": "15 % · 1 262 devices", "detail": "2.4.0, phase 3 of 4", "url": "#"},
    "gates": {"headline": "11 of 19 boxes", "detail": "8 open before production", "url": "#"},
    "devices": {"headline": "8 412 devices", "detail": "5 000 simulated", "url": "#"},
    "alerts": {"active": False, "headline": "No alert fires", "detail": "2 known", "url": "#"},
    "oncall": {"ok": True, "active": False, "headline": "On call: ana", "detail": "for 2 d more", "url": "#"},
    "platform": {"ok": True, "headline": "Platform healthy", "detail": "Ingest 1.2 s, queue 0.3 s", "url": "#"},
    "incident": {"active": False, "headline": "", "detail": "", "url": "#"},
    "kill": {"active": False, "headline": "", "detail": "", "url": "#"},
    "lockdown": {"active": False, "headline": "", "detail": "", "url": "#"},
}
ENVIRONMENTS = [{"name": name, "url": f"/{name}/"} for name in ("production", "staging", "demo")]


class Stage:
    """What the test says to the site, and what the site has seen."""

    def __init__(self) -> None:
        self.listeners: list[queue.Queue[str | None]] = []
        self.streams_opened = 0
        self.asked: list[str] = []
        self.count = 0
        self.refuse_charts = False
        self.slow_seconds = 0.0
        self.signed_out = False
        self.chart: dict[str, Any] = charts.figure(example())

    def say(self, topic: str, environment: str = "demo", **fields: Any) -> None:
        """Announce an event on every open stream."""
        for listener in list(self.listeners):
            listener.put(json.dumps({"topic": topic, "environment": environment, **fields}))

    def hang_up(self) -> None:
        """End every open stream, as a restart does."""
        for listener in list(self.listeners):
            listener.put(None)


STAGE = Stage()


def context(environment: str) -> dict[str, Any]:
    """Give what the roof's context processor gives."""
    return {
        "environment": environment,
        "environments": ENVIRONMENTS,
        "strip": STRIP,
        "nav": "monitoring",
        "count": STAGE.count,
        "now": clock.now(),
        "census": {"active": 318, "obeyed": 296, "pending": 15, "unreachable": 7, "reached": 311},
        "user": SimpleLazyObject(lambda: type("Person", (), {"username": "release-lead"})()),
        "DEFAULT_MESSAGE_LEVELS": constants.DEFAULT_LEVELS,
    }


def page(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the part that counts, a chart and a form."""
    if STAGE.signed_out:
        return redirect("/plain")
    part = request.GET.get("part")
    STAGE.asked.append(f"part:{part}" if part else "page")
    count = STAGE.count
    if part:
        time.sleep(STAGE.slow_seconds)
    template = f"look/page.html#{part}" if part else "look/page.html"
    return render(request, template, {**context(environment), "count": count})


def strip(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the strip alone."""
    STAGE.asked.append("strip")
    return render(request, "parts/strip.html", context(environment))


def figure(request: HttpRequest, environment: str) -> HttpResponse:
    """Answer with the figure that the test chose."""
    STAGE.asked.append("figure")
    if STAGE.refuse_charts:
        return JsonResponse({}, status=503)
    return charts.respond(STAGE.chart)


def empty(request: HttpRequest, environment: str) -> HttpResponse:
    """Show any other page."""
    name = "look/page.html#census" if request.GET.get("part") else "look/page.html"
    return render(request, name, {**context(environment), "elsewhere": True})


def plain(request: HttpRequest) -> HttpResponse:
    """Show a page from before signing in."""
    return render(request, "404.html", {"messages": []})


def app(name: str, *pages: str) -> Any:
    """Give an app's pages the addresses and names that the navigation links to."""
    return path("<str:environment>/", include(([path(f"{name}/{page}", empty, name=page) for page in pages], name)))


urlpatterns = [
    path("plain", plain),
    path("<str:environment>/", page, name="overview"),
    path("<str:environment>/strip", strip, name="strip"),
    path("<str:environment>/figure", figure, name="figure"),
    path("<str:environment>/emergency", empty),
    path("<str:environment>/flags", empty),
    app("rollout", "releases", "runbooks", "proposals", "flags"),
    app("scripts", "catalogue"),
    app("monitoring", "production", "litert", "analytics", "security", "alerts", "health", "patterns", "connect"),
    app("incidents", "emergency", "incidents", "escalations", "oncall", "notifications", "troubleshooting"),
    app("history", "entries"),
    path("pf/<str:environment>", empty, name="platform"),
    path(
        "", include(([path("p/<str:environment>", empty, name="people"), path("p", plain, name="profile")], "accounts"))
    ),
]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output free of requests."""


class _Threaded(ThreadingMixIn, WSGIServer):
    # its end waits for requests under way: one that outlives the site would fill Django's caches from other settings
    daemon_threads = False
    request_queue_size = 64


def _live(start_response: Any) -> Iterable[bytes]:
    listener: queue.Queue[str | None] = queue.Queue()
    STAGE.listeners.append(listener)
    STAGE.streams_opened += 1
    start_response("200 OK", [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")])
    try:
        yield b"retry: 200\n\n"
        while True:
            try:
                data = listener.get(timeout=0.1)
            except queue.Empty:
                yield b": still here\n\n"
                continue
            if data is None:
                return
            yield f"data: {data}\n\n".encode()
    finally:
        STAGE.listeners.remove(listener)


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """Serve the site on a free port and give its address."""
    usual: dict[str, Any] = settings.TEMPLATES[0]
    templates = [
        {
            **usual,
            "DIRS": [settings.ROOT / "templates", settings.ROOT / "tests" / "look" / "templates"],
            "OPTIONS": {**usual["OPTIONS"], "context_processors": []},
        }
    ]
    middleware = [
        "whitenoise.middleware.WhiteNoiseMiddleware",
        "csp.middleware.CSPMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ]
    storages = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    with override_settings(
        ROOT_URLCONF="tests.look.site",
        TEMPLATES=templates,
        MIDDLEWARE=middleware,
        STORAGES=storages,
        WHITENOISE_USE_FINDERS=True,
        WHITENOISE_AUTOREFRESH=True,
    ):
        django = get_wsgi_application()

        def site(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            return _live(start_response) if environ["PATH_INFO"] == "/live" else django(environ, start_response)

        server = make_server("127.0.0.1", 0, site, server_class=_Threaded, handler_class=_Quiet)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            STAGE.hang_up()
            server.shutdown()
            server.server_close()

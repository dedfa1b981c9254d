"""`python -m hawkops.serve console|gateway`: one process behind one port."""

import argparse
import gc
import socket
from importlib import import_module
from typing import Any

import uvicorn
from django.conf import settings

from hawkops.core import logs

APPLICATIONS = {"console": "hawkops.asgi:application", "gateway": "hawkops.gateway:application"}


def main() -> None:
    """Serve until told to end; open streams are cut after two seconds."""
    parser = argparse.ArgumentParser(prog="python -m hawkops.serve", description="Serve the console or the gateway.")
    parser.add_argument("door", choices=sorted(APPLICATIONS))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    logs.process_named(options.door)
    module, _, name = APPLICATIONS[options.door].partition(":")
    application = getattr(import_module(module), name)
    # What stands after start-up stays: the collector needn't walk through it again and again.
    gc.collect()
    gc.freeze()
    # Payloads under way are many small objects that all die soon: a larger first threshold lets most die uncounted.
    gc.set_threshold(200_000, 20, 20)
    _Server(configured(application, options.door, options.host, options.port), application).run()


def configured(application: Any, door: str, host: str, port: int) -> uvicorn.Config:
    """Say how a door is served."""
    return uvicorn.Config(
        application,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        # as Django's settings have it
        log_config=None,
        timeout_graceful_shutdown=2,
        server_header=False,
        # devices' addresses are nobody's business, and the middleware costs every request
        proxy_headers=door == "console" and bool(settings.TRUSTED_PROXIES),
        forwarded_allow_ips=settings.TRUSTED_PROXIES,
        backlog=2048,
    )


class _Server(uvicorn.Server):
    """Ends open streams first: they would otherwise be cut in the middle when the grace period is over."""

    def __init__(self, config: uvicorn.Config, application: Any) -> None:
        super().__init__(config)
        self._application = application

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close streams, then what uvicorn does."""
        self._application.close_streams()
        await super().shutdown(sockets)


if __name__ == "__main__":
    main()

"""`python -m hawkops.serve console|gateway`: one process behind one port."""

import argparse

import uvicorn

APPLICATIONS = {"console": "hawkops.asgi:application", "gateway": "hawkops.gateway:application"}


def main() -> None:
    """Serve until told to end; open streams are cut after two seconds."""
    parser = argparse.ArgumentParser(prog="python -m hawkops.serve", description="Serve the console or the gateway.")
    parser.add_argument("door", choices=sorted(APPLICATIONS))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    uvicorn.run(
        APPLICATIONS[options.door],
        host=options.host,
        port=options.port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=2,
        server_header=False,
        backlog=2048,
    )


if __name__ == "__main__":
    main()

"""One message through Apprise: a job as JSON on standard input, one JSON line out. Imports nothing of Django.

A hook of the interpreter sees every connection, redirects included: one to a private network is refused unless the job
allows it, and so are sockets of this machine, programs, and files: a URL may name a template or a key to read.
"""

import ipaddress
import json
import logging
import mimetypes
import os
import socket
import sys
from pathlib import Path
from typing import Any

import apprise

from hawkops.core.addresses import is_public

REFUSED: list[str] = []
PROGRAMS = (
    "syslog.openlog",
    "syslog.syslog",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
)
CALLS = ("socket.connect", "socket.sendto")
# what Python itself reads: its modules, the certificates that requests brings, names of media types and time zones
READABLE = tuple(
    f"{os.path.realpath(place)}/"
    for place in (sys.prefix, sys.base_prefix, "/usr/share/zoneinfo", "/etc/ssl", "/etc/pki")
)
READABLE_FILES = (*mimetypes.knownfiles, "/dev/null", "/dev/urandom")
OURS = f"{Path(__file__).resolve().parents[2]}/"


class Refusal(OSError):
    """What the house does not do."""


def guard(event: str, arguments: tuple[Any, ...], *, private: bool) -> None:
    """Raise Refusal for a connection or a program that is not allowed."""
    if event in PROGRAMS:
        _refuse("starting a program on this machine is refused")
    if event == "open" and not _readable(*arguments):
        _refuse("reading a file of this machine is refused")
    if event not in CALLS:
        return
    line, address = arguments[0], arguments[-1]
    if line.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
        _refuse("a socket of this machine is refused")
    if private:
        return
    try:
        found = ipaddress.ip_address(str(address[0]).partition("%")[0])
    except ValueError:
        _refuse("a connection by name is refused")
        return
    if not is_public(found):
        _refuse("it is on a private network; OUTBOUND_PRIVATE=1 allows that")


def _readable(path: object, mode: object, flags: int) -> bool:
    """Say whether a file may be opened; a number is one that is open already."""
    if not isinstance(path, str | bytes | os.PathLike):
        return True
    if flags & (os.O_WRONLY | os.O_RDWR):
        return False
    name = os.path.realpath(os.fsdecode(path))
    ours = name.startswith(OURS) and name.endswith((".py", ".pyc"))
    return ours or name in READABLE_FILES or name.startswith(READABLE)


def _refuse(why: str) -> None:
    if why not in REFUSED:
        REFUSED.append(why)
    raise Refusal(why)


class Heard(logging.Handler):
    """Keeps what Apprise logs: it is the only one who knows why something was not sent."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


def done(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job: without a body only look whether the URL is one."""
    heard = Heard()
    log = logging.getLogger("apprise")
    log.handlers, log.propagate = [heard], False
    asset = apprise.AppriseAsset(http_redirects=False, storage_mode=apprise.PersistentStoreMode.MEMORY)
    server = apprise.Apprise(asset=asset)
    if not server.add(job["url"]) or len(server) != 1:
        return {"fit": False, "said": " ".join([*REFUSED, *heard.lines])}
    service = str(server[0].service_name)
    if "body" not in job:
        return {"fit": True, "service": service}
    sent = server.notify(title=job["title"], body=job["body"], notify_type=job["type"], body_format="text")
    return {
        "fit": True,
        "service": service,
        "sent": bool(sent) and not REFUSED,
        "refused": bool(REFUSED),
        "said": " ".join([*REFUSED, *heard.lines]),
    }


def main() -> None:
    """Read the job, watch what it opens, print the result."""
    job = json.load(sys.stdin)
    private = bool(job.get("private"))
    sys.addaudithook(lambda event, arguments: guard(event, arguments, private=private))
    print(json.dumps(done(job)))


if __name__ == "__main__":
    main()

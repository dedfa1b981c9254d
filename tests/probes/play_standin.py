"""Google Play small enough to read: edits are copies of the live state, tracks are replaced whole, refusals are Google's."""

import copy
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PACKAGE = "com.hazardhawk"
TOKEN = "ya29.standin"
NO_DOWNGRADE = (
    "You cannot rollout this release because it does not allow any existing users to upgrade to the newly added APKs."
)


@dataclass
class Store:
    """The live state, open edits, and what was asked."""

    tracks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    edits: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    uploaded: int = 0
    next_code: int = 42
    asked: list[str] = field(default_factory=list)
    refuse_commit: str = ""
    knows_account: bool = True


class Refusal(Exception):
    """An answer that isn't 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def checked(releases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Refuse what Play refuses in a track."""
    for release in releases:
        status, fraction = release.get("status"), release.get("userFraction")
        if status not in ("draft", "inProgress", "halted", "completed"):
            raise Refusal(400, f"Invalid release status {status}")
        if not all(isinstance(code, str) for code in release.get("versionCodes", [])):
            raise Refusal(400, "Invalid value at 'version_codes' (TYPE_INT64)")
        if fraction is not None and (status not in ("inProgress", "halted") or not 0 < fraction < 1):
            raise Refusal(400, "User fraction must be lower than one")
        if status == "inProgress" and fraction is None:
            raise Refusal(400, "User fraction is required for a staged release")
    if sum(release["status"] == "completed" for release in releases) > 1:
        raise Refusal(400, "Only one completed release may be in a track")
    return releases


def highest(releases: list[dict[str, Any]], *states: str) -> int:
    codes = [int(code) for release in releases if release["status"] in states for code in release["versionCodes"]]
    return max(codes, default=0)


class Handler(BaseHTTPRequestHandler):
    """The API's calls that HawkOps makes."""

    store: Store

    def answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode() if body is not None else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_call(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.store.asked.append(f"{self.command} {path}")
        try:
            if path == "/token":
                if not self.store.knows_account:
                    self.answer(
                        400, {"error": "invalid_grant", "error_description": "Invalid grant: account not found"}
                    )
                    return
                self.answer(200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})
                return
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refusal(401, "Request had invalid authentication credentials.")
            status, found = self.routed(path, body)
            self.answer(status, found)
        except Refusal as refusal:
            self.answer(refusal.status, {"error": {"code": refusal.status, "message": str(refusal)}})

    do_GET = do_POST = do_PUT = do_DELETE = handle_call

    def routed(self, path: str, body: bytes) -> tuple[int, Any]:
        store = self.store
        found = re.fullmatch(
            rf"(/upload)?/androidpublisher/v3/applications/{PACKAGE}/edits(?:/(\w+)(?::(\w+)|/bundles|/tracks/([\w:]+))?)?",
            path,
        )
        if found is None:
            raise Refusal(404, f"Package not found: {path}")
        upload, edit, verb, track = found.groups()
        if edit is None:
            name = f"e{len(store.asked)}"
            store.edits[name] = copy.deepcopy(store.tracks)
            return 200, {"id": name, "expiryTimeSeconds": "3600"}
        if edit not in store.edits:
            raise Refusal(400, "This Edit has been deleted.")
        if upload:
            store.uploaded = len(body)
            return 200, {"versionCode": store.next_code, "sha256": "…"}
        if self.command == "DELETE":
            del store.edits[edit]
            return 204, None
        if verb == "commit":
            self.commit(edit)
            return 200, {"id": edit}
        if self.command == "PUT":
            store.edits[edit][track] = checked(json.loads(body)["releases"])
        return 200, {"track": track, "releases": store.edits[edit].get(track, [])}

    def commit(self, edit: str) -> None:
        store = self.store
        if store.refuse_commit:
            raise Refusal(403, store.refuse_commit)
        for track, releases in store.edits[edit].items():
            if highest(releases, "completed", "inProgress") < highest(
                store.tracks.get(track, []), "completed"
            ) and not any(release["status"] == "halted" for release in releases):
                raise Refusal(403, NO_DOWNGRADE)
        store.tracks = store.edits.pop(edit)
        store.edits.clear()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Store, str, Path]]:
    """Serve a store; give it, its address, and a service account's file that it accepts."""
    store = Store()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("H", (Handler,), {"store": store}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    account = folder / "account.json"
    account.write_text(
        json.dumps(
            {
                "type": "service_account",
                "client_email": "hawkops@example.iam.gserviceaccount.com",
                "private_key_id": "1",
                "private_key": pem.decode(),
                "token_uri": f"{url}/token",
            }
        )
    )
    yield store, url, account
    server.shutdown()
    server.server_close()

"""The audit of what is pinned: a source is believed only when it knows what is known, and silence is never good news."""

import importlib.metadata
import importlib.util
import json
import sys
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE, VENDOR = ROOT / ".ci" / "audit.py", ROOT / "static" / "vendor"


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program, as a module."""
    spec = importlib.util.spec_from_file_location("audit", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "audit", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr("sys.argv", ["audit.py", "--source", "first", "--source", "second"])
    monkeypatch.delenv("AUDIT", raising=False)
    return module


class _Osv(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_known = asked["package"]["name"] == "urllib3" and asked["version"] == "1.26.4"
        vulnerability = {"id": "GHSA-q2q7", "aliases": ["CVE-2021-33503"], "summary": "x", "affected": []}
        body = json.dumps({"vulns": [vulnerability]} if is_known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def test_source__that_answers__names_what_is_known(audit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Osv)
    Thread(target=server.serve_forever, daemon=True).start()
    source = f"osv=http://127.0.0.1:{server.server_port}"
    said = audit.asked([audit.CONTROL, "celery==5.7.0"], source)
    assert audit.vendored(source) == audit.Said([], [])
    monkeypatch.setitem(audit.VENDORED, "urllib3", "1.26.4")
    assert audit.vendored(source).known == ["urllib3 1.26.4: GHSA-q2q7"]
    server.shutdown()
    server.server_close()
    assert said == audit.Said(["urllib3 1.26.4: CVE-2021-33503 GHSA-q2q7, mended in nothing yet"], [])
    assert audit.asked([audit.CONTROL], source) is None and audit.vendored(source) is None, "nobody answers"


Answer = tuple[list[str], list[str]]
CLEAN: Answer = ([], [])
FOUND: Answer = (["x 1: CVE-1"], [])


@pytest.mark.parametrize(
    "control,pins,code,says",
    [
        (FOUND, CLEAN, 0, "knows of no vulnerability"),
        (FOUND, FOUND, 1, "x 1: CVE-1"),
        (FOUND, ([], ["django"]), 0, "NOT AUDITED: none of first, second"),
        (FOUND, (["x 1: CVE-1"], ["django"]), 1, "x 1: CVE-1"),
        (FOUND, None, 0, "NOT AUDITED: none of first, second"),
        (CLEAN, CLEAN, 0, "second knows nothing against urllib3==1.26.4"),
        (None, CLEAN, 0, "NOT AUDITED: none of first, second"),
    ],
)
def test_audit__is_silent_about_nothing(
    audit: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, control: Any, pins: Any, code: int, says: str
) -> None:
    def asked(asked_for: list[str], source: str) -> Any:
        said = control if asked_for == [audit.CONTROL] else pins
        return said and audit.Said(*said)

    monkeypatch.setattr(audit, "asked", asked)
    monkeypatch.setattr(audit, "vendored", lambda _source: audit.Said([], []))
    assert audit.main() == code
    printed = capsys.readouterr().out
    assert says in printed
    monkeypatch.setenv("AUDIT", "required")
    assert audit.main() == (2 if "NOT AUDITED: none" in printed else code), "a CI with a way out can insist"


def test_pins__name_everything_that_is_installed(audit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"pip-audit=={importlib.metadata.version('pip-audit')}" in audit.pinned()
    monkeypatch.setattr(audit, "distributions", lambda: [importlib.metadata.distribution("pip-audit"), _Loose()])
    with pytest.raises(SystemExit, match=r"Installed and not pinned .*: loose"):
        audit.pinned()


class _Loose:
    metadata = {"Name": "Loose"}


def test_vendored_files__are_what_the_list_says(audit: Any) -> None:
    rows = [line.split("|") for line in (VENDOR / "README.md").read_text().splitlines() if line.startswith("| `")]
    listed = {row[1].strip(" `"): row[5].strip(" `") for row in rows}
    files = {
        one.name: sha256(one.read_bytes()).hexdigest() for one in VENDOR.iterdir() if one.suffix in (".js", ".css")
    }
    assert files == listed
    for name, version in audit.VENDORED.items():
        assert any(f"-{version}." in file and file.startswith(name.partition(".")[0]) for file in files), name

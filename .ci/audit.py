"""Ask whether anything pinned in pyproject.toml, or kept in static/vendor, has a known vulnerability.

A source of advisories is believed only after it has named a vulnerability that is known to be there: one that is cut off
may answer "not found", and pip-audit then finds nothing wrong. 0 nothing is known, 1 something is known or is not pinned;
2 nobody could be asked. Without a way out to any source that is said, loudly; `AUDIT=required` makes it a failure.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import httpx
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("osv=https://api.osv.dev/v1/query", "pypi")
# CVE-2021-33503
CONTROL = "urllib3==1.26.4"
# static/vendor, by the names of npm that advisories use
VENDORED = {"htmx.org": "2.0.11", "plotly.js": "4.1.1"}
# advisory → why it does not reach us, until when
ACCEPTED: dict[str, str] = {}


@dataclass(frozen=True)
class Said:
    """What a source said of some packages: `known` vulnerabilities, and what it knew nothing of. None: no answer."""

    known: list[str]
    unasked: list[str]


def pinned() -> list[str]:
    """Return every pin; a package that is installed and not pinned is an error."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pins = project["tool"]["uv"]["constraint-dependencies"]
    names = {canonicalize_name(Requirement(pin).name) for pin in pins}
    installed = {canonicalize_name(one.metadata["Name"]) for one in distributions()}
    if loose := sorted(installed - names):
        sys.exit(f"Installed and not pinned in [tool.uv] constraint-dependencies: {', '.join(loose)}.")
    return list(pins)


def asked(pins: list[str], source: str) -> Said | None:
    """Ask one source; None where it does not answer."""
    service, _, url = source.partition("=")
    with tempfile.TemporaryDirectory() as folder:
        listed, found = Path(folder) / "pins.txt", Path(folder) / "found.json"
        listed.write_text("\n".join(pins) + "\n")
        command = ["pip_audit", "--requirement", str(listed), "--no-deps", "--disable-pip", "--format", "json"]
        command += ["--output", str(found), "--progress-spinner", "off", "--cache-dir", f"{folder}/cache"]
        command += ["--vulnerability-service", service, *(["--osv-url", url] if url else ())]
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
        try:
            rows: list[dict[str, Any]] = json.loads(found.read_text())["dependencies"]
        except (OSError, ValueError, KeyError):
            print(f"{source}: {(done.stderr.strip().splitlines() or ['no answer'])[-1][:300]}")
            return None
    return Said(
        known=[
            f"{row['name']} {row['version']}: {one['id']} {' '.join(one.get('aliases', ()))},"
            f" mended in {', '.join(one['fix_versions']) or 'nothing yet'}"
            for row in rows
            for one in row.get("vulns", ())
            if not {one["id"], *one.get("aliases", ())} & set(ACCEPTED)
        ],
        unasked=[row["name"] for row in rows if "vulns" not in row],
    )


def vendored(source: str) -> Said | None:
    """Ask about the scripts in static/vendor, of which only OSV speaks; None where it does not answer."""
    service, _, url = source.partition("=")
    said = Said([], [] if service == "osv" else list(VENDORED))
    for name, version in VENDORED.items() if service == "osv" else ():
        body = {"package": {"name": name, "ecosystem": "npm"}, "version": version}
        try:
            found = httpx.post(url, json=body, timeout=15).raise_for_status().json().get("vulns", ())
        except (httpx.HTTPError, ValueError) as error:
            print(f"{source}: {error}")
            return None
        said.known.extend(f"{name} {version}: {one['id']}" for one in found if one["id"] not in ACCEPTED)
    return said


def main() -> int:
    """Ask the first source that can be believed."""
    parser = argparse.ArgumentParser(description="Look for known vulnerabilities in what is pinned.")
    parser.add_argument("--source", action="append", help="osv=URL, or pypi; the first that answers is asked")
    sources = parser.parse_args().source or SOURCES
    pins = pinned()
    for source in sources:
        control = asked([CONTROL], source)
        if control is None or not control.known:
            print(f"{source} knows nothing against {CONTROL}, so nothing that it says counts.")
            continue
        said, scripts = asked(pins, source), vendored(source)
        if said is None or scripts is None:
            continue
        said = Said(said.known + scripts.known, said.unasked + scripts.unasked)
        if said.unasked:
            print(f"NOT AUDITED: {source} does not know {', '.join(said.unasked)}.")
        if said.known:
            print(f"Known vulnerabilities, by {source}:", *said.known, sep="\n  ")
            return 1
        if not said.unasked:
            print(f"{len(pins)} pins and {len(VENDORED)} scripts, and {source} knows of no vulnerability in them.")
            return 0
    line = "=" * 100
    print(line, f"NOT AUDITED: none of {', '.join(sources)} can be asked for advisories from here.", line, sep="\n")
    return 2 if os.environ.get("AUDIT") == "required" else 0


if __name__ == "__main__":
    sys.exit(main())

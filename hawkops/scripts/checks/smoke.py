"""Smoke tests of an installation as its users meet it: pages, doors and flags, over HTTP."""

import argparse
import os
import time
from collections.abc import Iterator

import httpx
from django.conf import settings

from hawkops.accounts.services.credentials import probe_key_ensure
from hawkops.core.environments import Environment
from hawkops.scripts.probes.findings import Finding, failed, passed

SECONDS = 10.0
KNOWN_SECONDS = 5.0
DEVICE = "hawkops.probe/smoke"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the environment whose flags are asked for."""
    usual = os.environ.get("HAWKOPS_ENVIRONMENT") or Environment.DEMO.value
    parser.add_argument("--environment", choices=list(Environment), default=usual)


def smoke(given: argparse.Namespace) -> Iterator[Finding]:
    """Ask the console and the gateway what a person and a device would ask."""
    with httpx.Client(timeout=SECONDS, follow_redirects=False) as client:
        for title, url, status, words in (
            ("Console lives", f"{settings.CONSOLE_URL}/healthz", 200, ""),
            ("Sign-in page", f"{settings.CONSOLE_URL}/login", 200, "Sign in"),
            ("Pages ask who you are", f"{settings.CONSOLE_URL}/{given.environment}/", 302, ""),
            ("Gateway lives", f"{settings.GATEWAY_URL}/healthz", 200, "ok"),
            ("Strangers get no flags", f"{settings.GATEWAY_URL}/ofrep/v1/evaluate/flags", 401, ""),
        ):
            yield _asked(client, title, url, status, words)
        yield from _device(client, given.environment)


def _asked(client: httpx.Client, title: str, url: str, status: int, words: str) -> Finding:
    try:
        answer = client.post(url, json={}) if "/ofrep/" in url else client.get(url)
    except httpx.HTTPError as error:
        return failed(title, f"{url}: {error}")
    good = answer.status_code == status and words in answer.text
    return (passed if good else failed)(title, f"{url} answered {answer.status_code}, wanted {status}")


def _device(client: httpx.Client, environment: str) -> Iterator[Finding]:
    headers = {"Authorization": f"Bearer {probe_key_ensure(environment=environment)}"}
    url = f"{settings.GATEWAY_URL}/ofrep/v1/evaluate/flags"
    body = {"context": {"targetingKey": DEVICE}}
    try:
        answer = client.post(url, json=body, headers=headers)
        end = time.monotonic() + KNOWN_SECONDS
        while answer.status_code == httpx.codes.UNAUTHORIZED and time.monotonic() < end:  # a key made just now
            time.sleep(0.2)
            answer = client.post(url, json=body, headers=headers)
        flags = {flag["key"]: flag for flag in answer.json().get("flags", [])} if answer.status_code == 200 else {}
        if not flags:
            yield failed("Flags", f"{url} answered {answer.status_code} {answer.text[:120]}")
            return
        many = len(flags)
        yield passed("Flags", f"{many} flags at revision {answer.headers.get('HawkOps-Revision', '?')}")
        again = client.post(url, json=body, headers={**headers, "If-None-Match": answer.headers.get("ETag", "")})
        yield (passed if again.status_code == 304 else failed)(
            "Unchanged flags", f"answered {again.status_code}, wanted 304"
        )
        sent = client.post(
            f"{settings.GATEWAY_URL}/v1/metrics",
            content=b"",
            headers={**headers, "Content-Type": "application/x-protobuf"},
        )
        yield (passed if sent.status_code == 200 else failed)(
            "Telemetry door", f"answered {sent.status_code}, wanted 200"
        )
    except (httpx.HTTPError, ValueError, KeyError) as error:
        yield failed("Flags", f"{url}: {error}")

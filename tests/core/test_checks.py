"""Checks of settings: each weak one is named with what to do, and good ones are passed in silence."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from hawkops.core import checks


def ids(found: list[Any]) -> list[str]:
    """What was found, by id."""
    return [one.id for one in found]


@pytest.mark.parametrize(
    "url,debug,hosts,expected",
    [
        ("https://hawkops.example.com", False, ["hawkops.example.com"], []),
        ("https://hawkops.example.com", False, [".example.com"], []),
        ("http://localhost:8000", True, ["localhost"], []),
        ("hawkops", False, ["hawkops"], ["hawkops.E001"]),
        ("https://hawkops.example.com", True, ["hawkops.example.com"], ["hawkops.E002"]),
        ("http://hawkops.example.com", False, ["hawkops.example.com"], ["hawkops.W002"]),
        ("https://hawkops.example.com", False, ["*"], ["hawkops.W003"]),
        ("https://hawkops.example.com", False, ["localhost"], ["hawkops.E003"]),
    ],
)
def test_addresses(settings: Any, url: str, debug: bool, hosts: list[str], expected: list[str]) -> None:
    settings.CONSOLE_URL, settings.DEBUG, settings.ALLOWED_HOSTS = url, debug, hosts
    assert ids(checks.addresses()) == expected


def test_proxies__everybody_believed__is_named(settings: Any) -> None:
    settings.TRUSTED_PROXIES = ["*"]
    assert ids(checks.addresses()) == ["hawkops.W005"]


def test_roles__one_database_url__is_proof_weakened(settings: Any) -> None:
    assert ids(checks.roles()) == []
    settings.DATABASES = {"default": settings.DATABASES["default"]}
    assert ids(checks.roles()) == ["hawkops.W001"]


def test_witness__beside_the_data__is_named(settings: Any, tmp_path: Path) -> None:
    settings.DATA, settings.WITNESS_DIR, settings.WITNESS_URL = tmp_path, tmp_path / "witness", ""
    assert ids(checks.deployed()) == ["hawkops.W004"]
    settings.WITNESS_DIR = tmp_path.parent / "elsewhere"
    assert ids(checks.deployed()) == []


@pytest.mark.django_db
def test_headers__a_strangers_page__is_closed_and_not_kept(settings: Any) -> None:
    answer = Client().get("/login")
    assert answer["Cache-Control"] == "no-store" and "camera=()" in answer["Permissions-Policy"]
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin" and answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin" and answer["X-Frame-Options"] == "DENY"
    assert "unsafe" not in answer["Content-Security-Policy"]


@pytest.mark.django_db
def test_tls__plain_http__is_sent_to_https_and_health_is_not(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 60
    answer = Client().get("/login")
    assert answer.status_code == 301 and answer["Location"] == "https://testserver/login"
    assert Client().get("/healthz").status_code == 200
    assert "max-age=60" in Client().get("/login", secure=True)["Strict-Transport-Security"]

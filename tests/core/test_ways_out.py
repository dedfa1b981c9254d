"""No address leads out of the house: not to another site, and not to a file that nobody meant to show."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from hawkops.accounts.models import User
from hawkops.core.access import Role

pytestmark = pytest.mark.django_db
ELSEWHERE = (
    "https://evil.example/",
    "//evil.example/",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "http://testserver@evil.example/",
    "//evil.example/%2e%2e",
    "/\t/evil.example",
    " //evil.example",
)
# an empty text and our own static files are no text of somebody's
MARKUP = re.compile(r'mark_safe\(|\|safe\b|autoescape off|from_string\(|SafeString\((?!""\)|_static\(")')
CLIMBS = (
    "../../etc/passwd",
    "..%2f..%2fetc/passwd",
    "%2e%2e/%2e%2e/etc/passwd",
    "....//....//etc/passwd",
    "..\\..\\etc\\passwd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "report.html/../../secret.key",
    "hawkops/settings.py",
    "..%252f..%252fetc/passwd",
)


@pytest.mark.parametrize("wanted", ELSEWHERE)
def test_next__elsewhere__leads_home(wanted: str, client: Client) -> None:
    user = User.objects.create_user("ana", password="a long enough password")
    for url in (f"/login?next={quote(wanted)}", "/login"):
        answer = client.post(url, {"username": "ana", "password": "a long enough password", "next": wanted})
        assert (answer.status_code, answer["Location"]) == (302, "/"), url
        client.logout()
    assert user.is_authenticated


def test_referer_and_paths__lead_nowhere_else(person: Any, client_as: Any) -> None:
    client: Client = client_as(person("somebody", Role.ADMIN))
    for path in ("//evil.example/demo/", "/demo//evil.example", "/%2f%2fevil.example/"):
        answer = client.get(path, headers={"Referer": "https://evil.example/"})
        assert "evil.example" not in answer.get("Location", "")
        assert answer.status_code in (200, 404), path
    # what does not exist in another environment is not asked for there
    answer = Client().get("//evil.example/demo/")
    assert answer.get("Location", "/login").startswith("/login")


@pytest.mark.parametrize("climb", CLIMBS)
def test_paths__that_climb__find_nothing(climb: str, person: Any, client_as: Any, tmp_path: Path) -> None:
    client: Client = client_as(person("somebody", Role.ADMIN))
    for base in (
        "/static/",
        "/demo/scripts/",
        "/demo/runs/1/files/",
        "/demo/runbook/",
        "/demo/monitoring/litert/charts/",
        "/api/v1/demo/scripts/",
        "/status/",
    ):
        answer = client.get(base + climb)
        assert answer.status_code in (301, 404, 405), (base, answer.status_code)
        assert "etc" not in answer.get("Location", "").split("/")[:2], base
        assert b"root:" not in answer.content
        assert b"SECRET_KEY" not in answer.content


def test_markup__is_never_taken_from_a_text_and_no_template_is_made_of_one() -> None:
    root = Path(__file__).resolve().parents[2]
    apps = [file for app in ("hawkops", "incidents", "monitoring", "rollout") for file in (root / app).rglob("*.py")]
    for file in [*apps, *(root / "templates").rglob("*.html")]:
        found = MARKUP.search(file.read_text())
        assert found is None, (file, found)

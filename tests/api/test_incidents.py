"""Incidents by the API, as a pipeline uses them."""

import json
from typing import Any

import pytest
from django.test import Client

from hawkops.accounts.services.credentials import api_token_create
from hawkops.core.access import Scope
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from incidents.models import Incident

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("test")


def post(path: str, body: dict[str, Any], *scopes: Scope) -> Any:
    _, secret = api_token_create(environment="demo", name=path[-60:], scopes=scopes, actor=SYSTEM)
    headers = {"Authorization": f"Bearer {secret}"}
    return Client().post(f"/api/v1/demo/{path}", json.dumps(body), "application/json", headers=headers)


def test_incident__opened_noted_moved__and_read_with_its_timeline() -> None:
    made = post("incidents", {"title": "Wrong answers", "severity": "critical"}, Scope.INCIDENTS_WRITE)
    assert made.status_code == 201
    pk = made.json()["incident"]
    assert made.json()["moves"] == ["acknowledge", "mitigate", "resolve"]
    assert post(f"incidents/{pk}/notes", {"text": "From CI"}, Scope.INCIDENTS_WRITE).status_code == 201
    moved = post(f"incidents/{pk}/move", {"move": "acknowledge"}, Scope.INCIDENTS_WRITE)
    assert moved.json()["state"] == "acknowledged"
    again = post(f"incidents/{pk}/move", {"move": "acknowledge"}, Scope.INCIDENTS_WRITE)
    assert again.status_code == 409
    assert "is acknowledged by" in again.json()["error"]
    _, secret = api_token_create(environment="demo", name="reader", scopes=[Scope.READ], actor=SYSTEM)
    read = Client().get(f"/api/v1/demo/incidents/{pk}", headers={"Authorization": f"Bearer {secret}"}).json()
    assert [row["verb"] for row in read["timeline"]] == ["incident.acknowledged", "incident.noted", "incident.opened"]
    listed = Client().get("/api/v1/demo/incidents", headers={"Authorization": f"Bearer {secret}"}).json()
    assert [one["incident"] for one in listed["incidents"]] == [pk]


@pytest.mark.parametrize(
    ("body", "status"),
    [({"title": "", "severity": "critical"}, 400), ({"title": "x", "severity": "huge"}, 400), ({"title": "x"}, 422)],
)
def test_open__what_is_wrong__is_said_and_opens_nothing(body: dict[str, Any], status: int) -> None:
    assert post("incidents", body, Scope.INCIDENTS_WRITE).status_code == status
    assert not Incident.objects.exists()


def test_open__without_the_scope__is_refused() -> None:
    assert post("incidents", {"title": "x", "severity": "info"}, Scope.READ, Scope.KILL).status_code == 403
    assert not HistoryEntry.objects.filter(verb="incident.opened").exists()

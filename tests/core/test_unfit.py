"""What no column or calendar holds is refused at the front, with a sentence."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.test import Client

from hawkops.core.access import Role
from hawkops.core.errors import InvalidInput
from hawkops.core.moments import utc
from hawkops.history.models import Head

pytestmark = pytest.mark.django_db


def test_texts__with_a_nul__are_refused_in_address_question_and_form(person: Any, client_as: Any) -> None:
    client: Client = client_as(person("somebody", Role.ADMIN))
    seq = Head.objects.get().seq
    for answer in (
        client.get("/demo/flags/a%00b"),
        client.get("/demo/history?q=a%00b"),
        client.get("/demo/history?a%00b=q"),
        client.post("/demo/oncall/overrides/create", {"person": "a\x00b"}),
        client.post("/demo/people/add", {"username": "a\x00b"}),
        Client().post("/login", {"username": "a\x00b", "password": "x"}),
        client.post("/demo/incidents/1/notes", "text=a%00b", content_type="application/x-www-form-urlencoded"),
    ):
        assert answer.status_code == 400
        assert "holds a NUL" in answer.content.decode()
    assert Head.objects.get().seq == seq


def test_parts__that_the_page_does_not_have__are_not_found(person: Any, client_as: Any) -> None:
    client: Client = client_as(person("somebody", Role.VIEWER))
    assert client.get("/demo/emergency/rollback?part=search").status_code == 200
    assert client.get("/demo/emergency/rollback?part=nothing").status_code == 404


def test_moments__whatever_their_zone__are_of_utc_and_of_the_calendar(person: Any, client_as: Any) -> None:
    assert utc(datetime(2026, 12, 1, 3)) == datetime(2026, 12, 1, 3, tzinfo=UTC)  # noqa: DTZ001 - without a zone
    far = datetime(2026, 12, 1, 3, tzinfo=timezone(timedelta(hours=19, minutes=33)))
    assert (utc(far), utc(far).tzinfo) == (far, UTC)
    with pytest.raises(InvalidInput, match="calendar"):
        utc(datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))))
    client: Client = client_as(person("somebody", Role.VIEWER))
    for address, status in (
        ("/api/v1/demo/history?since=0413-04-15T13:47:47%2B19:33", 200),
        ("/api/v1/demo/history?until=9999-12-31T23:59:59-15:00", 400),
        ("/demo/history?from=0413-04-15T13:47:47%2B19:33&to=9999-12-31T23:59:59-15:00", 422),
        ("/demo/monitoring/litert?until=9999-12-31T23:59:59-15:00", 200),
    ):
        assert client.get(address).status_code == status, address

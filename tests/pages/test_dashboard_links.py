"""The runbook's four addresses of dashboards: here, until somebody says where else."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from hawkops.history.models import HistoryEntry
from monitoring.models import DashboardLink

pytestmark = pytest.mark.django_db
PAGE, SAVE = "/production/monitoring/production", "/production/monitoring/dashboards/links"
ELSEWHERE = "https://grafana.example.org/d/litert"


def test_links__saved__stand_on_the_production_board_with_one_history_entry(
    client_as: Callable[[object], Client], releaser: Any, viewer: Any
) -> None:
    assert "/production/security/production" in client_as(viewer).get(PAGE).text
    client = client_as(releaser)
    assert client.post(SAVE, {"litert": ELSEWHERE, "reason": "Moved"}).status_code == 303
    page = client_as(viewer).get(PAGE).text
    assert f'href="{ELSEWHERE}"' in page
    assert "Save the addresses" not in page
    assert ELSEWHERE not in client_as(viewer).get(PAGE.replace("production", "demo", 1)).text
    (entry,) = HistoryEntry.objects.filter(verb="dashboards.linked")
    assert (entry.before, entry.after, entry.reason) == ({}, {"litert": ELSEWHERE}, "Moved")
    client.post(SAVE, {"litert": ""})
    assert not DashboardLink.objects.exists()
    assert HistoryEntry.objects.filter(verb="dashboards.linked").count() == 2


@pytest.mark.parametrize("url", ["javascript:alert(1)", "grafana", "https://example.org/" + "x" * 300])
def test_links__no_address__is_refused_and_nothing_changes(
    client_as: Callable[[object], Client], releaser: Any, url: str
) -> None:
    answer = client_as(releaser).post(SAVE, {"security": url}, follow=True)
    assert "address for security" in answer.text
    assert not DashboardLink.objects.exists()
    assert not HistoryEntry.objects.filter(verb="dashboards.linked").exists()

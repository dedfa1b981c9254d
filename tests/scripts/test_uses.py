"""A script's page names the gates that its runs decide, where they decide them."""

from collections.abc import Callable

import pytest
from django.test import Client

from hawkops.core.access import Role
from hawkops.history.actors import Actor
from rollout.models import Release
from rollout.services.flags import flags_seed
from rollout.services.releases import release_seed, runbook_import

SYSTEM = Actor.system("test")


@pytest.mark.django_db
def test_page__lists_the_gates_with_links_to_their_boxes(
    person: Callable[..., object], client_as: Callable[..., Client]
) -> None:
    flags_seed(actor=SYSTEM)
    runbook_import(actor=SYSTEM)
    release_seed(actor=SYSTEM)
    release = Release.objects.get()
    client = client_as(person("viewer", Role.VIEWER))

    used = client.get(f"/{release.environment}/scripts/run_litert_performance_tests.sh").content.decode()
    assert "Used by these gates" in used
    assert f'href="/{release.environment}/releases/{release.pk}/checklist#performance_tests"' in used
    used = client.get(f"/{release.environment}/scripts/scripts/verify-monitoring-stack.sh").content.decode()
    assert f'href="/{release.environment}/releases/{release.pk}/checklist#monitoring_operational"' in used
    unused = client.get(f"/{release.environment}/scripts/scripts/check-gpu-memory.sh").content.decode()
    assert "Used by these gates" not in unused

"""The page of the deployment procedure as plain forms: what is to press, what waits, and who agrees."""

from collections.abc import Callable

import pytest
from django.test import Client

from hawkops.accounts.models import User
from hawkops.core.access import Role
from hawkops.history.actors import Actor
from hawkops.scripts.models import Run
from rollout.models import Release
from rollout.services.flags import flags_seed
from rollout.services.releases import release_create, runbook_import
from tests.rollout.test_procedure import ended, row, skipped_before

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("test")
As = Callable[[object], Client]


@pytest.fixture
def release() -> Release:
    """A release under way in production."""
    flags_seed(actor=SYSTEM)
    runbook_import(actor=SYSTEM)
    return release_create(
        environment="production",
        name="HazardHawk",
        app_version="2.4.0",
        version_code="2407",
        model_name="gemma3-1b",
        model_digest="ab" * 32,
        backends=["cpu"],
        actor=SYSTEM,
    )


def test_page__fresh_release__has_one_dry_run_to_press_and_says_what_waits(
    release: Release, releaser: User, client_as: As
) -> None:
    client = client_as(releaser)
    checklist = client.get(f"/production/releases/{release.pk}/checklist").content.decode()
    assert f'href="/production/releases/{release.pk}/procedure"' in checklist
    url = f"/production/releases/{release.pk}/procedure"
    page = client.get(url).content.decode()
    assert "0 of 11 deployment steps done" in page
    assert page.count('class="evidence') == 11
    assert page.count("Waits for “Deploy the monitoring infrastructure”.") == 10
    assert "kubectl apply -f monitoring/production-monitoring.yaml" in page
    assert page.count('name="dry_run"') == 1
    assert "Press 5 switches" not in page
    assert " style=" not in page
    pressed = client.post(f"{url}/monitoring_deployed/start", {"dry_run": "1"})
    assert (pressed.status_code, pressed["Location"]) == (303, f"{url}#monitoring_deployed")
    run = Run.objects.get()
    board = client.get(f"{url}?part=board").content.decode()
    assert f"Dry run {run.pk} is queued." in board
    assert 'name="dry_run"' not in board
    ended(run)
    assert f'href="/production/runs/{run.pk}"' in client.get(url).content.decode()
    refused = client.post(f"{url}/controls_tested/drill", follow=True).content.decode()
    assert "can&#x27;t begin before “Deploy the monitoring infrastructure” is done or skipped" in refused


def test_page__skip_in_production__shows_the_second_person_a_button_and_the_asker_none(
    release: Release, administrator: User, person: Callable[..., User], client_as: As
) -> None:
    url = f"/production/releases/{release.pk}/procedure"
    asker, second = client_as(administrator), client_as(person("second", Role.APPROVER))
    asker.post(f"{url}/monitoring_deployed/skip", {"reason": "<b>none</b>"})
    assert "Approve skip" not in asker.get(url).content.decode()
    page = second.get(url).content.decode()
    assert "administrator asks to skip it: &lt;b&gt;none&lt;/b&gt;." in page
    assert page.count("Approve skip") == 1
    alone = asker.post(f"{url}/monitoring_deployed/skip/approve", follow=True).content.decode()
    assert "You asked to skip this step" in alone
    second.post(f"{url}/monitoring_deployed/skip/approve")
    assert row(release, "monitoring_deployed").state == "skipped"
    assert "0 of 11 deployment steps done, 1 skipped" in second.get(url).content.decode()


def test_page__settings_read_back__are_confirmed_with_the_digest_that_was_shown(
    release: Release, releaser: User, client_as: As
) -> None:
    skipped_before(release, "configuration_loaded")
    client, url = client_as(releaser), f"/production/releases/{release.pk}/procedure"
    page = client.get(url).content.decode()
    digest = page.partition('name="digest" value="')[2].partition('"')[0]
    assert "litert_gpu_backend" in page
    client.post(f"{url}/configuration_loaded/attest", {"digest": "0" * 64, "note": "seen"})
    assert row(release, "configuration_loaded").state == "open"
    client.post(f"{url}/configuration_loaded/attest", {"digest": digest, "note": "seen"})
    assert row(release, "configuration_loaded").state == "done"

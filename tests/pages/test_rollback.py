"""The rollback page and its operations: previews, presses, what the cohort search proposes, and undo."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from hawkops.accounts.models import User
from hawkops.accounts.services.credentials import api_token_create
from hawkops.core import clock
from hawkops.core.access import Role, Scope
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from hawkops.scripts.models import Run
from monitoring.models import PanelHour
from rollout.domain.bucketing import included
from rollout.models import CensusDevice, Flag, Proposal, Rollback
from rollout.selectors import harm
from rollout.services.flags import BACKENDS, LITERT
from rollout.services.rollback import rollback
from tests.monitoring import rows
from tests.rollout.walking import SYSTEM, furnish

pytestmark = pytest.mark.django_db
PAGE = "/demo/emergency/rollback"
GPU = BACKENDS["gpu"]
OLD, NEW = "508.762", "512.800"


def fleet(count: int = 120, *, environment: str = "demo") -> None:
    """Active devices on two GPU drivers that were served LiteRT and the GPU; every fourth is simulated."""
    now = clock.now()
    CensusDevice.objects.bulk_create(
        CensusDevice(
            environment=environment,
            device_id=f"device-{number}",
            device_class="snapdragon-8-elite",
            simulated=number % 4 == 0,
            attributes={"device.soc": "snapdragon-8-elite", "device.gpu.driver": OLD if number % 3 == 0 else NEW},
            served_on=[LITERT, GPU],
            first_seen_at=now,
            last_seen_at=now,
        )
        for number in range(count)
    )


def measured(speed: Callable[[int], float], count: int = 120, *, bad: Callable[[int], int] = lambda number: 0) -> None:
    """Let each device have run inferences on the GPU in this hour, at a speed, of which some failed."""
    at = clock.now().replace(minute=0, second=0, microsecond=0)
    told = []
    for number in range(count):
        for metric, outcome, total in (
            ("litert.prefill.throughput", "", speed(number) * 10),
            ("litert.inferences", "ok", 100.0),
            ("litert.inferences", "error", float(bad(number))),
        ):
            told.append(
                PanelHour(
                    environment="demo", hour_at=at, device_id=f"device-{number}", device_class="snapdragon-8-elite",
                    simulated=number % 4 == 0, metric=metric, backend_actual="gpu", variant="on", outcome=outcome,
                    count=10, total=total, low=0.0, high=0.0,
                )
            )  # fmt: skip
    PanelHour.objects.bulk_create(told)


def slow_on_the_old_driver(number: int) -> float:
    """A GPU driver that reads prompts at half of its speed."""
    return 1_300.0 if number % 3 == 0 else 2_600.0


@pytest.fixture
def console(operator: User, client_as: Callable[[User], Client]) -> Client:
    """The operator's browser; LiteRT and the GPU at 100 % in demo."""
    furnish()
    Flag.objects.filter(environment="demo", key__in=[LITERT, *BACKENDS.values()]).update(thousandths=100_000)
    fleet()
    return client_as(operator)


def text(client: Client, address: str = PAGE) -> str:
    """A page's words."""
    return client.get(address).content.decode()


def test_page__before__says_what_each_level_changes_and_for_how_many_simulated_ones_among_them(console: Client) -> None:
    page = text(console)
    assert "<script>" not in page and " style=" not in page
    assert "100 % of devices → 50 %" in page
    lost = sum(not _on(number, 50_000) for number in range(120))
    simulated = sum(not _on(number, 50_000) for number in range(0, 120, 4))
    assert f"<b>{lost} devices</b> ({simulated} simulated) of 120 active" in page
    gpu = '<span class="mono">litert_gpu_backend</span>: 100 % of devices → forced off'
    assert f"{gpu}; <b>120 devices</b> (30 simulated) lose it" in page
    assert "Kill LiteRT on 120 devices" in page
    assert "How many requests that brings to cloud AI is not known" in page
    assert "PLAY_SERVICE_ACCOUNT" in page
    assert "Too little data: no backend has 30 devices" in page
    assert "Nothing was rolled back in demo yet." in page
    for minutes in (3, 7):
        rows.stored("litert.inferences", [900.0], clock.now() - timedelta(minutes=minutes), actual="gpu")
    assert "about <b>3 requests a second more</b>" in text(console)


def _on(number: int, thousandths: int) -> bool:
    """Whether a device is within a share of LiteRT's buckets."""
    return included(Flag.objects.get(environment="demo", key=LITERT).salt, f"device-{number}", thousandths)


@pytest.mark.parametrize(
    ("form", "said", "reason"),
    [
        ({"level": "1"}, "Rolled back by level 1: entry", "Performance degradation"),
        (
            {"level": "1", "reason": "Stability issues", "words": "frames drop"},
            "level 1",
            "Stability issues: frames drop",
        ),
        ({"level": "2", "backends": ["gpu"], "where": "everywhere"}, "Rolled back by level 2", "Stability issues"),
        ({"level": "3"}, "Rolled back by level 3", "Production incident"),
        ({"level": "4"}, "Level 4 is asked for, rehearsal first", "Production incident"),
    ],
)
def test_press__plain_form__is_done_and_stands_below(console: Client, form: Any, said: str, reason: str) -> None:
    answer = console.post(f"{PAGE}/press", form, follow=True)
    page = answer.content.decode()
    assert answer.redirect_chain[0][1] == 303
    assert said in page
    made = Rollback.objects.get()
    assert (made.reason, made.by) == (reason, "operator")
    assert f"<b>{made.pk}. Level {made.level}" in page
    if made.level != 4:
        assert f"After rollback {made.pk}, level {made.level}" in page
        assert "0 of 120 devices obey" in page
        assert page.count("Runs by itself at") == 3
    again = console.post(f"{PAGE}/press", {**form, "revision": str(made.revision - 1)}, follow=True).content.decode()
    assert "it is done already" in again or "under way already" in again
    assert Rollback.objects.count() == 1


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"level": "9"},
        {"level": "2"},
        {"level": "2", "backends": "tpu"},
        {"level": "2", "where": "{"},
        {"level": "2", "where": "[]"},
        {"level": "2", "where": '{"backend": "gpu", "cohorts": []}'},
        {"level": "2", "where": '{"backend": "gpu", "cohorts": [[]]}'},
        {"level": "2", "where": '{"backend": "gpu", "cohorts": [["device.soc", "\\u0000"]]}'},
    ],
)
def test_press__what_can_t_be_done__says_so_and_changes_nothing(console: Client, form: dict[str, str]) -> None:
    seq = Head.objects.get().seq
    answer = console.post(f"{PAGE}/press", form, follow=True)
    assert (answer.status_code, Rollback.objects.count()) == (200, 0)
    assert Head.objects.get().seq == seq


# ---- the smallest set ----


def test_search__a_slow_gpu_driver__is_proposed_as_an_override_for_it_alone(console: Client) -> None:
    measured(slow_on_the_old_driver)
    page = text(console)
    assert f"GPU only on GPU driver is {OLD}" in page
    assert f"GPU driver is {OLD}: 40 devices, 10 simulated" in page
    assert "80 keep GPU; the rest is well" in page
    found = harm.search("demo")
    assert found.best is not None
    assert (found.best.backend, found.best.title) == ("gpu", "GPU throughput")
    value = page.split('name="where" value="{')[1].split('"')[0].replace("&quot;", '"')
    answer = console.post(f"{PAGE}/press", {"level": "2", "where": "{" + value}, follow=True).content.decode()
    assert "Rolled back by level 2" in answer
    flag = Flag.objects.get(environment="demo", key=GPU)
    assert flag.override_variant == ""
    assert [(one["variant"], one["constraints"]) for one in flag.scoped_overrides] == [
        ("off", [["device.gpu.driver", "is", [OLD]]])
    ]


def test_search__failures_everywhere__says_that_no_cohort_explains_it(console: Client) -> None:
    measured(lambda _number: 2_600.0, bad=lambda _number: 30)
    page = text(console)
    assert "GPU failures: all devices are harmed alike" in page
    assert 'value="everywhere" checked' in page


def test_search__all_well__says_that_nothing_is_found(console: Client) -> None:
    measured(lambda _number: 2_600.0)
    page = text(console)
    assert "Nothing is found: no cohort does worse, by GPU failures, GPU throughput" in page
    assert "Too little data" not in page, "nobody has an NPU"
    harm.forget()
    CensusDevice.objects.exclude(device_id__in=[f"device-{number}" for number in range(20)]).delete()
    page = text(console)
    assert "no backend has 30 devices that reported in this hour or the last one (20 reported)" in page


def test_search__a_driver_that_no_condition_can_name__proposes_everywhere(console: Client) -> None:
    for one in CensusDevice.objects.all():
        driver = one.attributes.pop("device.gpu.driver")
        one.attributes |= {} if driver == OLD else {"device.gpu.driver": driver}
        one.save()
    measured(slow_on_the_old_driver)
    page = text(console)
    assert "which no condition can name" in page
    assert 'value="everywhere" checked' in page


# ---- undo ----


def test_undo__with_the_name_and_a_reason__restores_and_says_so(console: Client) -> None:
    console.post(f"{PAGE}/press", {"level": "3"})
    made = Rollback.objects.get()
    for form in ({}, {"confirm": "demo"}, {"confirm": "prod", "reason": "Fixed"}):
        console.post(f"{PAGE}/{made.pk}/undo", form)
        assert Flag.objects.get(environment="demo", key=LITERT).override_variant == "off"
    said = console.post(f"{PAGE}/{made.pk}/undo", {"confirm": "demo", "reason": "Fixed"}, follow=True).content.decode()
    assert f"Rollback {made.pk} is undone" in said
    assert "Undone" in said
    assert Flag.objects.get(environment="demo", key=LITERT).override_variant == ""
    assert console.post(f"{PAGE}/99/undo", {"confirm": "demo", "reason": "Fixed"}).status_code == 303


def test_undo__in_production_without_a_release__is_refused_with_what_is_missing(console: Client) -> None:
    Flag.objects.filter(environment="production", key=GPU).update(thousandths=50_000)
    made = rollback(environment="production", level=2, backends=["gpu"], actor=SYSTEM)
    assert made is not None
    address = f"/production/emergency/rollback/{made.pk}/undo"
    answer = console.post(address, {"confirm": "production", "reason": "Fixed"}, follow=True).content.decode()
    # no release walks there, so more than somebody's yes is missing
    assert "Nothing was changed" in answer
    assert not Proposal.objects.exists()


def test_page__automatic_ones__stand_beside_those_of_people(console: Client) -> None:
    rollback(environment="demo", level=2, actor=Actor.rule("guardrail:crashes"), reason="Guardrail Crashes: 1st hour")
    page = text(console)
    assert 'class="badge info">automatic' in page
    assert "Undo rollback" in page
    assert "guardrail:crashes" in page


def test_emergency__links_here__and_its_halve_press_is_kept_here(console: Client) -> None:
    assert f'href="{PAGE}"' in text(console, "/demo/emergency")


# ---- level 4 ----


def test_app__without_credentials__says_no_data_and_halts_nothing(console: Client) -> None:
    console.post(f"{PAGE}/press", {"level": "4"})
    Run.objects.update(state="no_data", finished_at=clock.now(), summary="no credentials: PLAY_SERVICE_ACCOUNT")
    page = text(console)
    assert ">NO DATA<" in page
    assert "no credentials: PLAY_SERVICE_ACCOUNT" in page
    assert "Devices keep the build they have: Play never downgrades" in page
    assert "Undone in the Play console only." in page
    assert Run.objects.filter(dry_run=False).count() == 0


# ---- the API ----


@pytest.fixture
def token() -> dict[str, str]:
    """A pipeline that may read and stop."""
    _, secret = api_token_create(environment="demo", name="stops", scopes=[Scope.KILL, Scope.READ], actor=SYSTEM)
    return {"Authorization": f"Bearer {secret}"}


def test_api__previews_then_presses__and_says_what_it_did(console: Client, token: dict[str, str]) -> None:
    measured(slow_on_the_old_driver)
    before = Client().get("/api/v1/demo/rollback", headers=token).json()
    assert [one["level"] for one in before["levels"]] == [1, 2, 2, 2, 3, 4]
    assert before["levels"][4]["losses"] == [
        {"flag": LITERT, "devices": 120, "simulated": 30, "kept": 0, "about": False}
    ]
    assert [(one["backend"], one["cohorts"][0]["devices"]) for one in before["found"]] == [("gpu", 40)]

    def press(**body: Any) -> Any:
        return Client().post("/api/v1/demo/rollback", json.dumps(body), "application/json", headers=token)

    did = press(level=2, cohorts=True).json()
    assert [(one["flag"], one["where"]) for one in did["changes"]] == [(GPU, f"GPU driver is {OLD}")]
    assert did["entry"] == HistoryEntry.objects.get(verb="rollback.made").seq
    halved = press(level=1, revision=did["revision"]).json()
    assert halved["changes"][0]["after"] == "50 % of devices"
    assert press(level=1, revision=did["revision"]).json()["changed"] is False
    harm.forget()
    PanelHour.objects.all().delete()
    assert press(level=2, cohorts=True).status_code == 409
    assert press(level=7).status_code == 400
    after = Client().get("/api/v1/demo/rollback", headers=token).json()
    assert [(one["level"], one["by"]) for one in after["rollbacks"]] == [(1, "stops"), (2, "stops")]


def test_api__undo__is_a_proposal(console: Client, person: Any, client_as: Any) -> None:
    made = rollback(environment="demo", level=1, actor=SYSTEM)
    assert made is not None
    client = client_as(person("rel", Role.RELEASER))
    body = {"kind": "rollback.undo", "payload": {"rollback": made.pk}, "reason": "Fixed"}
    asked = client.post("/api/v1/demo/proposals", json.dumps(body), "application/json")
    assert asked.status_code == 201, asked.content
    done = client.post(f"/api/v1/demo/proposals/{asked.json()['proposal']}/apply", content_type="application/json")
    assert done.json()["state"] == "applied", done.content
    assert Flag.objects.get(environment="demo", key=LITERT).thousandths == 100_000
    assert client.post("/api/v1/demo/proposals", json.dumps(body), "application/json").status_code == 409

"""The guide's pages as plain forms, on a phone without JavaScript, and the same by the API."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from playwright.sync_api import Page

from hawkops.accounts.models import User
from hawkops.accounts.services.credentials import api_token_create
from hawkops.core import clock
from hawkops.core.access import Scope
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.scripts.models import Run, RunOutput, State
from incidents.models import OwnProblem, Remedy
from incidents.services.incidents import incident_open
from monitoring.models import Alert
from monitoring.services.criteria import criteria_seed
from monitoring.services.patterns import patterns_seed
from rollout.models import Flag
from rollout.services.flags import flags_seed
from tests.incidents.test_troubleshooting import OWN, device
from tests.scripts.test_in_browser import browse

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("test")
GUIDE = "/demo/troubleshooting"


@pytest.fixture
def console(operator: User, client_as: Callable[[User], Client]) -> Client:
    """The operator's browser, with everything seeded and a device with a GPU driver."""
    flags_seed(actor=SYSTEM)
    criteria_seed(actor=SYSTEM)
    patterns_seed(actor=SYSTEM)
    device("d1", on=("litert_gpu_backend",), driver="500.1")
    with connection.cursor() as cursor:
        # a browser on a busy machine takes longer than the console may
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    return client_as(operator)


Sent = tuple[str, dict[str, list[str]]]
Story = Callable[[Page], None]


def sent(console: Client, *stories: tuple[str, Story]) -> list[Sent]:
    """Press on a phone without JavaScript, page after page; returns what the browser would have the console do."""
    posted: list[tuple[str, str]] = []

    def told(page: Page) -> None:
        # nothing comes back, so that the page stays
        page.route(
            "**/*", lambda route: route.fulfill(status=204) if route.request.method == "POST" else route.fallback()
        )
        page.on("request", lambda request: posted.append((request.url, request.post_data or "")))
        for address, story in stories:
            page.goto(f"http://console.test{address}")
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 390, (address, width)
            with page.expect_request(lambda request: request.method == "POST"):
                story(page)

    browse(told, {address: console.get(address).content.decode() for address, _ in stories}, scripts=False)
    found = []
    for url, body in [one for one in posted if one[1]]:
        given: dict[str, list[str]] = {}
        for name, value in parse_qsl(body, keep_blank_values=True):
            given.setdefault(name, []).append(value)
        found.append((urlsplit(url).path, given))
    assert len(found) == len(stories)
    return found


def done(console: Client, what: Sent) -> str:
    """Send it; returns the page after it."""
    return console.post(*what, follow=True).content.decode()


def click(form: str, words: str = "") -> Story:
    """Press a form's button, which is large enough for a thumb and says the words."""

    def story(page: Page) -> None:
        button = page.locator(f"button[form={form}]")
        box = button.bounding_box()
        assert box is not None and box["height"] >= 40
        assert words in button.inner_text()
        button.click()

    return story


PRESSES = [
    ("high_memory", "so-1", "litert_max_concurrent_inferences"),
    ("high_memory", "so-2", "litert_clear_unused_models"),
    ("high_memory", "so-3", "litert_aggressive_gc"),
    ("frequent_switching", "so-1", "litert_switching_threshold"),
    ("frequent_switching", "so-2", "litert_switch_cooldown_ms"),
    ("models_not_loading", "so-1", "litert_model_redownload"),
    ("models_not_loading", "so-2", "litert_model_cache_clear"),
]


def test_presses__on_a_phone_without_javascript__do_it_and_undo_takes_it_back(console: Client) -> None:
    # each says how many devices it reaches
    pressed = sent(console, *((f"{GUIDE}/{problem}", click(form, "1")) for problem, form, _ in PRESSES))
    for what, (_, _, flag) in zip(pressed, PRESSES, strict=True):
        assert "Whether it helps is measured in 10 and 30 minutes" in done(console, what)
        assert Flag.objects.get(environment="demo", key=flag).override_variant == "on"
        assert (Remedy.objects.latest("pk").flag, Remedy.objects.latest("pk").pressed_by) == (flag, "operator")

    def undo(page: Page) -> None:
        page.locator("#remedies button").first.click()

    (what,) = sent(console, (f"{GUIDE}/frequent_switching", undo))
    assert "what stood before stands again" in done(console, what)
    assert Flag.objects.get(environment="demo", key="litert_switch_cooldown_ms").override_variant == ""


def test_driver__typed_on_a_phone__turns_the_gpu_off_for_whom_it_names(console: Client) -> None:
    def story(page: Page) -> None:
        page.get_by_label("Is below").fill("512")
        page.locator("button[form=so-1]").click()

    (what,) = sent(console, (f"{GUIDE}/poor_gpu", story))
    assert "GPU off below a driver version: GPU driver is below 512" in done(console, what)
    flag = Flag.objects.get(environment="demo", key="litert_gpu_backend")
    assert flag.scoped_overrides[0]["constraints"] == [["device.gpu.driver", "is below", ["512"]]]
    assert Remedy.objects.get().reach == 1


def test_scripts__on_a_phone__rehearse_first(console: Client) -> None:
    address = f"{GUIDE}/models_not_loading"
    for what in sent(console, (address, click("so-3", "Rehearse")), (address, click("so-4", "Rehearse"))):
        assert "only says what it would do" in done(console, what)
    assert [one.dry_run for one in Run.objects.all()] == [True, True]
    Run.objects.update(state=State.PASSED.value, finished_at=clock.now())
    for what in sent(console, (address, click("so-3", "Run it")), (address, click("so-4", "Run it"))):
        done(console, what)
    assert [one.dry_run for one in Run.objects.order_by("pk")] == [True, True, False, False]
    assert [one.kind for one in Remedy.objects.all()] == ["script", "script"]


def test_diagnosis__each_press_on_a_phone__runs_the_script_and_its_output_stands_in_place(console: Client) -> None:
    many = {"models_not_loading": 3, "high_memory": 2, "frequent_switching": 1, "poor_gpu": 2}
    stories = [
        (f"{GUIDE}/{problem}", click(f"dg-{n}", "Run")) for problem, last in many.items() for n in range(1, last + 1)
    ]
    for what in sent(console, *stories):
        after = done(console, what)
        run = Run.objects.latest("pk")
        assert f"Run {run.pk} is asked for" in after
        Run.objects.filter(pk=run.pk).update(
            state=State.FAILED.value, finished_at=clock.now(), output_lines=2, summary="2 of 3 fail"
        )
        for line, stream in ((1, "stdout"), (2, "stderr")):
            RunOutput.objects.create(run=run, number=line, at=clock.now(), stream=stream, text=f"line {line} <b>")
        shown = console.get(f"{what[0].removesuffix('/diagnose')}?part=diagnosis").content.decode()
        assert "line 1 &lt;b&gt;" in shown and "2 of 3 fail" in shown and "FAIL" in shown
    assert Run.objects.values("script").distinct().count() == 8


def test_own__added_changed_archived_on_a_phone__stands_in_the_guide(console: Client) -> None:
    def story(page: Page) -> None:
        page.get_by_label("Title").fill("Phones run hot")
        page.get_by_label("Symptom 1").select_option("criterion:alert-memory")
        page.get_by_label("Limit").first.fill("1500 MB")
        page.get_by_label("Script 1").select_option("scripts/check-gpu-memory.sh")
        page.get_by_label("Press 1").select_option("flag:litert_max_concurrent_inferences")
        page.get_by_label("Value").first.fill("1")
        page.get_by_role("button", name="Add it").click()

    (what,) = sent(console, (f"{GUIDE}/new", story))
    assert "Phones run hot is in the guide" in done(console, what)
    row = OwnProblem.objects.get()
    assert row.document["symptoms"] == [{"key": "s1", "criterion": "alert-memory", "limit": "1500 MB"}]
    assert "the team's own" in console.get(GUIDE).content.decode()

    def change(page: Page) -> None:
        page.get_by_label("Title").fill("Phones run very hot")
        page.get_by_role("button", name="Save").click()

    def archive(page: Page) -> None:
        page.get_by_role("button", name="Archive").click()

    changed, archived = sent(console, (f"{GUIDE}/{row.key}/edit", change), (f"{GUIDE}/{row.key}", archive))
    assert "Phones run very hot" in done(console, changed)
    done(console, archived)
    assert "Archived problems" in console.get(GUIDE).content.decode()
    assert HistoryEntry.objects.filter(subject=f"problem:{row.key}").count() == 3


def test_own__unfit__comes_back_with_what_was_typed_and_keeps_nothing(console: Client) -> None:
    given = {"title": "Hot", "symptom": ["criterion:alert-memory"], "limit": ["2 apples"], "solution": [], "script": []}
    answer = console.post(f"{GUIDE}/create", given)
    text = answer.content.decode()
    assert answer.status_code == 422
    assert "does not fit" in text and "Nothing is saved" in text and 'value="2 apples"' in text
    assert not OwnProblem.objects.exists()


@pytest.mark.parametrize(
    "path,given",
    [
        ("high_memory/press", {"solution": "nonsense"}),
        ("high_memory/press", {}),
        ("poor_gpu/press", {"solution": "driver", "bound": "\x01"}),
        ("poor_gpu/press", {"solution": "driver", "bound": ""}),
        ("high_memory/diagnose", {"number": "99"}),
        ("high_memory/diagnose", {"number": "²"}),
        ("high_memory/diagnose", {}),
    ],
)
def test_press__garbage__says_so_and_changes_nothing(console: Client, path: str, given: dict[str, str]) -> None:
    last = HistoryEntry.objects.latest("seq").seq
    answer = console.post(f"{GUIDE}/{path}", given, follow=True)
    assert answer.status_code == 200
    assert 'class="note err"' in answer.content.decode()
    assert HistoryEntry.objects.latest("seq").seq == last


@pytest.mark.parametrize(
    "path", ["nonsense", "high_memory/edit", "nonsense/edit", "remedies/99/undo", "nonsense/press", "high_memory/save"]
)
def test_address__of_nothing__is_not_found(console: Client, path: str) -> None:
    plain = path.endswith("edit") or "/" not in path
    answer = console.get(f"{GUIDE}/{path}") if plain else console.post(f"{GUIDE}/{path}", {})
    assert answer.status_code == 404


def test_viewer__sees_everything_and_presses_nothing(
    console: Client, viewer: User, client_as: Callable[[User], Client]
) -> None:
    text = client_as(viewer).get(f"{GUIDE}/high_memory").content.decode()
    assert "Pressing needs the role operator or releaser" in text
    assert 'form="so-1" disabled' in text


def test_links__emergency_incident_alert_and_pattern__lead_to_the_problem(console: Client) -> None:
    link = 'href="/demo/troubleshooting/high_memory"'
    assert link in console.get("/demo/emergency").content.decode()
    found = incident_open(environment="demo", title="x", severity="warning", actor=SYSTEM)
    assert 'href="/demo/troubleshooting"' in console.get(f"/demo/incidents/{found.pk}").content.decode()
    assert link in console.get("/demo/monitoring/patterns/memory-warning").content.decode()
    now = clock.now()
    alert = Alert.objects.create(
        environment="demo", source="criterion", key="alert-memory", kind="breach", state="firing", title="Memory",
        severity="critical", since_at=now, bad_at=now, fired_at=now,
    )  # fmt: skip
    assert link in console.get(f"/demo/alerts/{alert.pk}").content.decode()


def api(method: str, path: str, body: dict[str, Any] | None = None, *scopes: Scope) -> Any:
    _, secret = api_token_create(environment="demo", name=uuid4().hex, scopes=scopes, actor=SYSTEM)
    headers = {"Authorization": f"Bearer {secret}"}
    address = f"/api/v1/demo/{path}"
    return Client().generic(method, address, json.dumps(body or {}), "application/json", headers=headers)


def test_api__read_and_added__as_the_pages_show_them(console: Client) -> None:
    listed = api("GET", "troubleshooting", None, Scope.READ).json()["problems"]
    assert [one["problem"] for one in listed][-1] == "poor_gpu"
    assert listed[1]["diagnosis"][0] == "scripts/monitor-memory-usage.sh --duration=10m"
    made = api("POST", "troubleshooting", {**OWN, "reason": "From CI"}, Scope.INCIDENTS_WRITE)
    assert made.status_code == 201, made.content
    assert made.json()["own"] and made.json()["state"] == "no data"
    assert OwnProblem.objects.get().document == OWN
    assert HistoryEntry.objects.get(verb="problem.added").reason == "From CI"
    console.post(f"{GUIDE}/hot_phones/press", {"solution": "p1"})
    whole = api("GET", "troubleshooting/hot_phones", None, Scope.READ).json()
    assert [one["solution"] for one in whole["remedies"]] == ["p1"]
    again = api("POST", "troubleshooting", OWN, Scope.INCIDENTS_WRITE)
    assert again.status_code == 409
    unknown = {**OWN, "key": "other", "symptoms": [{"key": "s", "criterion": "nonsense"}]}
    refused = api("POST", "troubleshooting", unknown, Scope.INCIDENTS_WRITE)
    assert (refused.status_code, "There is no criterion" in refused.json()["error"]) == (400, True)
    assert api("POST", "troubleshooting", OWN, Scope.READ).status_code == 403
    assert api("GET", "troubleshooting/nonsense", None, Scope.READ).status_code == 404

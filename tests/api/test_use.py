"""The API in use: a pipeline with a token walks a release, changes flags and groups, stops everything, and reads why."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from hawkops.accounts.services.credentials import api_token_create
from hawkops.core import clock
from hawkops.core.access import Role, Scope
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.scripts.models import Run
from monitoring.services.criteria import criteria_seed
from rollout.models import CensusDevice, Flag, Release
from rollout.services.flags import flags_seed
from rollout.services.groups import groups_seed
from rollout.services.releases import runbook_import
from rollout.services.waivers import waiver_make
from tests.rollout.walking import by_hand

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("test")
COUNT = "litert_max_concurrent_inferences"
RELEASE = {
    "name": "HazardHawk",
    "app_version": "2.4.0",
    "version_code": 2407,
    "model_name": "gemma3-1b",
    "model_digest": "sha256:" + "ab" * 32,
    "backends": ["cpu", "gpu"],
}


class Pipeline:
    """A program with a token for everything in `demo`."""

    def __init__(self, environment: str = "demo") -> None:
        flags_seed(actor=SYSTEM)
        # these tests give it a schema themselves
        Flag.objects.filter(key=COUNT).update(schema=None, safe_variant="off")
        groups_seed(actor=SYSTEM)
        runbook_import(actor=SYSTEM)
        self.token, self.secret = api_token_create(
            environment=environment, name="pipeline", scopes=list(Scope), actor=SYSTEM
        )

    def __call__(self, method: str, path: str, body: Any = None, *, status: int = 200, raw: str = "") -> Any:
        """Call and give the answer's document; the status must be as said."""
        content = raw.encode() if raw else b"" if body is None else json.dumps(body).encode()
        answer = Client().generic(
            method,
            f"/api/v1/{path}",
            content,
            "text/csv" if raw else "application/json",
            headers={"Authorization": f"Bearer {self.secret}"},
        )
        said = b"".join(answer.streaming_content) if answer.streaming else answer.content  # type: ignore[attr-defined]
        assert answer.status_code == status, said
        assert "no-store" in answer["Cache-Control"]
        assert not answer.cookies
        return said.decode() if answer["Content-Type"].startswith("text/csv") else json.loads(said)

    @property
    def last(self) -> HistoryEntry:
        """The newest entry."""
        return HistoryEntry.objects.select_related("personal").order_by("-seq")[0]


@pytest.fixture
def api() -> Pipeline:
    return Pipeline()


def device(key: str, **more: Any) -> None:
    """An active device."""
    now = clock.now()
    CensusDevice.objects.create(environment="demo", device_id=key, first_seen_at=now, last_seen_at=now, **more)


def test_release__created_ticked_and_refreshed__by_a_token_named_in_the_history(
    api: Pipeline, person: Callable[..., Any], client_as: Callable[..., Client]
) -> None:
    by_hand("alert_endpoints")
    made = api("POST", "demo/releases", RELEASE, status=201)
    assert (made["running"], made["created_by"], made["version_code"]) == (True, "pipeline", 2407)
    entry = api.last
    assert (entry.verb, entry.actor, entry.actor_label) == ("release.created", f"token:{api.token.pk}", "pipeline")
    assert entry.request_id
    place = f"demo/releases/{made['release']}"
    assert api("GET", place) == made
    assert [one["release"] for one in api("GET", "demo/releases")["releases"]] == [made["release"]]
    assert "under way" in api("POST", "demo/releases", RELEASE, status=409)["error"]
    other = api("POST", "demo/releases", {**RELEASE, "app_version": "2.4.1", "supersede": True}, status=201)
    assert Release.objects.get(running=True).pk == other["release"]

    found = api("GET", f"{place}/checklist")
    boxes = {box["check"]: box for group in found["groups"] for box in group["boxes"]}
    assert (found["boxes_total"], len(boxes), found["verdict"]) == (22, 22, Verdict.NO_DATA)
    ticks = next(box for box in boxes.values() if not box["automatic"])
    by_itself = next(box for box in boxes.values() if box["automatic"] and box["scripts"])
    body = {"ticked": True, "note": "x"}
    assert "a person's word" in api("PUT", f"{place}/checklist/{ticks['check']}", body, status=403)["error"]
    signer = client_as(person("rel", Role.RELEASER))
    where = f"/api/v1/{place}/checklist"
    ticked = signer.put(f"{where}/{ticks['check']}", {**body, "note": "job 7 was green"}, "application/json").json()
    assert (ticked["changed"], ticked["box"]["verdict"]) == (True, Verdict.PASS)
    assert "ticks itself" in signer.put(f"{where}/{by_itself['check']}", body, "application/json").json()["error"]
    run = api("POST", f"{place}/checklist/{by_itself['check']}/run", status=201)
    assert Run.objects.get(pk=run["run"]).subject["release"] == made["release"]
    assert api("POST", f"{place}/evidence/refresh", status=202)["asked"] is True
    api("GET", "demo/releases/999", status=404)
    advance = api("GET", "demo/may-advance")
    assert (advance["release"], advance["may_advance"], len(advance["lines"])) == (other["release"], False, 28)


def test_release__another_model__is_kept_and_another_environments_release_is_none(api: Pipeline) -> None:
    made = api("POST", "demo/releases", RELEASE, status=201)
    where = f"demo/releases/{made['release']}/model"
    body = {"model_name": "gemma3-1b", "model_digest": "cd" * 32, "reason": "Trained anew"}
    assert api("PUT", where, body)["model_digest"] == "sha256:" + "cd" * 32
    assert (api.last.verb, api.last.reason) == ("release.model_changed", "Trained anew")
    assert "64 hexadecimal digits" in api("PUT", where, {**body, "model_digest": "x"}, status=400)["error"]
    assert "release" in api("PUT", "demo/releases/0/model", body, status=404)["error"]


def test_checklist__a_waived_box__is_named_with_its_waiver_and_does_not_count_as_passed(api: Pipeline) -> None:
    made = api("POST", "demo/releases", RELEASE, status=201)
    ends = clock.now() + timedelta(days=3)
    waiver_make(
        release=Release.objects.get(),
        box="encryption",
        owner="M. Klein",
        expires_at=ends,
        approvers=["ana"],
        actor=SYSTEM,
        reason="No phone here",
    )
    said = api("GET", f"demo/releases/{made['release']}/checklist")
    assert (said["boxes_total"], said["boxes_passed"], said["boxes_waived"]) == (22, 0, 1)
    boxes = {box["check"]: box for group in said["groups"] for box in group["boxes"]}
    waiver = boxes.pop("encryption")["waiver"]
    assert (waiver["reason"], waiver["owner"], waiver["by"]) == ("No phone here", "M. Klein", "test, ana")
    assert not any(box["waiver"] for box in boxes.values())


def test_flag__changed_overridden_and_explained(api: Pipeline) -> None:
    device("dev-1", attributes={"device.gpu.driver": "500"}, served_on=["litert_enabled"])
    flag = api("GET", "demo/flags/litert_gpu_backend")
    changed = api("PUT", "demo/flags/litert_gpu_backend/percentage", {"percent": 5, "reason": "Phase 2"})
    assert changed == {"changed": True, "entry": api.last.seq, "revision": api("GET", "demo/flags")["revision"]}
    assert changed["revision"] > flag["revision"]
    stale = {"percent": 6, "reason": "x", "revision": flag["revision"]}
    assert "changed meanwhile" in api("PUT", "demo/flags/litert_gpu_backend/percentage", stale, status=409)["error"]
    same = api("PUT", "demo/flags/litert_gpu_backend/percentage", {"percent": 5, "reason": "again"})
    assert (same["changed"], same["entry"]) == (False, None)

    driver = {"attribute": "device.gpu.driver", "operator": "is below", "values": ["512"]}
    rule = {"percent": 50, "group": "beta_testers", "where": [driver]}
    body = {"rules": [rule], "pinned": {"dev-9": "on"}, "revision": changed["revision"], "reason": "Beta"}
    api("PUT", "demo/flags/litert_gpu_backend/rules", body)
    stands = api("GET", "demo/flags/litert_gpu_backend")
    assert stands["rules"][0]["where"] == [driver]
    assert (stands["rules"][0]["percent"], stands["pinned"]) == (50, {"dev-9": "on"})

    forced = {"variant": "off", "where": [driver], "reason": "Old drivers crash"}
    api("POST", "demo/flags/litert_gpu_backend/overrides", forced, status=201)
    why = api("GET", "demo/flags/litert_gpu_backend/evaluate?device=dev-1")
    assert (why["variant"], why["attributes"]) == ("off", {"device.gpu.driver": "500"})
    assert "Old drivers crash" in why["why"]
    (scoped,) = api("GET", "demo/flags/litert_gpu_backend")["scoped_overrides"]
    assert scoped["by"] == "pipeline"
    api("POST", f"demo/flags/litert_gpu_backend/overrides/{scoped['number']}/lift", {"reason": "Fixed"})

    api("PUT", "demo/flags/litert_gpu_backend/override", {"variant": "on", "reason": "Drill"})
    assert api("GET", "demo/flags")["flags"][1]["override"]["variant"] == "on"
    assert api("PUT", "demo/flags/litert_gpu_backend/override", {"variant": "on", "reason": " "}, status=400)
    api("POST", "demo/flags/litert_gpu_backend/override/lift", {"reason": "Done"})
    assert api("GET", "demo/flags/litert_gpu_backend")["override"] is None
    assert api("GET", "demo/flags/litert_enabled")["devices_on"] == 1


def test_values__read_changed_and_refused(api: Pipeline) -> None:
    place = f"demo/flags/{COUNT}"
    stands = api("GET", place)
    assert (stands["on"], stands["off"], stands["value_schema"], stands["archived_at"]) == (2, 4, None, None)
    body = {"on": 1, "off": 4.0, "value_schema": {"minimum": 1}, "revision": stands["revision"], "reason": "Memory"}
    changed = api("PUT", f"{place}/values", body)
    assert (changed["changed"], api.last.verb, api.last.actor_label) == (True, "flag.values_changed", "pipeline")
    after = api("GET", place)
    assert (after["on"], after["off"], after["value_schema"]) == (1, 4, {"minimum": 1})
    assert "changed meanwhile" in api("PUT", f"{place}/values", {**body, "on": 3}, status=409)["error"]
    body["revision"] = after["revision"]
    assert api("PUT", f"{place}/values", body)["changed"] is False
    for unfit, words in (
        ({"on": 0}, "on: it does not meet the schema. 0 is less than the minimum of 1."),
        ({"on": "1"}, 'on: "1" is not a number.'),
        ({"off": 2.5}, "off: 2.5 is not a whole number."),
        ({"value_schema": {"minimum": 2}}, "schema: the on value does not meet it."),
        ({"value_schema": {"$ref": "https://example.org/x"}}, "is not fetched"),
        ({"reason": ""}, "Say why"),
    ):
        assert words in api("PUT", f"{place}/values", {**body, **unfit}, status=400)["error"], unfit
    api("PUT", f"{place}/values", {"on": 1, "off": 4, "revision": 1, "reason": "x"}, status=422)
    assert api("GET", place) == after


def test_own_flag__made_everywhere_archived_in_one_environment(api: Pipeline) -> None:
    new = {
        "key": "prompt.style",
        "title": "Prompt style",
        "explanation": "Asks for short answers.",
        "type": "json",
        "on": {"words": 40},
        "off": {"words": 200},
        "value_schema": {"required": ["words"]},
        "reason": "Shorter answers",
    }
    seq = api.last.seq
    assert "in each of them" in api("POST", "flags", new, status=403)["error"], "its token is for demo"
    assert api.last.seq == seq
    everywhere = Pipeline(environment="")
    made = everywhere("POST", "flags", new, status=201)
    assert sorted(made["environments"]) == ["demo", "production", "staging"]
    assert "already" in everywhere("POST", "flags", new, status=400)["error"]
    assert "one of boolean" in everywhere("POST", "flags", {**new, "key": "x", "type": "map"}, status=400)["error"]
    place = "demo/flags/prompt.style"
    stands = api("GET", place)
    assert (stands["percent"], stands["safe_variant"], stands["value_schema"]) == (0, "off", {"required": ["words"]})
    assert api("GET", f"{place}/evaluate?device=d1")["value"] == {"words": 200}

    gone = {"revision": stands["revision"], "reason": "Done with it"}
    assert "runbook's" in api("POST", f"demo/flags/{COUNT}/archive", gone, status=409)["error"]
    assert api("POST", f"{place}/archive", gone)["changed"] is True
    assert "archived" in api("POST", f"{place}/archive", gone, status=409)["error"]
    assert "archived" in api("GET", f"{place}/evaluate?device=d1", status=409)["error"]
    assert api("GET", place)["archived_at"]
    assert "prompt.style" not in {one["key"] for one in api("GET", "demo/flags")["flags"]}
    assert "prompt.style" in {one["key"] for one in api("GET", "demo/flags?archived=true")["flags"]}
    assert everywhere("GET", "staging/flags/prompt.style")["archived_at"] is None


def test_own_flag__by_a_person__takes_a_role_in_each_environment(
    api: Pipeline, person: Callable[..., Any], client_as: Callable[..., Client]
) -> None:
    body = {"key": "x", "title": "X", "explanation": "X.", "type": "boolean", "on": True, "off": False, "reason": "x"}
    for user, status in (
        (person("here", Role.RELEASER, environment="demo"), 403),
        (person("all", Role.RELEASER), 201),
    ):
        answer = client_as(user).post("/api/v1/flags", body, content_type="application/json")
        assert answer.status_code == status, answer.content


def test_kill__without_a_body__is_one_change_and_re_enabled_deliberately(api: Pipeline) -> None:
    killed = api("POST", "demo/kill")
    assert (api.last.verb, api.last.reason, api.last.seq) == ("flag.killed", "Production incident", killed["entry"])
    assert api("POST", "demo/kill", {"reason": "again"})["changed"] is False
    assert api("POST", "demo/backends/gpu/disable", {"reason": "Driver"})["changed"] is True
    assert "no backend" in api("POST", "demo/backends/tpu/disable", status=400)["error"]
    api("POST", "demo/reenable", {"flags": ["litert_enabled"], "reason": ""}, status=400)
    keys = ["litert_enabled", "ai_fallback_to_cloud", "litert_gpu_backend"]
    assert api("POST", "demo/reenable", {"flags": keys, "reason": "Fixed in 2.4.1"})["changed"] is True
    assert not any(flag["override"] for flag in api("GET", "demo/flags")["flags"])


def test_drill__of_two_switches__started_listed_and_stopped(api: Pipeline) -> None:
    refused = api("POST", "demo/drills", status=409)["error"]
    assert refused == "No device of internal_testers is active, so a press would prove nothing."
    members = {"members": ["d1"], "reason": "Ours"}
    read = api("GET", "demo/groups/internal_testers/members")
    api("PUT", "demo/groups/internal_testers/members", {**members, "revision": read["revision"]})
    CensusDevice.objects.create(
        environment="demo", device_id="d1", first_seen_at=clock.now(), last_seen_at=clock.now(), simulated=True
    )
    assert "1 to 15 minutes" in api("POST", "demo/drills", {"minutes": 20}, status=400)["error"]
    flags = ["litert_npu_backend", "litert_enabled"]
    first, second = api("POST", "demo/drills", {"flags": flags, "minutes": 2}, status=201)
    assert (first["flag"], first["state"], first["devices"], first["simulated"]) == ("litert_enabled", "pressed", 1, 1)
    assert (second["flag"], second["state"], second["outcome"]) == ("litert_npu_backend", "waiting", None)
    assert api("GET", "demo/flags/litert_enabled")["scoped_overrides"][0]["where"] == ["in internal_testers"]
    assert HistoryEntry.objects.get(seq=first["entry"]).verb == "flag.drilled"
    stopped = api("POST", f"demo/drills/{first['drill']}/stop")
    assert (stopped["outcome"], stopped["state"], stopped["ended_by"]) == ("stopped", "restored", "pipeline")
    assert [(one["flag"], one["outcome"]) for one in api("GET", "demo/drills")] == [
        ("litert_npu_backend", "stopped"),
        ("litert_enabled", "stopped"),
    ]
    assert api("GET", "demo/flags/litert_enabled")["scoped_overrides"] == []


def test_procedure__steps_in_order__a_token_runs_and_asks_and_people_confirm(
    api: Pipeline, client_as: Callable[..., Client], releaser: Any
) -> None:
    made = api("POST", "demo/releases", RELEASE, status=201)
    where = f"demo/releases/{made['release']}/procedure"
    said = api("GET", where)
    assert (said["done"], said["skipped"], said["total"], said["next_step"]) == (0, 0, 11, "monitoring_deployed")
    steps = {one["step"]: one for one in said["steps"]}
    assert steps["monitoring_deployed"]["line"] == "kubectl apply -f monitoring/production-monitoring.yaml"
    assert (steps["monitoring_deployed"]["act"], steps["monitoring_verified"]["act"]) == ("dry_run", "")
    assert "can't begin before" in api("POST", f"{where}/flags_initialised/flags", status=409)["error"]
    api("POST", f"{where}/nothing/flags", status=404)
    seq = api.last.seq
    assert "Say why" in api("POST", f"{where}/monitoring_deployed/skip", {"reason": " "}, status=400)["error"]
    assert api.last.seq == seq
    assert api("POST", f"{where}/monitoring_deployed/skip", {"reason": "No cluster"})["skipped"] == 1
    run = api("POST", f"{where}/monitoring_verified/start", status=201)
    assert (run["script"], run["state"]) == ("scripts/verify-monitoring-stack.sh", "queued")
    Run.objects.update(state="passed")
    said = api("GET", where)
    assert (said["done"], said["next_step"]) == (1, "configuration_loaded")
    confirmed = {"digest": said["settings_digest"], "note": "As deployed"}
    assert "sign in" in api("POST", f"{where}/configuration_loaded/attest", confirmed, status=403)["error"]
    person = client_as(releaser)
    answer = person.post(f"/api/v1/{where}/configuration_loaded/attest", confirmed, content_type="application/json")
    assert answer.status_code == 200, answer.content
    for step in ("security_deployed", "security_validated", "app_built", "app_deployed", "smoke_tested"):
        api("POST", f"{where}/{step}/skip", {"reason": "Elsewhere"})
    api("POST", f"{where}/core_ai_verified/skip", {"reason": "Elsewhere"})
    api("POST", f"{where}/flags_initialised/flags")
    pressed = api("POST", f"{where}/controls_tested/drill")
    assert pressed["steps"][-1]["state"] == "running"
    assert api("POST", f"{where}/controls_tested/drill", {"lift": True})["next_step"] is None


def test_procedure__where_others_are_asked__a_second_person_agrees_to_a_skip(
    api: Pipeline, settings: Any, client_as: Callable[..., Client], person: Callable[..., Any]
) -> None:
    settings.APPROVALS_IN = ["demo"]
    made = api("POST", "demo/releases", RELEASE, status=201)
    where = f"demo/releases/{made['release']}/procedure/monitoring_deployed/skip"
    waits = api("POST", where, {"reason": "No cluster"})
    assert (waits["skipped"], waits["steps"][0]["skip_waits"]) == (0, True)
    assert "Only a person says yes" in api("POST", f"{where}/approve", status=403)["error"]
    answer = client_as(person("ana", Role.APPROVER)).post(f"/api/v1/{where}/approve")
    assert answer.json()["skipped"] == 1


def test_group__filled_by_json_and_csv__and_out_again(api: Pipeline) -> None:
    made = api("POST", "demo/groups", {"key": "crew", "title": "Crew", "reason": "Pilot"}, status=201)
    body = {"members": ["dev-1", "dev-2"], "revision": made["revision"], "reason": "Pilot"}
    first = api("PUT", "demo/groups/crew/members", body)
    assert "changed meanwhile" in api("PUT", "demo/groups/crew/members", body, status=409)["error"]
    query = f"revision={first['revision']}&reason=Grown"
    api("PUT", f"demo/groups/crew/members.csv?{query}", raw='targeting_key\r\n"dev,3"\r\ndev-1\r\n')
    assert api("GET", "demo/groups/crew/members")["members"] == ["dev,3", "dev-1"]
    assert api("GET", "demo/groups/crew/members.csv") == 'targeting_key\r\n"dev,3"\r\ndev-1\r\n'
    assert {one["key"]: one["members"] for one in api("GET", "demo/groups")["groups"]}["crew"] == 2
    api("DELETE", "demo/groups/crew?reason=Over")
    api("GET", "demo/groups/crew", status=404)


def test_run__started_and_cancelled(api: Pipeline) -> None:
    name = "scripts/test-cpu-performance.sh"
    assert name in {one["name"] for one in api("GET", "demo/scripts")["scripts"]}
    run = api("POST", "demo/runs", {"script": name}, status=201)
    assert api("GET", f"demo/runs/{run['run']}/output") == {"lines": [], "last": 0, "is_open": True}
    assert api("POST", f"demo/runs/{run['run']}/cancel", status=202)["state"] == "cancelled"
    assert api("GET", f"demo/runs?script={name}")["runs"][0]["requested_by"] == "pipeline"
    assert "dry run" in api("POST", "demo/runs", {"script": "scripts/clear-model-cache.sh"}, status=409)["error"]


def test_history__read_page_by_page__brings_every_entry_once(api: Pipeline) -> None:
    for percent in (1, 2, 3):
        api("PUT", "demo/flags/litert_npu_backend/percentage", {"percent": percent, "reason": f"step {percent}"})
    pages, older = [], ""
    while True:
        page = api("GET", f"demo/history?verb=flag.percentage&limit=2{older}")
        pages += [one["reason"] for one in page["entries"]]
        if page["older_than"] is None:
            break
        older = f"&before={page['older_than']}"
    assert pages == ["step 3", "step 2", "step 1"]
    newest = api("GET", f"demo/history?actor=token:{api.token.pk}&limit=1")["entries"][0]
    assert newest["after"]["percentage"] == 3
    assert api("GET", f"demo/history/{newest['entry']}") == newest
    since = (clock.now() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert api("GET", f"demo/history?since={since}")["entries"] == []


def test_history__of_another_environment__is_not_told(api: Pipeline) -> None:
    theirs = HistoryEntry.objects.filter(environment="production")[0]
    api("GET", f"demo/history/{theirs.seq}", status=404)
    assert theirs.seq not in {one["entry"] for one in api("GET", "demo/history?limit=500")["entries"]}


def test_census_and_criteria__are_read(api: Pipeline) -> None:
    criteria_seed(actor=SYSTEM)
    device("dev-1", obeyed_revision=10, device_class="SM8650")
    device("dev-2", simulated=True)
    census = api("GET", "demo/census?revision=10")
    assert {name: census[name] for name in ("active", "obeyed", "pending", "simulated")} == {
        "active": 2,
        "obeyed": 1,
        "pending": 1,
        "simulated": 1,
    }
    one = api("GET", "demo/criteria/alert-latency")
    assert (one["verdict"], one["value"], one["purpose"]) == (Verdict.NO_DATA, None, "alert")
    assert one in api("GET", "demo/criteria?purpose=alert")["criteria"]
    assert "no purpose" in api("GET", "demo/criteria?purpose=x", status=400)["error"]


def test_environments__are_those_that_the_caller_may_read(
    api: Pipeline, person: Callable[..., Any], client_as: Callable[..., Client]
) -> None:
    assert [one["environment"] for one in api("GET", "environments")["environments"]] == ["demo"]
    client = client_as(person("somebody", Role.VIEWER))
    assert len(client.get("/api/v1/environments").json()["environments"]) == 3


def test_session__with_the_forms_token__changes_in_the_persons_name(api: Pipeline, operator: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(operator)
    client.get("/demo/emergency")
    token = client.cookies["hawkops_csrf"].value
    assert client.generic("POST", "/api/v1/demo/kill", headers={"X-CSRFToken": token}).status_code == 200
    assert api.last.actor == f"person:{operator.pk}"


def test_walk__a_token_proposes_and_carries_out__but_never_says_yes(
    person: Callable[..., Any], client_as: Callable[..., Client]
) -> None:
    api = Pipeline(environment="production")
    made = api("POST", "production/releases", RELEASE, status=201)
    place = f"production/releases/{made['release']}"
    walk = api("GET", f"{place}/phases")
    assert (walk["next_phase"], walk["phases"]) == (1, [])
    assert {need["key"] for need in walk["needs"] if not need["met"]} == {"gates", "procedure", "audience", "approval"}
    refused = api("POST", f"{place}/phases", {"phase": 1, "reason": "Go"}, status=409)
    assert "22 open" in refused["error"]

    body = {"kind": "phase.start", "payload": {"release": made["release"], "number": 1, "jump": False}, "reason": "Go"}
    proposal = api("POST", "production/proposals", body, status=201)
    where = f"production/proposals/{proposal['proposal']}"
    assert "Only a person" in api("POST", f"{where}/approve", {"edition": 1}, status=403)["error"]
    signer = client_as(person("ana", Role.APPROVER))
    said = signer.post(f"/api/v1/{where}/approve", {"edition": 1}, content_type="application/json").json()
    assert [one["by"] for one in said["approvals"]] == ["ana"]
    assert "Gates" in api("POST", f"{where}/apply", status=409)["error"]
    assert api("GET", where)["refusal"]
    assert api("POST", f"{where}/withdraw", {"reason": "Not yet"})["state"] == "withdrawn"
    assert api("GET", "production/proposals")["proposals"][0]["state"] == "withdrawn"
    raised = api("PUT", "production/flags/litert_enabled/percentage", {"percent": 1, "reason": "x"}, status=409)
    assert "Gates: 22 open" in raised["error"]


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("moon", {}),
        ("flag.percentage", {"key": "litert_enabled"}),
        ("flag.percentage", {"key": "litert_enabled", "percent": True, "expected_revision": 1}),
        ("flag.percentage", {"key": "litert_enabled", "percent": 101, "expected_revision": 1}),
        ("flag.rules", {"key": "litert_enabled", "rules": [{}], "pinned": {}, "expected_revision": 1}),
        ("flag.values", {"key": COUNT, "on": 2, "off": 4, "expected_revision": 1}),
        ("flag.values", {"key": COUNT, "on": 2, "schema": None, "expected_revision": 1}),
        ("flag.values", {"key": COUNT, "on": 2.5, "off": 4, "schema": None, "expected_revision": 1}),
        ("flag.values", {"key": COUNT, "on": 2, "off": 4, "schema": {"type": 1}, "expected_revision": 1}),
        ("flag.values", {"key": COUNT, "on": 2, "off": 4, "schema": None, "expected_revision": 1}),
        ("flag.archive", {"key": COUNT, "expected_revision": 1}),
        ("flag.override", {"key": "litert_enabled", "variant": "maybe"}),
        ("flag.override", {"key": "litert_enabled", "variant": "on", "more": 1}),
        ("flag.reenable", {"keys": []}),
        ("group.members", {"key": "internal_testers", "members": [1], "expected_revision": 1}),
        ("waiver", {"release": 1, "box": "security_scan", "owner": "M", "expires_at": "2026-01-01"}),
    ],
)
def test_proposal__unfit__is_refused_in_a_sentence_and_kept_nowhere(
    api: Pipeline, kind: str, payload: dict[str, Any]
) -> None:
    seq = api.last.seq
    said = api("POST", "demo/proposals", {"kind": kind, "payload": payload, "reason": "x"}, status=400)
    assert said["error"]
    assert api.last.seq == seq

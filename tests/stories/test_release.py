"""A release from its creation to 100 %: real script runs and telemetry, three teams, a regression, another model.

Everything runs in this process, whose clock is stepped through four weeks: console and gateway behind real ports, and what
workers and beat would do as they do it. Simulated phones and this host speak in `demo` only, which therefore rehearses the
approvals of production. What this machine can't measure is waived, as a team would, and `WAIVED` says exactly what.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from django.conf import settings as configured
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from hawkops.accounts.models import User
from hawkops.accounts.services.credentials import api_token_create, device_key_create
from hawkops.core import clock
from hawkops.core.access import Role, Scope
from hawkops.core.teams import Team
from hawkops.fleet import model
from hawkops.fleet.cloud import CloudStandIn
from hawkops.gateway import Gateway
from hawkops.history.actors import Actor
from hawkops.history.models import Head
from hawkops.history.services import history_verify
from hawkops.history.tasks import heartbeat
from hawkops.scripts import runner
from hawkops.scripts import tasks as scripts
from hawkops.scripts.models import Run, State
from incidents.domain.routing import Topic
from incidents.models import Channel
from incidents.services.channels import Rules, channel_change, channel_create
from incidents.services.sending import send_due
from monitoring.domain.criteria import Severity
from monitoring.domain.health import EVERYWHERE
from monitoring.models import StoredCriterion
from monitoring.services.criteria import criterion_save
from monitoring.services.health import ROOT, due, health_run
from monitoring.tasks import alerts_evaluate
from rollout import tasks
from rollout.models import PhaseRun, Proposal, RunbookVersion
from rollout.runbook.loading import CURRENT
from rollout.selectors import flags
from rollout.selectors.phases import phase_of
from tests.fleet.standin import serving
from tests.incidents.sinks import http_sink
from tests.rollout.walking import SYSTEM, furnish, signers, somebody
from tests.stories.fleet import ENVIRONMENT, FLAG, FLAGS_PATH, HOUR, REPORTING, WELL, Fleet, Health, Phone

pytestmark = [pytest.mark.story, pytest.mark.fresh_database, pytest.mark.xdist_group("story")]

TESTERS, BETA, OTHERS, OLD = 5, 300, 4_000, 50
WAIVED = {
    "encryption": "No Android device is attached to this host, whose storage could be looked at",
    "security_validation": "It looks at the same device",
    "compliance": "Nobody has left this installation yet, so nothing shows that access ends",
    "monitoring_operational": "Workers and beat are this test itself",
}
# what must hold after a phase, the same three of those
WAIVED_AFTER = {
    "compliance_encryption": "It looks at the same device",
    "compliance_audit": "Beat's heartbeats are written for the last minutes of a phase only, not for its days",
    "compliance_standards": "Nobody has left this installation yet, and the heartbeats of these days are missing",
}
SCRIPTED = ("performance_tests", "models_signed", "integration_tests")
# The interval of a change takes thirty devices a side, and three report all day; so the team sets rules of its own:
# aggregate, comparator, threshold.
OWN_RULES = {
    "phase-improvement": ("change of means", "<=", "-20 %"),
    "phase-engagement": ("change of means", ">=", "5 %"),
    "phase-satisfaction-improved": ("change of means", ">=", "2 %"),
    "phase-business": ("change of means", ">=", "10 %"),
}
# "no crash" takes 300 reports, which three phones send in a day this often
TEN_MINUTES = timedelta(minutes=10)
TWO_DAYS, SECOND = timedelta(hours=48), timedelta(seconds=1)
# what is normal of a phone's resources takes a hundred hours before the release
HOURS_BEFORE = 110
# "audit log gaps" looks at ten minutes
HEARTBEAT, HEARTBEATS = timedelta(seconds=30), 22
# Scripts are processes of their own, which take the story's time for now as well.
STEPPED = """import os
from datetime import datetime
from hawkops.core import clock
clock.step_to(datetime.fromisoformat(os.environ["STORY_NOW"]))
"""
RUNS_MOST = 3
# The team's own version of the runbook: evidence of scripts is good for a week, so that a ramp of weeks needs few runs.
RUNBOOK = "1.1.0"
# what stands on the model's digest: of what must hold after a phase, and of the checklist
RUN_AGAIN = ("compliance_models", "performance_suite")
OF_THE_MODEL = (
    "backends_tested",
    "memory_limit",
    "backend_switching",
    "models_signed",
    "performance_tests",
    "integration_tests",
)
AFTER_PHASE_1 = {
    "Post-deployment validation: performance": [
        "validated_cpu PASS",
        "validated_memory PASS",
        "validated_latency PASS",
        "validated_switching PASS",
    ],
    "Post-deployment validation: user experience": [
        "validated_tasks PASS",
        "validated_sessions PASS",
        "validated_crashes PASS",
        "validated_satisfaction PASS",
    ],
    "Post-deployment validation: system health": [
        "validated_api PASS",
        "validated_errors PASS",
        "validated_tickets PASS",
        "validated_resources PASS",
    ],
    "Security compliance": [
        "compliance_models PASS",
        "compliance_encryption FAIL",
        "compliance_audit FAIL",
        "compliance_standards FAIL",
    ],
    "At the end of the phase": ["performance_suite PASS", "validation_report PASS"],
    "Phase 2: Limited beta": [
        "order PASS",
        "time PASS",
        "steps PASS",
        "sample PASS",
        "criteria PASS",
        "guardrails PASS",
        "data PASS",
        "recommendation FAIL",
        "audience PASS",
        "flag PASS",
        "lockdown PASS",
        "freeze PASS",
        "approval INSUFFICIENT",
    ],
}
# Three phones report for the whole fleet, so that lines which take hundreds of observations a side can't proceed.
AGAINST = {"disagrees": "Few phones report in this rehearsal; what they report is well"}
SARIF = """{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "semgrep"}}, "results": []}]}"""


@pytest.fixture(autouse=True)
def _stepped() -> Iterator[None]:
    """Stop the clock, and let it run again."""
    clock.step_to(clock.now())
    yield
    clock.step_to(None)


class SoonAnswered:
    """The stand-in's chance, without its waits."""

    def lognormvariate(self, _mu: float, _sigma: float) -> float:
        """Return how much longer than usual an answer takes."""
        return 0.05


@dataclass
class Story:
    """An installation in this process: its doors, its people, its fleet, and the release that walks."""

    console: str
    gateway: str
    token: str
    fleet: Fleet
    client_as: Callable[[User], Client]
    releaser: User = field(init=False)
    signers: list[User] = field(init=False)
    release: int = 0

    def __post_init__(self) -> None:
        # the releaser may approve too, and is of a team: only that he made the change stands in his way
        self.releaser = somebody("rita", Role.RELEASER, Role.APPROVER, teams=(Team.ENGINEERING,))
        self.signers = signers()

    # ---- as a pipeline, through the REST API ----

    def api(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """Call an operation of demo with the token; the answer's status must be as said."""
        content = {"content": body} if isinstance(body, str) else {"json": body}
        answer = httpx.request(
            method,
            f"{self.console}/api/v1/{ENVIRONMENT}/{path}",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=30,
            **content,
        )
        assert answer.status_code == status, answer.text
        return answer.json()

    def of_release(self, method: str, path: str = "", body: Any = None, *, status: int = 200) -> Any:
        """Call an operation of the release."""
        return self.api(method, f"releases/{self.release}{path}", body, status=status)

    def lines(self) -> dict[str, dict[str, Any]]:
        """Return the lines of `may-advance` by their keys."""
        said = self.api("GET", "may-advance")
        assert said["may_advance"] is all(not line["blocks"] for line in said["lines"])
        return {line["key"]: line for line in said["lines"]}

    def blocking(self) -> dict[str, str]:
        """Return the verdicts of what keeps the release where it is, but for the recommendation: people may disagree."""
        lines = self.lines()
        return {key: line["verdict"] for key, line in lines.items() if line["blocks"] and key != "recommendation"}

    # ---- as people, on the pages ----

    def page(self, path: str = "", who: User | None = None) -> str:
        """Read a page of the release."""
        answer = self.client_as(who or self.releaser).get(f"/{ENVIRONMENT}/releases/{self.release}{path}")
        assert answer.status_code == 200
        return answer.content.decode()

    def press(self, who: User, path: str, **form: str) -> str:
        """Press a button and read the page that comes."""
        answer = self.client_as(who).post(f"/{ENVIRONMENT}/{path}", form, follow=True)
        assert answer.status_code == 200, answer.content
        return answer.content.decode()

    def approve(self, proposal: int, *people: User) -> str:
        """Let people say yes; return the page that the last one saw."""
        said = ""
        for who in people:
            edition = Proposal.objects.get(pk=proposal).edition
            said = self.press(who, f"proposals/{proposal}/approve", edition=str(edition))
        return said

    def waive(self, check: str, reason: str) -> None:
        """Ask for a waiver as the pipeline, and let a second person say yes."""
        ends = clock.now() + timedelta(days=29)
        payload = {"release": self.release, "box": check, "owner": "Rita", "expires_at": ends.isoformat()}
        made = self.api("POST", "proposals", {"kind": "waiver", "payload": payload, "reason": reason}, status=201)
        assert [need["met"] for need in made["needs"]] == [False]
        assert "Approved, and done." in self.approve(made["proposal"], self.signers[0])

    def drill(self) -> None:
        """Drill the five switches on the internal group: its phones obey each, and get back what stood before."""
        testers = [phone for phone in self.fleet.phones if phone.key.startswith("tester-")]
        others = [phone for phone in self.fleet.phones if phone.key.startswith("beta-")][:REPORTING]
        before = [phone.variant for phone in (*testers, *others)]
        self.fleet.ask([*testers, *others])
        made = self.api("POST", "drills", {"minutes": 1}, status=201)
        for one in made:
            self.fleet.ask([*testers, *others], confirm=True)
            assert {phone.variant for phone in testers} == {"off"} or one["flag"] != FLAG
            assert [phone.variant for phone in others] == before[len(testers) :]
            clock.step_to(clock.now() + timedelta(seconds=11))
            tasks.drills_look()
            self.fleet.ask(testers, confirm=True)
            assert [phone.variant for phone in testers] == before[: len(testers)]
            for _ in range(2):
                tasks.drills_look()
        ended = self.api("GET", "drills")[: len(made)]
        assert {(one["outcome"], one["obeyed"], one["back"]) for one in ended} == {("obeyed", TESTERS, TESTERS)}
        self.work()

    # ---- as workers and beat ----

    def work(self) -> None:
        """Run what is queued, write the heartbeat, then ask the checks."""
        for pk in Run.objects.filter(state=State.QUEUED.value).order_by("pk").values_list("pk", flat=True):
            scripts.run(pk)
        heartbeat()
        tasks.refresh(self.release, at_once=True)

    def renew(self) -> None:
        """Bring what is missing or too old: runs, a scan, people's words, a crash.

        A run that failed is run again, for this machine may have been busy with something else.
        """
        wanted = self.open_checks()
        if "security_scan" in wanted:
            self.of_release("POST", "/scans", SARIF, status=201)
        if "crash_reporting" in wanted:
            self.fleet.crash(self.fleet.served("off")[0])
        if "alert_endpoints" in wanted:
            self.test_channel()
        for _ in range(RUNS_MOST):
            for check in wanted.intersection(SCRIPTED):
                self.of_release("POST", f"/checklist/{check}/run", status=201)
            self.work()
            wanted = self.open_checks()
            if not wanted.intersection(SCRIPTED):
                break

    def test_channel(self) -> None:
        """Send the team's channel a test by the page, and let the other side take it."""
        with http_sink() as sink, patch.dict(os.environ, OUTBOUND_PRIVATE="1"):
            rules = Rules(list(Topic), list(Severity))
            given: dict[str, Any] = {"name": "#incidents", "rules": rules, "address": sink.url, "actor": SYSTEM}
            channel = Channel.objects.first()
            if channel is None:
                channel, _ = channel_create(environment=ENVIRONMENT, kind="slack", **given)
            else:
                channel_change(channel=channel, paused=False, **given)
            self.press(self.releaser, f"notifications/channels/{channel.pk}/test")
            assert send_due() == 1
            assert sink.got[0].json["text"].endswith("Test of #incidents")

    def open_checks(self) -> set[str]:
        """Return the boxes that don't pass."""
        return {key for key, box in self.boxes().items() if box["verdict"] != "PASS"}

    def boxes(self) -> dict[str, dict[str, Any]]:
        """Return the boxes of the checklist by their keys."""
        groups = self.of_release("GET", "/checklist")["groups"]
        return {box["check"]: box for group in groups for box in group["boxes"]}

    def propose(self, number: int, **more: Any) -> int:
        """Propose a phase as the pipeline, and return the proposal. `more` is what else its start is to say."""
        body = {"phase": number, "reason": f"Go for phase {number}", **(AGAINST if number > 1 else {}), **more}
        said = self.of_release("POST", "/phases", body, status=202)
        assert not said["started"]
        return int(said["proposal"])

    def go(self, proposal: int) -> PhaseRun:
        """Let the teams say yes to a phase's start, and see the fleet take it over."""
        *most, last = self.signers
        assert "Approved. What is still missing stands below." in self.approve(proposal, *most)
        assert "Approved, and done." in self.approve(proposal, last)
        self.fleet.ask()
        return PhaseRun.objects.get(proposal=proposal)

    def ramp(self, run: PhaseRun) -> None:
        """Live through a phase's steps: the one that is due waits until the evidence is renewed."""
        while run.next_at is not None:
            self.fleet.hours_of_telemetry((run.next_at - clock.now()) / HOUR)
            step, served = run.step, len(self.fleet.served("on"))
            tasks.plan_due()
            run.refresh_from_db()
            assert run.step == step
            assert re.match(r"Gates: \d+ open: ", run.held)
            self.renew()
            tasks.plan_due()
            run.refresh_from_db()
            assert (run.step, run.held) == (step + 1, "")
            self.fleet.ask()
            assert len(self.fleet.served("on")) > served

    def rest(self, run: PhaseRun, health: Health = WELL) -> None:
        """Live on until a phase has lasted its minimum, and reported for two days since its last step."""
        phase = phase_of(run.release, run.number)
        assert phase is not None
        assert run.reached_at is not None
        ends = max(run.started_at + phase.at_least, run.reached_at + TWO_DAYS)
        self.fleet.hours_of_telemetry((ends - clock.now()) / HOUR, health=health, every=TEN_MINUTES)

    def conclude(self) -> None:
        """Let beat do what it does at the end of a phase, and workers run what that asks for."""
        for _ in range(HEARTBEATS):
            clock.step_to(clock.now() + HEARTBEAT)
            heartbeat()
        self.fleet.hours_of_telemetry(SECOND / HOUR)
        for check, environment in due():
            if environment in (EVERYWHERE, ENVIRONMENT):
                health_run(key=check.key, environment=environment)
        alerts_evaluate()
        tasks.guardrails_look()
        tasks.validation_due()
        self.work()
        report = Run.objects.filter(script="scripts/post-deployment-validation.sh").latest("pk")
        assert report.state == "passed", [
            one for one in report.results if one["outcome"] not in ("pass", "out_of_scope")
        ]

    def guardrails(self) -> dict[str, dict[str, Any]]:
        """Return the guardrails of the phase under way by their keys."""
        return {one["key"]: one for one in self.of_release("GET", "/guardrails")["guardrails"]}

    def walk(self) -> list[tuple[int, str, int]]:
        """Return the phases begun: number, state, steps done."""
        found = self.of_release("GET", "/phases")["phases"]
        return [(one["phase"], one["state"], one["steps_done"]) for one in found]

    def refused(self, number: int) -> str:
        """Ask for a phase that may not start: it must be refused in a sentence, and nothing may change."""
        before = (Head.objects.get().seq, flags.revision(ENVIRONMENT), Proposal.objects.count())
        body = {"phase": number, "reason": "Now", **(AGAINST if number > 1 else {})}
        said = self.of_release("POST", "/phases", body, status=409)["error"]
        assert (Head.objects.get().seq, flags.revision(ENVIRONMENT), Proposal.objects.count()) == before
        assert not PhaseRun.objects.filter(number=number).exists()
        return str(said)


@pytest.fixture
def story(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client_as: Any) -> Iterator[Story]:
    """Everything up: LiteRT's model in a folder of its own, cloud AI, both doors, people and phones."""
    furnish()
    data, first = tmp_path / "data", tmp_path / "first.litertlm"
    data.mkdir()
    first.write_bytes(model.PATH.read_bytes())
    settings.DATA, settings.LITERT_MODEL, settings.APPROVALS_IN = data, str(first), [ENVIRONMENT]
    _, token = api_token_create(environment=ENVIRONMENT, name="pipeline", scopes=list(Scope), actor=SYSTEM)
    _, key = device_key_create(environment=ENVIRONMENT, name="phones", actor=SYSTEM)
    phones = [
        *(Phone(f"tester-{number}") for number in range(TESTERS)),
        *(Phone(f"beta-{number}") for number in range(BETA)),
        *(Phone(f"phone-{number}") for number in range(OTHERS)),
        *(Phone(f"old-{number}", api=24, memory_mb=3_000) for number in range(OLD)),
    ]
    (tmp_path / "sitecustomize.py").write_text(STEPPED)
    environment_for = runner.environment_for

    def stepped(extra: Mapping[str, str]) -> dict[str, str]:
        path = os.pathsep.join((str(tmp_path), str(ROOT)))
        return {**environment_for(extra), "PYTHONPATH": path, "STORY_NOW": clock.now().isoformat()}

    monkeypatch.setattr(runner, "environment_for", stepped)
    console = LiveServer("127.0.0.1:0")
    gateway = Gateway(configured.DATABASE_URL, secret=configured.SECRET_KEY)
    with (
        serving(CloudStandIn(SoonAnswered())) as cloud,  # type: ignore[arg-type]
        serving(gateway) as devices,
    ):
        settings.CLOUD_AI_URL = f"http://127.0.0.1:{cloud}"
        for name, address in (("GATEWAY_URL", f"http://127.0.0.1:{devices}"), ("CONSOLE_URL", console.url)):
            setattr(settings, name, address)
            monkeypatch.setenv(name, address)
        yield Story(settings.CONSOLE_URL, settings.GATEWAY_URL, token, Fleet(key, "2.4.0", phones), client_as)
    console.stop()


def test_release__from_creation_to_everybody(story: Story, settings: Any, tmp_path: Path) -> None:
    fleet = story.fleet
    prepared(story)

    # created through the API: its gates are red, and each says what is missing
    made = story.api("POST", "releases", release_of(model.SHA256), status=201)
    assert made["runbook"] == RUNBOOK
    story.release = made["release"]
    tasks.refresh(story.release, at_once=True)
    said = story.lines()
    assert said["performance_tests"]["sentence"] == "run_litert_performance_tests.sh has not run in demo yet."
    assert said["security_scan"]["sentence"] == "No scan was uploaded yet."
    assert said["crash_reporting"]["sentence"] == "No crash has arrived in demo yet; provoke one in this build."
    assert said["flags_at_zero"]["verdict"] == "FAIL"
    assert said["procedure"]["sentence"].startswith("Deployment step “Deploy the monitoring infrastructure” is open.")
    assert said["audience"]["verdict"] == "FAIL"
    assert "cannot start phase 1 yet" in story.page()
    assert "Gates: " in story.refused(1)

    # deployed, measured, scanned: gates go green, but for those that nothing here can measure
    a_a_test(story)
    fleet.hours_of_telemetry(HOURS_BEFORE, lab=[Phone(f"lab-{number}") for number in range(3)])
    grouped(story)
    deployed(story)
    story.renew()
    assert set(story.blocking()) == {*WAIVED, "approval"}
    for check, reason in WAIVED.items():
        story.waive(check, reason)
    assert story.blocking() == {"approval": "INSUFFICIENT"}
    waived = {key: line["sentence"] for key, line in story.lines().items() if line["waived"]}
    assert set(waived) == set(WAIVED)
    assert all(
        f"Waived until {clock.now() + timedelta(days=29):%d %b}: {WAIVED[key]}." in waived[key] for key in waived
    )
    assert {key for key, box in story.boxes().items() if box["waiver"]} == set(WAIVED)
    assert f"{len(WAIVED)} waived" in story.page()

    # phase 1: the same person can't approve; three teams can, and testers alone are served
    page = story.press(story.releaser, f"releases/{story.release}/phases/start", number="1", reason="Go for phase 1")
    assert "Proposed. It starts when every line is met and each team has said yes." in page
    proposal = Proposal.objects.get(state="open").pk
    assert "You made or edited this change" in story.approve(proposal, story.releaser)
    *most, last = story.signers
    assert "Approved. What is still missing stands below." in story.approve(proposal, *most)
    assert not PhaseRun.objects.exists()
    assert story.lines()["approval"]["sentence"].startswith(
        "engineering for engineering, security for security. An approver"
    )
    assert "Approved, and done." in story.approve(proposal, last)
    assert "is in phase 1, internal testing" in story.page()
    assert evaluated(story, "tester-0", "beta-0", "phone-0") == [True, False, False]
    fleet.ask()
    assert [phone.key for phone in fleet.served("on")] == [f"tester-{number}" for number in range(TESTERS)]

    # its minimum time passes, and a regression on the testers' phones blocks phase 2
    fleet.hours_of_telemetry(21, every=TEN_MINUTES)
    assert story.lines()["time"]["sentence"] == "Phase 1 takes at least 24 h; 3 h to go."
    fleet.hours_of_telemetry(3, every=TEN_MINUTES, health=Health(throttled=2))
    tasks.validation_due()
    said = story.lines()
    assert {key: said[key]["verdict"] for key in ("time", "steps", "sample", "criteria", "data")} == {
        **dict.fromkeys(("time", "steps", "sample"), "PASS"),
        "criteria": "FAIL",
        "data": "INSUFFICIENT",
    }
    assert said["data"]["sentence"] == "24 h of 48 h; data flows, 24 h to go."
    assert said["criteria"]["sentence"] == "Performance targets met on test devices FAIL."
    assert "Criteria: Performance targets met on test devices FAIL." in story.refused(2)

    # it passes over, and with it what kept the release back
    fleet.hours_of_telemetry(24, every=TEN_MINUTES)
    story.renew()
    story.conclude()
    assert story.blocking() == {**dict.fromkeys(WAIVED_AFTER, "FAIL"), "approval": "INSUFFICIENT"}
    assert after_phase(story, "Phase 2: Limited beta") == AFTER_PHASE_1
    for check, reason in WAIVED_AFTER.items():
        story.waive(check, reason)
    assert story.blocking() == {"approval": "INSUFFICIENT"}
    assert "Performance targets met on test devices" in story.page()

    # another model: what was measured of the first is stale at once, every yes falls, and nothing starts
    proposal = story.propose(2)
    story.approve(proposal, story.signers[0])
    second = tmp_path / "second.litertlm"
    digest = trained_anew(second)
    body = {"model_name": "hawk-small", "model_digest": digest, "reason": "Trained anew"}
    assert story.of_release("PUT", "/model", body)["model_digest"] == f"sha256:{digest}"
    assert story.blocking() == {
        **dict.fromkeys((*OF_THE_MODEL, *RUN_AGAIN), "STALE"),
        "approval": "INSUFFICIENT",
    }
    sentence = story.lines()["performance_tests"]["sentence"]
    assert sentence.startswith(f"It covered model {model.SHA256[:8]}, the release has {digest[:8]}.")
    assert story.lines()["approval"]["sentence"].startswith("An approver of engineering, security, devops is missing")
    assert story.page().count("STALE") >= len(OF_THE_MODEL)
    story.approve(proposal, *story.signers)
    refusal = story.api("POST", f"proposals/{proposal}/apply", status=409)["error"]
    assert "Model integrity validated STALE. End of the phase: Performance validation suite STALE." in refusal
    assert f"{len(OF_THE_MODEL)} open: All LiteRT backends tested (STALE" in refusal
    assert story.walk() == [(1, "running", 1)]

    # signed and measured, it may go on
    settings.LITERT_MODEL = str(second)
    for dry_run in (True, False):
        asked = {"script": "scripts/deploy-security-stack.sh", "dry_run": dry_run}
        story.api("POST", "runs", asked, status=201)
        story.work()
    for check in RUN_AGAIN:
        story.of_release("POST", f"/checklist/{check}/run", status=201)
    story.renew()
    assert story.blocking() == {}
    assert story.api("POST", f"proposals/{proposal}/apply")["state"] == "applied"
    assert story.walk() == [(1, "passed", 1), (2, "running", 1)]
    fleet.ask()

    # phase 2: on the phones of its last step more inferences fail than may, and a guardrail halves it by itself
    beta = [phone for phone in fleet.phones if phone.key.startswith("beta")]
    run = PhaseRun.objects.get(proposal=proposal)
    fleet.hours_of_telemetry(3, beside=beta)
    story.ramp(run)
    served = len(fleet.served("on"))
    fleet.hours_of_telemetry(3, health=Health(failing=0.2), beside=beta)
    tasks.guardrails_look()
    found = story.guardrails()
    assert [key for key, one in found.items() if one["verdict"] == "FAIL"] == ["errors"]
    assert [key for key, one in found.items() if one["acted_at"]] == ["errors"]
    assert story.walk() == [(1, "passed", 1), (2, "paused", 2)]
    fleet.ask()
    assert len(fleet.served("on")) < 0.6 * served
    assert "Phase 2 is paused; resume it first." in story.refused(3)
    assert "Failed inferences" in story.page()

    # what its phones measured stays measured: the team gives this run up, and begins phase 2 anew once the cause is found
    story.of_release("POST", "/phases/abort", {"reason": "Inferences fail on the phones of the last step"})
    fleet.ask()
    assert fleet.served("on") == []
    story.renew()
    settings_confirmed(story)  # the second model lies elsewhere
    run = story.go(story.propose(2, jump=True))
    assert story.walk() == [(1, "passed", 1), (2, "aborted", 2), (2, "running", 1)]
    story.ramp(run)
    story.rest(run)
    story.renew()
    story.conclude()
    assert story.blocking() == {"approval": "INSUFFICIENT"}

    # phases 3 and 4, in their steps
    run = story.go(story.propose(3))
    story.ramp(run)
    story.rest(run)
    story.renew()
    story.conclude()
    verdicts = {key: one["verdict"] for key, one in story.guardrails().items()}
    assert "FAIL" not in verdicts.values()
    # two weeks after the press on everybody: the switches are drilled on the testers, and nobody else hears of it
    assert story.blocking() == {"kill_switches": "NO_DATA", "approval": "INSUFFICIENT"}
    story.drill()
    assert story.blocking() == {"approval": "INSUFFICIENT"}
    run = story.go(story.propose(4))
    story.ramp(run)
    assert len(fleet.served("on")) == len(fleet.phones) - OLD
    assert story.of_release("POST", "/complete", {"reason": "All is well"}, status=409)["error"].startswith(
        "Nothing was changed. Minimum time: Phase 4 takes at least 14 d;"
    )
    story.rest(run)
    story.renew()
    story.conclude()
    # and once more, two weeks later
    story.drill()

    # everybody that can has it
    ends = {line["verdict"] for line in story.lines().values() if line["group"] == "The end of the walk"}
    assert (ends, story.blocking()) == ({"PASS", "FAIL"}, {}), "only what is recommended, for want of reporting phones"
    walked = story.of_release("POST", "/complete", {"reason": "All is well", **AGAINST})
    assert [(one["phase"], one["state"]) for one in walked["phases"] if one["state"] != "aborted"] == [
        (number, "passed") for number in (1, 2, 3, 4)
    ]
    assert evaluated(story, "tester-0", "beta-0", "phone-0", "old-0") == [True, True, True, False]
    assert "HazardHawk 2.4.0 has passed every phase" in story.page()
    assert {key for key, box in story.boxes().items() if box["waiver"]} == set(WAIVED)

    # and nothing of it was altered since
    assert history_verify(requested_by="story").good
    entries = story.api("GET", "history?verb=phase.started phase.passed phase.jumped phase.aborted&limit=20")["entries"]
    assert [entry["verb"] for entry in reversed(entries)] == [
        "phase.started",
        "phase.passed",
        "phase.started",
        "phase.aborted",
        "phase.jumped",
        *["phase.passed", "phase.started"] * 2,
        "phase.passed",
    ]


def release_of(digest: str) -> dict[str, Any]:
    """Return what creates the release."""
    return {
        "name": "HazardHawk",
        "app_version": "2.4.0",
        "version_code": 2407,
        "model_name": "hawk-small",
        "model_digest": digest,
        "backends": ["cpu"],
    }


def trained_anew(path: Path) -> str:
    """Write a model that differs from the first by one weight, and return its digest."""
    content = bytearray(model.PATH.read_bytes())
    content[500_000] ^= 1
    path.write_bytes(content)
    return model.digest(path)


def prepared(story: Story) -> None:
    """Adopt the team's own runbook with the yes of each team, and set rules that can be judged, before anything begins."""
    text = CURRENT.read_text(encoding="utf-8").replace("  version: 1.0.0\n", f"  version: {RUNBOOK}\n", 1)
    text = text.replace("valid_for: 24h", "valid_for: 7d")
    story.press(story.releaser, "runbook/import", text=text)
    digest = RunbookVersion.objects.get(version=RUNBOOK).digest
    for who, team in zip(story.signers, Team, strict=True):
        said = story.press(who, f"runbook/{RUNBOOK}/approve", digest=digest, team=team.value)
    assert f"Version {RUNBOOK} is adopted" in said
    actor = Actor.person(story.releaser)
    for key, (aggregate, comparator, threshold) in OWN_RULES.items():
        stands = StoredCriterion.objects.get(key=key)
        rule = {**stands.document, "aggregate": aggregate, "comparator": comparator, "threshold": threshold}
        why = "Three phones a side report all day, and an interval takes thirty"
        criterion_save(document=rule, actor=actor, reason=why, expected_revision=stands.revision)
    story.fleet.ask()


def after_phase(story: Story, title: str) -> dict[str, list[str]]:
    """Return the lines that came with the end of a phase, by group; of the next phase under its title."""
    found: dict[str, list[str]] = {}
    for line in story.lines().values():
        if line["group"].startswith(("Post-deployment", "Security compliance", "At the end", title)):
            found.setdefault(line["group"], []).append(f"{line['key']} {line['verdict']}")
    return found


def a_a_test(story: Story) -> None:
    """Divide the devices that cloud AI is on for among two arms alike."""
    body = {
        "key": "a-a",
        "title": "Two arms alike",
        "flag": "ai_fallback_to_cloud",
        "arms": [{"variant": "a", "weight": 1}, {"variant": "b", "weight": 1}],
        "reason": "Tests the testing",
    }
    story.api("POST", "experiments", body, status=201)


def grouped(story: Story) -> None:
    """Fill the groups of phases 1 and 2."""
    for group, prefix, count in (("internal_testers", "tester", TESTERS), ("beta_testers", "beta", BETA)):
        stands = story.api("GET", f"groups/{group}/members")
        members = [f"{prefix}-{number}" for number in range(count)]
        body = {"members": members, "revision": stands["revision"], "reason": "Who tests"}
        assert story.api("PUT", f"groups/{group}/members", body)["changed"]


def deployed(story: Story) -> None:
    """Go through the deployment procedure; what needs a cluster, Gradle or Google Play is skipped by two."""

    def press(step: str, act: str, body: Any = None, *, status: int = 200) -> Any:
        return story.of_release("POST", f"/procedure/{step}/{act}", body, status=status)

    def run(step: str, *, dry_run: bool = False) -> None:
        press(step, "start", {"dry_run": dry_run}, status=201)
        story.work()

    def skip(*steps: str) -> None:
        for step in steps:
            press(step, "skip", {"reason": "Not on this machine"})
            story.press(story.signers[-1], f"releases/{story.release}/procedure/{step}/skip/approve")

    skip("monitoring_deployed", "monitoring_verified")
    settings_confirmed(story)
    run("security_deployed", dry_run=True)
    run("security_deployed")
    run("security_validated")
    skip("app_built", "app_deployed")
    run("smoke_tested")
    run("core_ai_verified")
    press("flags_initialised", "flags")
    press("controls_tested", "drill")
    story.fleet.ask(confirm=True)
    done = press("controls_tested", "drill", {"lift": True})
    assert (done["done"], done["skipped"], done["next_step"]) == (7, 4, None)
    story.fleet.ask()


def settings_confirmed(story: Story) -> None:
    """Confirm the settings of the environment as they are read back."""
    digest = story.of_release("GET", "/procedure")["settings_digest"]
    confirmed = f"releases/{story.release}/procedure/configuration_loaded/attest"
    assert "Confirmed, in your name." in story.press(story.releaser, confirmed, digest=digest, note="As deployed")


def evaluated(story: Story, *keys: str) -> list[bool]:
    """Ask as single phones for LiteRT, over HTTP as OFREP says."""
    found = []
    for phone in (next(one for one in story.fleet.phones if one.key == key) for key in keys):
        answer = httpx.post(
            f"{story.gateway}{FLAGS_PATH}/{FLAG}",
            json={"context": phone.context},
            headers={"Authorization": f"Bearer {story.fleet.key}"},
        )
        assert answer.status_code == 200, answer.text
        found.append(bool(answer.json()["value"]))
    return found

"""Who may open and press what: every page for every role, strangers nowhere, unknown environments nothing.

PAGES, PRESSES and OTHERS say what is meant. `tests/access/matrix.csv` holds it for readers, cell by cell:
`UPDATE_MATRIX=1 uv run pytest tests/access` writes it anew, and a person reviews what changed.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import time, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve

from hawkops import strip
from hawkops.accounts.models import User
from hawkops.accounts.services.break_glass import break_glass_create
from hawkops.accounts.services.credentials import api_token_create, device_key_create
from hawkops.accounts.services.people import person_create
from hawkops.accounts.services.phones import phone_enrol
from hawkops.accounts.services.signing import login_link_create
from hawkops.core import clock
from hawkops.core.access import Role, Scope
from hawkops.history.actors import Actor
from hawkops.history.models import Head
from hawkops.scripts import services as scripts
from hawkops.scripts.models import RunFile
from hawkops.scripts.schedules import schedule_create
from incidents.domain.incidents import Move
from incidents.domain.routing import Topic
from incidents.models import Escalation
from incidents.selectors.troubleshooting import problem
from incidents.services import oncall
from incidents.services.channels import Rules, channel_create, channel_test, routes_seed
from incidents.services.escalations import escalate, policies_seed
from incidents.services.incidents import incident_link_make, incident_move, incident_open, incident_task_add
from incidents.services.problems import problem_save
from incidents.services.remedies import remedy_press
from incidents.services.reviews import review_draft
from monitoring.domain.criteria import Severity
from monitoring.models import Alert, DeviceNote, StoredCriterion
from monitoring.services.alertmanager import alertmanager_take
from monitoring.services.criteria import criteria_seed, criterion_save
from monitoring.services.patterns import pattern_save, patterns_seed
from monitoring.services.silences import silence_create
from rollout.domain.experiments import Arm
from rollout.models import Release
from rollout.services.experiments import experiment_start
from rollout.services.flags import flags_seed
from rollout.services.freezes import freeze_make
from rollout.services.groups import groups_seed
from rollout.services.proposals import proposal_make
from rollout.services.releases import release_seed, runbook_import
from tests.access import table
from tests.rollout.walking import waiting_drill

SYSTEM = Actor.system("test")
# these answer programs with 401 themselves, instead of sending them to the sign-in page
API = {"api_scripts", "api_runs", "api_run", "api_output", "api_series", "api_cancel"}
PUBLIC = {
    "healthz",
    "login",
    "enter",
    "break_glass",
    "passkey_sign_in",
    "passkey_options",
    "second",
    "second_options",
    "oidc",
    "oidc_return",
    "alertmanager",
    "metrics",
    "pagerduty",
    "oncall_feed",
    "incident_status",
    "api_nothing",
    # an enrolled phone gets the small page; every other stranger is sent to sign in
    "emergency",
    "emergency_phone_kill",
} | API

COMES_BACK = {
    "people/{person}/erase/press",
    "people/review/done",
    "runbook/import",
    "releases/create",
    "flags/create",
    "flags/litert_enabled/rules",
    "flags/litert_enabled/values",
    "groups/internal_testers/members",
    "experiments/start",
    "releases/{release}/decision/no-go",
    "notifications/create",
    "notifications/channels/{channel}/change",
    "notifications/routes/save",
    "oncall/rotation/save",
    "oncall/overrides/create",
    "oncall/swaps/propose",
    "escalations/policy/critical/save",
    "escalations/hours/save",
    "incidents/create",
    "incidents/{over}/review/save",
    "troubleshooting/create",
    "troubleshooting/furnished/save",
    "monitoring/patterns",
    "monitoring/patterns/thermal",
    "criteria/new",
    "criteria/alert-latency",
    "criteria/profiles/reference",
    "criteria/sections/matrix",
}
# path in demo → who may POST to it (administrators always may)
PRESSES = {
    "emergency/kill": {Role.OPERATOR},
    "emergency/disable": {Role.OPERATOR},
    "emergency/halve": {Role.OPERATOR},
    "emergency/enable": {Role.OPERATOR},
    "emergency/lockdown": {Role.OPERATOR},
    "emergency/lockdown/lift": {Role.OPERATOR},
    "emergency/lockdown/lift/withdraw": {Role.OPERATOR, Role.APPROVER},
    "emergency/lockdown/lift/confirm": {Role.APPROVER},
    "emergency/rollback/press": {Role.OPERATOR},
    "emergency/rollback/1/undo": {Role.OPERATOR},
    "emergency/phone/enrol": {Role.OPERATOR},
    "emergency/degradation/disable": {Role.OPERATOR},
    "emergency/degradation/watch": {Role.OPERATOR},
    "emergency/drills/start": {Role.OPERATOR},
    "emergency/drills/{drill}/stop": {Role.OPERATOR},
    "flags/litert_enabled/percentage": {Role.RELEASER, Role.OPERATOR},
    "flags/create": {Role.RELEASER, Role.OPERATOR},
    "flags/litert_enabled/values": {Role.RELEASER, Role.OPERATOR},
    "flags/litert_enabled/archive": {Role.RELEASER, Role.OPERATOR},
    "flags/litert_enabled/requires": {Role.RELEASER, Role.OPERATOR},
    "flags/litert_enabled/salt": {Role.RELEASER, Role.OPERATOR},
    "flags/litert_enabled/override": {Role.RELEASER, Role.OPERATOR},
    "flags/litert_enabled/rules": {Role.RELEASER, Role.OPERATOR},
    "experiments/start": {Role.RELEASER, Role.OPERATOR},
    "experiments/furnished/end": {Role.RELEASER, Role.OPERATOR},
    "groups/create": {Role.RELEASER},
    "groups/internal_testers/members": {Role.RELEASER},
    "groups/internal_testers/delete": {Role.RELEASER},
    "runbook/import": {Role.RELEASER, Role.APPROVER},
    "runbook/1.0.0/approve": {Role.APPROVER},
    "releases/create": {Role.RELEASER},
    "releases/{release}/phases/start": {Role.RELEASER},
    "releases/{release}/phases/pause": {Role.RELEASER, Role.OPERATOR},
    "releases/{release}/phases/resume": {Role.RELEASER},
    "releases/{release}/phases/abort": {Role.RELEASER, Role.OPERATOR},
    "releases/{release}/complete": {Role.RELEASER},
    "releases/{release}/model": {Role.RELEASER},
    "releases/{release}/decision/no-go": {Role.APPROVER},
    "releases/{release}/comments": {Role.RELEASER, Role.OPERATOR, Role.APPROVER, Role.AUDITOR},
    "releases/{release}/checklist/security_scan/waive": {Role.RELEASER, Role.OPERATOR},
    "proposals/{proposal}/approve": {Role.APPROVER},
    "proposals/{proposal}/apply": {Role.RELEASER, Role.OPERATOR, Role.APPROVER},
    "proposals/{proposal}/edit": {Role.RELEASER, Role.OPERATOR},
    "proposals/{proposal}/withdraw": {Role.RELEASER, Role.OPERATOR, Role.APPROVER},
    "freezes/create": {Role.RELEASER, Role.APPROVER},
    "freezes/{freeze}/end": {Role.RELEASER, Role.APPROVER},
    "people/{person}/teams": set(),
    "people/{person}/sessions/end": set(),
    "people/{person}/email": set(),
    "people/{person}/identity/link": set(),
    "people/{person}/erase/press": set(),
    "people/{person}/hold": set(),
    "people/{person}/hold/lift": set(),
    "releases/{release}/checklist/alert_endpoints": {Role.RELEASER},
    "releases/{release}/scans": {Role.RELEASER, Role.OPERATOR},
    "releases/{release}/checklist/performance_tests/run": {Role.RELEASER, Role.OPERATOR},
    "releases/{release}/checklist/refresh": {Role.RELEASER, Role.OPERATOR},
    "releases/{release}/procedure/monitoring_deployed/start": {Role.RELEASER, Role.OPERATOR},
    "releases/{release}/procedure/configuration_loaded/attest": {Role.RELEASER, Role.OPERATOR},
    "releases/{release}/procedure/flags_initialised/flags": {Role.RELEASER, Role.OPERATOR},
    "releases/{release}/procedure/controls_tested/drill": {Role.RELEASER, Role.OPERATOR},
    "releases/{release}/procedure/monitoring_deployed/skip": {Role.RELEASER, Role.OPERATOR},
    "releases/{release}/procedure/monitoring_deployed/skip/approve": {Role.APPROVER},
    "runs/{run}/cancel": {Role.RELEASER, Role.OPERATOR},
    "schedules/{schedule}/stop": {Role.RELEASER, Role.OPERATOR},
    "monitoring/health/fallback/run": {Role.RELEASER, Role.OPERATOR},
    "alerts/{alert}/acknowledge": {Role.RELEASER, Role.OPERATOR},
    "alerts/{alert}/close": {Role.RELEASER, Role.OPERATOR},
    "silences": {Role.RELEASER, Role.OPERATOR},
    "silences/{silence}/end": {Role.RELEASER, Role.OPERATOR},
    "monitoring/dashboards/links": {Role.RELEASER, Role.APPROVER},
    "criteria/alert-latency/reset": {Role.RELEASER, Role.APPROVER},
    "monitoring/patterns/thermal/pause": {Role.RELEASER, Role.OPERATOR},
    "monitoring/patterns/thermal/delete": {Role.RELEASER, Role.OPERATOR},
    "notifications/create": set(),
    "notifications/routes/save": set(),
    "notifications/acknowledge/press": {Role.RELEASER, Role.OPERATOR},
    "notifications/channels/{channel}/change": set(),
    "notifications/channels/{channel}/test": {Role.RELEASER, Role.OPERATOR},
    "notifications/deliveries/{delivery}/retry": {Role.RELEASER, Role.OPERATOR},
    "notifications/channels/{archived}/archive": set(),
    "oncall/rotation/save": {Role.RELEASER, Role.OPERATOR},
    "oncall/overrides/create": {Role.RELEASER, Role.OPERATOR},
    "oncall/overrides/{override}/cancel": {Role.RELEASER, Role.OPERATOR},
    "oncall/swaps/propose": {Role.RELEASER, Role.OPERATOR},
    "oncall/swaps/{swap}/answer": {Role.RELEASER, Role.OPERATOR},
    "oncall/contacts/devops/save": set(),
    "oncall/links/create": set(Role),
    "oncall/links/{link}/revoke": set(Role),
    "escalations/{escalation}/acknowledge": {Role.RELEASER, Role.OPERATOR},
    "escalations/check": {Role.RELEASER, Role.OPERATOR},
    "escalations/policy/critical/save": set(),
    "escalations/hours/save": set(),
    "incidents/create": {Role.RELEASER, Role.OPERATOR},
    "incidents/{incident}/move": {Role.RELEASER, Role.OPERATOR},
    "incidents/{incident}/severity": {Role.RELEASER, Role.OPERATOR},
    "incidents/{incident}/roles": {Role.RELEASER, Role.OPERATOR},
    "incidents/{incident}/notes": {Role.RELEASER, Role.OPERATOR},
    "incidents/{incident}/tasks": {Role.RELEASER, Role.OPERATOR},
    "incidents/{incident}/merge": {Role.RELEASER, Role.OPERATOR},
    "incidents/{incident}/releases": {Role.RELEASER, Role.OPERATOR},
    "incidents/{over}/review/draft": {Role.RELEASER, Role.OPERATOR},
    "incidents/{over}/review/save": {Role.RELEASER, Role.OPERATOR},
    "incidents/{incident}/links": {Role.RELEASER, Role.OPERATOR},
    "incidents/tasks/{task}": {Role.RELEASER, Role.OPERATOR},
    "incidents/links/{outside}/revoke": {Role.RELEASER, Role.OPERATOR},
    "troubleshooting/create": {Role.RELEASER, Role.OPERATOR},
    "troubleshooting/high_memory/diagnose": {Role.RELEASER, Role.OPERATOR},
    "troubleshooting/high_memory/press": {Role.RELEASER, Role.OPERATOR},
    "troubleshooting/furnished/save": {Role.RELEASER, Role.OPERATOR},
    "troubleshooting/furnished/archive": {Role.RELEASER, Role.OPERATOR},
    "troubleshooting/remedies/{remedy}/undo": {Role.RELEASER, Role.OPERATOR},
    "people/review/done": {Role.AUDITOR},
    "people/add": set(),
    "people/{person}/roles": set(),
    "keys/add": set(),
    "people/codes": set(),
    "people/codes/{code}/revoke": set(),
    "keys/{key}/rotate": set(),
    "keys/{key}/revoke": set(),
    "tokens/add": set(),
    "tokens/{token}/rotate": set(),
    "tokens/{token}/revoke": set(),
    "phones/{phone}/revoke": set(),
    "history/verify": set(Role),
    "scripts/run_litert_performance_tests.sh": {Role.RELEASER, Role.OPERATOR},
    "monitoring/patterns": {Role.RELEASER, Role.OPERATOR},
    "monitoring/patterns/thermal": {Role.RELEASER, Role.OPERATOR},
    "criteria/new": {Role.RELEASER, Role.APPROVER},
    "criteria/alert-latency": {Role.RELEASER, Role.APPROVER},
    "criteria/own/delete": {Role.RELEASER, Role.APPROVER},
    "criteria/profiles/reference": {Role.RELEASER, Role.APPROVER},
    "criteria/sections/matrix": {Role.RELEASER, Role.APPROVER},
}
PAGES = (
    "",
    "api",
    "platform",
    "platform?part=vitals",
    "platform/retention",
    "strip",
    "emergency",
    "emergency/lockdown/panel",
    "emergency/rollback",
    "emergency/rollback?search=1",
    "emergency/rollback?part=search",
    "emergency/rollback?part=after",
    "emergency/degradation",
    "emergency/degradation?part=rows",
    "emergency/degradation?part=recovery",
    "emergency/drills",
    "emergency/drills?part=running",
    "flags",
    "flags/litert_enabled",
    "flags/litert_enabled?device=abc",
    "experiments",
    "experiments/furnished",
    "flags/new",
    "flags?archived=1",
    "groups",
    "groups/internal_testers",
    "groups/internal_testers.csv",
    "runbook",
    "runbook/1.0.0",
    "runbook/1.0.0.yaml",
    "runbook/1.0.0/diff?with=1.0.0",
    "runbook/1.0.0/diff/1.0.0",
    "releases",
    "releases/{release}",
    "releases/{release}/decision",
    "releases/{release}/compliance",
    "releases/{release}/compliance.json",
    "releases/{release}/compliance.html",
    "compliance/verify_compliance.pyz",
    "releases/{release}/guardrails",
    "releases/{release}/guardrails?at=2026-01-31T14:00",
    "releases/{release}/decision?at=2026-11-01T12:00",
    "releases/{release}/checklist",
    "releases/{release}/procedure",
    "proposals",
    "proposals/{proposal}",
    "scripts",
    "scripts/writing",
    "scripts/run_litert_performance_tests.sh",
    "runs/{run}",
    "runs/{run}/output.txt",
    "runs/{run}/result.json",
    "runs/{run}/files/report.html",
    "series/{series}/result.json",
    "scripts/run_litert_performance_tests.sh/trend/litert.memory.peak.json",
    "history",
    "history?hidden=1&scope=all&q=flag",
    "history?q=-verb:run.+since:2h+words&before=9",
    "history?part=rows&verb=flag.",
    "history.csv?q=verb:flag.",
    "history.jsonl",
    "history.proven.jsonl?q=verb:release.",
    "history/1",
    "history/at?subject=flag:litert_enabled",
    "history/subject/flag:litert_enabled",
    "history/subject/flag:litert_enabled?at=2026-01-31T14:00",
    "history/subject/person:{person}",
    "people",
    "people/review",
    "people/review.csv",
    "people/history",
    "people/history?person=person:{person}",
    "people/history.csv",
    "people/acts.csv",
    "monitoring/litert",
    "monitoring/health",
    "monitoring/patterns",
    "monitoring/patterns?try=1&expression=OOM&sources=device+logs",
    "monitoring/patterns/memory-warning",
    "monitoring/patterns/thermal?window=7d&part=samples",
    "monitoring/patterns/memory-warning/chart.json",
    "alerts",
    "alerts/{alert}",
    "criteria",
    "criteria.yaml",
    "criteria/alert-latency",
    "criteria/alert-latency?at=2026-01-31T14:00",
    "criteria/profiles/reference",
    "criteria/new",
    "criteria/sections/matrix",
    "criteria/alert-latency?threshold=4+s&window=5m",
    "monitoring/throughput.json",
    "monitoring/litert/charts.json",
    "monitoring/litert/charts/latency.json",
    "monitoring/litert/charts/latency",
    "monitoring/litert?until=2026-11-01T12:00",
    "monitoring/production/charts/latency",
    "analytics/production/charts/tasks",
    "security/production/charts/audit",
    "monitoring/litert/numbers.csv",
    "monitoring/litert/numbers.json",
    "monitoring/production",
    "monitoring/production/charts.json",
    "monitoring/production/charts/latency.json",
    "monitoring/production/numbers.csv",
    "monitoring/production/numbers.json",
    "analytics/production",
    "analytics/production/charts.json",
    "analytics/production/charts/tasks.json",
    "analytics/production/numbers.csv",
    "analytics/production/numbers.json",
    "security/production",
    "security/production/charts.json",
    "security/production/charts/encryption.json",
    "security/production/numbers.csv",
    "security/production/numbers.json",
    "oncall",
    "oncall?part=now",
    "oncall/rotation",
    "oncall/contacts/team_lead",
    "escalations",
    "escalations?part=list",
    "escalations/{escalation}",
    "escalations/policy",
    "notifications",
    "notifications/new?kind=webhook",
    "notifications/routes",
    "notifications/channels/{channel}",
    "notifications/deliveries/{delivery}",
    "notifications/acknowledge?thread=hawkops:demo:alerts:other",
    "incidents",
    "incidents/new",
    "incidents/{incident}",
    "incidents/{incident}?part=rows",
    "incidents/{incident}/review",
    "incidents/{over}/review",
    "incidents/{over}/review.html",
    "incidents/{over}/review.md",
    "troubleshooting",
    "troubleshooting?part=list",
    "troubleshooting/new",
    "troubleshooting/high_memory",
    "troubleshooting/high_memory?part=symptoms",
    "troubleshooting/models_not_loading?part=diagnosis",
    "troubleshooting/furnished",
    "troubleshooting/furnished/edit",
    "monitoring/connect",
    "monitoring/understood",
    "monitoring/understood/device?id=dev-1",
)


@dataclass(frozen=True)
class Other:
    """An address outside the environments' pages, or one that is not for roles alone: who gets what."""

    method: str
    path: str
    # what a stranger, who is signed in without a role, and every role get
    anonymous: str
    no_role: str
    roles: str = table.ALLOWED
    # what a program must show; the table says it
    program: str = ""
    # of the roles, only these
    only: frozenset[Role] = frozenset(Role)
    # whether the form's token is asked for
    form: bool = True


YES, NEVER, SIGN_IN = table.ALLOWED, "403", table.SIGN_IN
MAY_RUN = frozenset({Role.RELEASER, Role.OPERATOR, Role.ADMIN})
OTHERS = (
    Other("GET", "/", SIGN_IN, YES),
    Other("GET", "/healthz", YES, YES),
    Other("GET", "/status/{status}", YES, YES, program="the incident's link"),
    Other("GET", "/login", YES, YES),
    Other("POST", "/login", YES, YES),
    Other("POST", "/login/passkey", YES, YES),
    Other("POST", "/login/passkey/options", YES, YES),
    Other("GET", "/login/second", YES, YES, program="the first step of signing in"),
    Other("POST", "/login/second", YES, YES, program="the first step of signing in"),
    Other("POST", "/login/second/options", YES, YES, program="the first step of signing in"),
    Other("POST", "/login/oidc", YES, YES),
    Other("GET", "/login/oidc/return", YES, YES, program="the issuer's answer"),
    Other("POST", "/logout", SIGN_IN, YES),
    Other("GET", "/enter/{enter}", YES, YES, program="the one-time link"),
    Other("POST", "/enter/{enter}", YES, YES, program="the one-time link"),
    Other("GET", "/break-glass", YES, YES, program="a sealed code"),
    Other("POST", "/break-glass", YES, YES, program="a sealed code"),
    Other("GET", "/confirm", SIGN_IN, YES),
    Other("POST", "/confirm", SIGN_IN, YES),
    Other("POST", "/confirm/options", SIGN_IN, YES),
    Other("GET", "/profile", SIGN_IN, YES),
    Other("POST", "/profile", SIGN_IN, YES),
    Other("POST", "/profile/phones/{phone}/revoke", SIGN_IN, table.OWN, table.OWN),
    Other("GET", "/profile/app", SIGN_IN, YES),
    Other("POST", "/profile/app", SIGN_IN, YES),
    Other("POST", "/profile/app/begin", SIGN_IN, YES),
    Other("POST", "/profile/app/remove", SIGN_IN, table.OWN, table.OWN),
    Other("POST", "/profile/passkeys/options", SIGN_IN, YES),
    Other("POST", "/profile/passkeys/add", SIGN_IN, YES),
    Other("POST", "/profile/passkeys/{passkey}/rename", SIGN_IN, table.OWN, table.OWN),
    Other("POST", "/profile/passkeys/{passkey}/remove", SIGN_IN, table.OWN, table.OWN),
    Other("POST", "/profile/codes/make", SIGN_IN, YES),
    Other("POST", "/profile/sessions/end", SIGN_IN, YES),
    Other("POST", "/profile/sessions/{session}/end", SIGN_IN, table.OWN, table.OWN),
    Other("GET", "/demo/people/{person}", SIGN_IN, NEVER, only=frozenset({Role.ADMIN})),
    Other("POST", "/demo/people/{person}/identity/{identity}/unlink", SIGN_IN, NEVER, only=frozenset({Role.ADMIN})),
    Other("GET", "/api/v1", YES, YES),
    Other("GET", "/api/v1/nothing", YES, YES),
    Other("GET", "/api/v1/docs", SIGN_IN, YES),
    Other("GET", "/demo/api/scripts", "401", NEVER),
    Other("GET", "/demo/api/runs", "401", NEVER),
    Other("POST", "/demo/api/runs", "401", NEVER, only=MAY_RUN),
    Other("GET", "/demo/api/runs/{run}", "401", NEVER),
    Other("GET", "/demo/api/runs/{run}/output", "401", NEVER),
    Other("GET", "/demo/api/series/{series}", "401", NEVER),
    Other("POST", "/demo/api/runs/{run}/cancel", "401", NEVER, only=MAY_RUN),
    Other("GET", "/demo/people/{person}/erase", SIGN_IN, NEVER, only=frozenset({Role.ADMIN})),
    Other("GET", "/demo/releases/{release}/decision/1.json", SIGN_IN, NEVER),
    Other("GET", "/demo/runs/{run}/junit.xml", SIGN_IN, NEVER),
    Other("GET", "/demo/series/{series}/junit.xml", SIGN_IN, NEVER),
    # shows what a silence would hide
    Other("POST", "/demo/alerts", SIGN_IN, NEVER),
    Other("GET", "/demo/metrics", "401", "401", "401", program="METRICS_TOKEN", form=False),
    Other("POST", "/demo/alerts/alertmanager", "401", "401", "401", program="ALERTMANAGER_TOKEN", form=False),
    Other("GET", "/demo/oncall/feed/{feed}.ics", YES, YES, program="the calendar's link"),
    Other(
        "POST",
        "/demo/notifications/channels/{pager}/pagerduty",
        NEVER,
        NEVER,
        NEVER,
        program="PagerDuty's signature",
        form=False,
    ),
    Other("POST", "/demo/emergency/phone/kill", SIGN_IN, SIGN_IN, SIGN_IN, program="an enrolled phone"),
)
Make = Callable[..., User]
As = Callable[[User], Client]


def furnish() -> dict[str, Any]:
    """An installation with flags, a release and a run."""
    flags_seed(actor=SYSTEM)
    groups_seed(actor=SYSTEM)
    runbook_import(actor=SYSTEM)
    release_seed(actor=SYSTEM)
    note = {"names": [], "dropped": [], "reasons": [], "moved_to_arrival": 0}
    DeviceNote.objects.create(
        environment="demo",
        device_id="dev-1",
        signal="metrics",
        received_at=clock.now(),
        accepted=1,
        rejected=0,
        details=note,
    )
    run = scripts.run_request(
        environment="demo", name="scripts/test-cpu-performance.sh", arguments={}, actor=SYSTEM, times=2
    )
    RunFile.objects.create(run=run, name="report.html", content=b"<p>", size=3, sha256="0" * 64)
    schedule = schedule_create(
        environment="demo", name="scripts/test-cpu-performance.sh", arguments={}, every="6h", actor=SYSTEM
    )
    criteria_seed(actor=SYSTEM)
    usual = StoredCriterion.objects.get(key="alert-latency").document
    criterion_save(document={**usual, "key": "own"}, actor=SYSTEM, reason="Furnished")
    patterns_seed(actor=SYSTEM)
    own = {"key": "thermal", "title": "Thermal", "expression": "THERMAL", "sources": ["device logs"]}
    pattern_save(document=own, actor=SYSTEM, reason="Furnished")
    row = {"status": "firing", "labels": {"alertname": "x"}, "fingerprint": "f"}
    alertmanager_take(environment="demo", payload={"version": "4", "alerts": [row]}, actor=SYSTEM)
    quiet = silence_create(
        environment="demo", pattern="alert-x", span=timedelta(hours=1), actor=SYSTEM, reason="Furnished"
    )
    alert = Alert.objects.get().pk
    experiment_start(
        environment="demo",
        flag="litert_enabled",
        key="furnished",
        title="Furnished",
        hypothesis="",
        arms=[Arm("a", 1, None), Arm("b", 1, None)],
        actor=SYSTEM,
        reason="Furnished",
    )
    shifts = _on_call()
    routes_seed(actor=SYSTEM)
    rules = Rules(list(Topic), list(Severity))
    made = [
        channel_create(environment="demo", name=name, kind="email", address="a@example.com", rules=rules, actor=SYSTEM)[
            0
        ]
        for name in ("furnished", "old")
    ]
    delivery = channel_test(channel=made[1], actor=SYSTEM)
    asked = {"release": Release.objects.get().pk, "number": 1, "jump": False}
    proposal = proposal_make(kind="phase.start", environment="demo", payload=asked, actor=SYSTEM, reason="Furnished")
    freeze = freeze_make(
        environment="demo",
        starts_at=clock.now() + timedelta(days=1),
        ends_at=clock.now() + timedelta(days=2),
        actor=SYSTEM,
        reason="Furnished",
    )
    incident = incident_open(environment="demo", title="Furnished", severity="warning", actor=SYSTEM)
    over = incident_open(environment="demo", title="Over", severity="warning", actor=SYSTEM)
    incident_move(environment="demo", incident_id=over.pk, move=Move.RESOLVE, actor=SYSTEM)
    review_draft(environment="demo", incident_id=over.pk, actor=SYSTEM)
    task = incident_task_add(environment="demo", incident_id=incident.pk, title="Furnished", actor=SYSTEM)
    link, status = incident_link_make(environment="demo", incident_id=incident.pk, actor=SYSTEM)
    trouble = {"key": "furnished", "title": "Furnished", "symptoms": [{"key": "s", "criterion": "alert-memory"}]}
    problem_save(environment="demo", document=trouble, actor=SYSTEM)
    high = problem("demo", "high_memory")[0]
    pressed = remedy_press(environment="demo", problem=high, solution=high.solutions[0], actor=SYSTEM).remedy
    assert pressed is not None
    return {
        "remedy": pressed.pk,
        "incident": incident.pk,
        "over": over.pk,
        "task": task.pk,
        "outside": link.pk,
        "status": status,
        "enter": login_link_create(user=User.objects.get(username="ana"), actor=SYSTEM).rpartition("/")[2],
        "code": break_glass_create(actor=SYSTEM)[0].pk,
        "key": device_key_create(environment="demo", name="furnished", actor=SYSTEM)[0].pk,
        "token": api_token_create(environment="demo", name="furnished", scopes=[Scope.READ], actor=SYSTEM)[0].pk,
        "pager": _pager(rules),
        "drill": waiting_drill().pk,
        "proposal": proposal.pk,
        "freeze": freeze.pk,
        "person": person_create(username="furnished", actor=SYSTEM).pk,
        "phone": _phone(),
        **_ways_in(User.objects.get(username="ana")),
        "release": Release.objects.get().pk,
        "run": run.pk,
        "series": run.series_id,
        "schedule": schedule.pk,
        "alert": alert,
        "silence": quiet.pk,
        "channel": made[0].pk,
        "archived": made[1].pk,
        "delivery": delivery.pk,
        **shifts,
    }


def _pager(rules: Rules) -> int:
    """A channel of PagerDuty's that answers back."""
    shared: dict[str, Any] = {"environment": "demo", "rules": rules, "actor": SYSTEM}
    return channel_create(name="pager", kind="pagerduty", address="a" * 32, signing_secret="s" * 32, **shared)[0].pk


def _phone() -> int:
    """Somebody's enrolled phone."""
    owner = person_create(username="owner", actor=SYSTEM, roles=[Role.OPERATOR])
    return phone_enrol(user=owner, environment="demo", name="Pixel", actor=SYSTEM)[0].pk


def _ways_in(of: User) -> dict[str, int]:
    """Somebody's passkey, session, and identity elsewhere."""
    passkey = Authenticator.objects.create(user=of, type="webauthn", data={"name": "Furnished", "credential": {}})
    session = UserSession.objects.create(user=of, session_key="furnished", ip="192.0.2.1", user_agent="x")
    identity = SocialAccount.objects.create(user=of, provider="oidc-furnished", uid="furnished")
    return {"passkey": passkey.pk, "session": session.pk, "identity": identity.pk}


def _on_call() -> dict[str, Any]:
    """A rotation with an override, a swap, a link, and an escalation of the alert that fires."""
    oncall.oncall_seed(actor=SYSTEM)
    policies_seed(actor=SYSTEM)
    ana, ben = (person_create(username=name, actor=SYSTEM, roles=[Role.OPERATOR]) for name in ("ana", "ben"))
    now = clock.now()
    shared: dict[str, Any] = {"environment": "demo", "actor": SYSTEM}
    oncall.rotation_save(
        people=[ana],
        begins_on=now.date() - timedelta(days=1),
        handover=time(9),
        length_days=7,
        zone="UTC",
        revision=0,
        **shared,
    )
    given = (now + timedelta(hours=3), now + timedelta(hours=5))
    swap = oncall.swap_propose(proposer=ana, other=ben, given=given, taken=None, **shared)
    override = oncall.override_create(
        person=ben, starts_at=now + timedelta(hours=1), ends_at=now + timedelta(hours=2), **shared
    )
    link, feed = oncall.link_create(person=ana, own=False, **shared)
    escalate()
    return {
        "override": override.pk,
        "swap": swap.pk,
        "link": link.pk,
        "feed": feed,
        "escalation": Escalation.objects.get(environment="demo").pk,
    }


def address(path: str, furnished: dict[str, Any]) -> str:
    """The path in demo."""
    return "/demo/" + path.format(**furnished)


@pytest.fixture(scope="module")
def furnished(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """What is furnished, once for all tests of this file; each goes back to it."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield furnish()
        transaction.set_rollback(True)


@contextmanager
def going_back() -> Iterator[None]:
    """Undo what is done inside."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture(autouse=True)
def _own_changes(furnished: dict[str, Any]) -> Iterator[None]:
    with going_back():
        yield


@pytest.fixture
def cast(person: Make, client_as: As) -> dict[str, Client]:
    """Somebody of each role, somebody of none, and a stranger who shows a token and a key that count elsewhere."""
    token = api_token_create(environment="demo", name="all", scopes=list(Scope), actor=SYSTEM)[1]
    found = {table.ANONYMOUS: Client(headers={"Authorization": f"Bearer {token}"})}
    found[table.NO_ROLE] = client_as(person("nobody"))
    return found | {role.value: client_as(person(role.value, role)) for role in Role}


def said(answer: Any) -> str:
    """The cell that an answer belongs in."""
    assert answer.status_code < 500, answer.content[:300]
    if answer.status_code in (301, 302, 303) and answer["Location"].startswith("/login?next="):
        return table.SIGN_IN
    return str(answer.status_code) if answer.status_code in (401, 403) else table.ALLOWED


def declared_pages() -> list[table.Line]:
    """The lines of every page and press, as they are declared above."""
    found: dict[tuple[str, str], table.Line] = {}
    stand_in = dict.fromkeys(re.findall(r"{(\w+)}", " ".join((*PAGES, *PRESSES))), "1")
    for method, paths in (("GET", PAGES), ("POST", PRESSES)):
        for path in paths:
            match = resolve("/demo/" + path.format(**stand_in).partition("?")[0])
            roles = set(Role) if method == "GET" else PRESSES[path] | {Role.ADMIN}
            cells = {role.value: table.ALLOWED for role in roles}
            line = table.line(
                "console", method, shown(match.route), match.view_name, anonymous=table.SIGN_IN, others="403", **cells
            )
            assert found.setdefault((method, match.route), line) == line, f"{method} {path} means two things"
    return list(found.values())


def declared_other(one: Other) -> table.Line:
    """The line of an address that OTHERS declares."""
    match = resolve(one.path.format_map(dict.fromkeys(re.findall(r"{(\w+)}", one.path), "1")))
    cells = {role.value: one.roles if role in one.only else "403" for role in Role}
    return table.line(
        "console",
        one.method,
        shown(match.route),
        match.view_name,
        anonymous=one.anonymous,
        others=one.no_role,
        program=one.program,
        **cells,
    )


def shown(route: str) -> str:
    """An address as the table shows it."""
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)


@pytest.mark.parametrize("role", list(Role))
def test_pages__every_role__may_read_all(
    furnished: dict[str, Any], cast: dict[str, Client], monkeypatch: pytest.MonkeyPatch, role: Role
) -> None:
    if role not in (Role.VIEWER, Role.ADMIN):
        # the strip says the same to all: two of six see it made anew on every page
        monkeypatch.setattr(strip, "facts", cache(strip.facts))
    for path in PAGES:
        answer = cast[role].get(address(path, furnished))
        assert answer.status_code in (200, 303), path
        # behind a shared computer's back button nothing of it may stand
        assert "no-store" in answer["Cache-Control"], path
        assert inline(answer) == [], path


def inline(answer: Any) -> list[str]:
    """What the content security policy would refuse in a page: scripts, styles and handlers that stand in it."""
    if not answer["Content-Type"].startswith("text/html") or "attachment" in answer.get("Content-Disposition", ""):
        return []
    page = answer.content.decode()
    return [
        *re.findall(r"<script(?![^>]*(?:\bsrc=|type=.application/json))[^>]*>", page),
        *re.findall(r"<style\b[^>]*>", page),
        *re.findall(r"<[^>]*\s(?:style|on[a-z]+)=[\"'][^>]*>", page),
        *re.findall(r"(?:href|src|action)=.javascript:[^>]*", page),
    ]


def test_pages__stranger__is_sent_to_sign_in_and_no_role__is_refused(
    furnished: dict[str, Any], cast: dict[str, Client], person: Make, client_as: As
) -> None:
    elsewhere = client_as(person("elsewhere", Role.ADMIN, environment="staging"))
    for path in PAGES:
        assert said(cast[table.ANONYMOUS].get(address(path, furnished))) == table.SIGN_IN, path
        assert cast[table.NO_ROLE].get(address(path, furnished)).status_code == 403, path
        assert elsewhere.get(address(path, furnished)).status_code == 403, path


def test_pages__unknown_environment__is_not_found(cast: dict[str, Client]) -> None:
    for path in ("/moon/", "/moon/emergency", "/moon/history"):
        assert cast[Role.ADMIN].get(path).status_code == 404


@pytest.mark.parametrize("role", list(Role))
def test_presses__only_the_roles_that_may(furnished: dict[str, Any], cast: dict[str, Client], role: Role) -> None:
    for path, allowed in PRESSES.items():
        seq = Head.objects.get().seq
        answer = cast[role].post(address(path, furnished), {"ticked": "1", "note": "seen", "percent": "5"})
        if role is Role.ADMIN or role in allowed:
            # an empty form comes back with its reason
            refused = answer.status_code == (400 if path == "releases/create" else 422) and path in COMES_BACK
            assert refused or answer.status_code in (302, 303), (path, answer.status_code)
        else:
            assert answer.status_code == 403, path
            assert Head.objects.get().seq == seq, path


def test_presses__stranger_no_role_or_one_of_elsewhere__change_nothing(
    furnished: dict[str, Any], cast: dict[str, Client], person: Make, client_as: As
) -> None:
    elsewhere = client_as(person("elsewhere", Role.ADMIN, environment="staging"))
    seq = Head.objects.get().seq
    for path in PRESSES:
        assert said(cast[table.ANONYMOUS].post(address(path, furnished))) == table.SIGN_IN, path
        assert cast[table.NO_ROLE].post(address(path, furnished)).status_code == 403, path
        assert elsewhere.post(address(path, furnished)).status_code == 403, path
        assert Head.objects.get().seq == seq, path


def test_presses__by_get__change_nothing(furnished: dict[str, Any], cast: dict[str, Client]) -> None:
    seq = Head.objects.get().seq
    pages = {page.partition("?")[0] for page in PAGES}
    for path in PRESSES:
        if path not in pages:
            assert cast[Role.ADMIN].get(address(path, furnished)).status_code in (404, 405), path
    assert Head.objects.get().seq == seq


@pytest.mark.parametrize("caller", table.CALLERS)
def test_others__every_caller__gets_what_is_said(
    furnished: dict[str, Any], cast: dict[str, Client], settings: Any, caller: str
) -> None:
    settings.METRICS_TOKEN = settings.ALERTMANAGER_TOKEN = "m" * 32
    for one in OTHERS:
        seq = Head.objects.get().seq
        wanted = declared_other(one).cell(caller)
        cookies = dict(cast[caller].cookies)  # signing out takes them
        with going_back():
            answer = cast[caller].generic(one.method, one.path.format(**furnished))
            cast[caller].cookies.update(cookies)
            if wanted == table.OWN:
                assert answer.status_code == 404, "it is somebody else's"
            else:
                assert said(answer) == wanted, (one.method, one.path, answer.status_code)
            if wanted != table.ALLOWED:
                assert Head.objects.get().seq == seq, one.path


def test_presses__without_the_forms_token__are_refused(furnished: dict[str, Any], person: Make) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("somebody", Role.ADMIN))
    seq = Head.objects.get().seq
    others = [line.path for line in OTHERS if line.method == "POST" and line.form]
    for path in [*(address(path, furnished) for path in PRESSES), *(path.format(**furnished) for path in others)]:
        answer = client.post(path, {"reason": "x"})
        assert answer.status_code == 403, path
        assert "Nothing was changed" in answer.content.decode() or "form token" in answer.content.decode(), path
    assert Head.objects.get().seq == seq


def test_every_address__is_public_on_purpose_or_asks_for_a_session() -> None:
    def names(patterns: list[URLPattern | URLResolver]) -> list[tuple[str, bool]]:
        found = []
        for pattern in patterns:
            if isinstance(pattern, URLResolver) and pattern.namespace == "api":
                continue  # tests/api walks its document: every operation refuses strangers with 401
            if isinstance(pattern, URLResolver):
                found += names(pattern.url_patterns)
            else:
                found.append((pattern.name or "", getattr(pattern.callback, "login_required", True)))
        return found

    assert {name for name, required in names(get_resolver().url_patterns) if not required} == PUBLIC


def test_forms__none_sends_its_token_in_an_address() -> None:
    """A form with a CSRF token posts, by every button: an address stays in logs and in the browser's history."""
    for path in sorted((Path(__file__).parents[2] / "templates").rglob("*.html")):
        for form in re.findall(r"<form\b.*?</form>", path.read_text(), re.DOTALL):
            if "{% csrf_token %}" in form:
                assert 'method="post"' in form.partition(">")[0], path
                assert "formmethod" not in form, path
        assert 'formmethod="get"' not in path.read_text(), path

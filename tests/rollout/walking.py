"""People, releases and devices with which a walk can be tested."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from django.db import connection

from hawkops.accounts.models import User
from hawkops.accounts.services.people import person_create, teams_set
from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.teams import Team
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from monitoring.domain.sketch import Sketch
from monitoring.models import DeviceHour, RollupPartial, Series
from monitoring.services.criteria import criteria_seed
from rollout.domain.gates import Finding
from rollout.models import (
    CensusDevice,
    Drill,
    GroupMember,
    PhaseRun,
    Release,
    ReleaseStep,
    RunbookVersion,
    TargetGroup,
    Validation,
)
from rollout.selectors import clocks
from rollout.selectors.releases import runbook
from rollout.services import proposals
from rollout.services.flags import flags_seed
from rollout.services.groups import groups_seed
from rollout.services.releases import check_tick, evidence_record, release_create, runbook_import
from rollout.services.validation import validations_due

SYSTEM = Actor.system("test")
DIGEST = "sha256:" + "ab" * 32
# why a walk goes on where a test stores no telemetry that the recommendation could be read from
UNREAD = "A walk without telemetry"
SKETCH = Sketch()
SKETCH.add(1.0)


def never(_at: datetime) -> bool:
    """No moment."""
    return False


def furnish() -> None:
    """Flags, groups, criteria and the runbook."""
    flags_seed(actor=SYSTEM)
    groups_seed(actor=SYSTEM)
    criteria_seed(actor=SYSTEM)
    runbook_import(actor=SYSTEM)


def waiting_drill() -> Drill:
    """A drill in demo whose turn has not come."""
    return Drill.objects.create(
        environment="demo",
        flag="litert_npu_backend",
        variant="off",
        group="internal_testers",
        series=uuid4(),
        minutes=5,
        reason="Furnished",
        by="somebody",
        asked_at=clock.now(),
    )


def by_hand(key: str) -> None:
    """Let a box wait for something that is not there yet, as in a team's own runbook: a person ticks it meanwhile."""
    version = RunbookVersion.objects.get()
    for group in version.document["checklist"]:
        for box in group["boxes"]:
            if box["key"] == key:
                del box["by"]
                box["comes_with"] = "the pager's contract"
    version.digest = f"by hand: {key}"
    version.save()


def begin(environment: str = "production", **given: Any) -> Release:
    """Begin a release of HazardHawk."""
    known: dict[str, Any] = {
        "name": "HazardHawk",
        "app_version": "2.4.0",
        "version_code": "2407",
        "model_name": "gemma3-1b",
        "model_digest": DIGEST,
        "backends": ["cpu", "gpu"],
        "actor": SYSTEM,
    }
    return release_create(environment=environment, **{**known, **given})


def gates_pass(release: Release, *, but: tuple[str, ...] = ()) -> None:
    """Let every box pass: evidence of the release's own subject, or a person's word."""
    procedure_behind(release)
    for _group, box in runbook(release).boxes():
        if box.key in but:
            continue
        if box.automatic:
            subject = {"model_digest": release.model_digest}
            evidence_record(release=release, box=box, finding=Finding(Verdict.PASS, "Seen.", subject))
        else:
            check_tick(release=release, box=box.key, ticked=True, note="Seen", link="", actor=SYSTEM)


def procedure_behind(release: Release) -> None:
    """Let every deployment step be behind, as data that is there."""
    steps = [step.key for phase in runbook(release).procedure for step in phase.steps]
    ReleaseStep.objects.bulk_create(
        ReleaseStep(release=release, step=step, mark="skipped", skip_reason="Seen elsewhere", at=clock.now())
        for step in steps
    )


def devices(
    environment: str, count: int, *, prefix: str = "device", served: bool = True, said: Any = None, known: bool = True
) -> list[str]:
    """Add active devices that were served LiteRT on, known for long or seen for the first time."""
    now = clock.now()
    keys = [f"{prefix}-{index}" for index in range(count)]
    CensusDevice.objects.bulk_create(
        CensusDevice(
            environment=environment,
            device_id=key,
            first_seen_at=now - timedelta(days=30 if known else 0),
            last_seen_at=now,
            attributes=said or {},
            served_on=["litert_enabled"] if served else [],
        )
        for key in keys
    )
    return keys


def members(environment: str, group: str, keys: list[str]) -> None:
    """Put devices into a group, as data that is there."""
    found = TargetGroup.objects.get(environment=environment, key=group)
    GroupMember.objects.bulk_create(GroupMember(group=found, targeting_key=key) for key in keys)


def somebody(username: str, *roles: Role, teams: tuple[Team, ...] = ()) -> User:
    """A person with roles everywhere, who signs for teams."""
    user = person_create(username=username, actor=SYSTEM, roles=roles or (Role.VIEWER,))
    teams_set(user=user, teams=teams, actor=SYSTEM)
    return user


def signers() -> list[User]:
    """One approver of each team."""
    return [somebody(team.value, Role.APPROVER, teams=(team,)) for team in Team]


def approve(proposal: Any, *people: User) -> Any:
    """Let people say yes, one after another; return the proposal as it stands then."""
    for user in people:
        proposal = proposals.proposal_approve(
            proposal=proposal, edition=proposal.edition, teams=user.teams(), actor=Actor.person(user)
        )
    return proposal


def data_flows(
    environment: str,
    *,
    since: datetime,
    until: datetime,
    simulated: bool = False,
    without: Callable[[datetime], bool] = never,
) -> None:
    """Let devices that LiteRT is served to have reported inferences in each ten minutes, as stored rollups."""
    series, _made = Series.objects.get_or_create(
        environment=environment,
        metric="litert.inferences",
        backend_requested="cpu",
        backend_actual="cpu",
        device_class="tensor-g4",
        variant="on",
        outcome="ok",
        simulated=simulated,
    )
    slot = 600
    starts = range(int(since.timestamp()) // slot * slot, int(until.timestamp()), slot)
    moments = (datetime.fromtimestamp(start, tz=UTC) for start in starts)
    RollupPartial.objects.bulk_create(
        RollupPartial(
            series=series,
            bucket_at=at,
            width_seconds=slot,
            count=1,
            total=1.0,
            squares=1.0,
            low=1.0,
            high=1.0,
            buckets=SKETCH.buckets_bytes(),
        )
        for at in moments
        if not without(at)
    )


def validated(run: PhaseRun, *, hours: int = 50) -> None:
    """Let a phase have reached its target so many hours ago, with data ever since, and its validation pass every line."""
    now = clock.now()
    began = now - timedelta(hours=hours)
    run.refresh_from_db()
    backdate(run, started_at=min(run.started_at, began), reached_at=began)
    Validation.objects.filter(run=run).update(began_at=began, since=began, counted_at=began)
    data_flows(run.release.environment, since=began, until=now)
    validations_due()
    run.refresh_from_db()
    after_passes(run.release)


def after_passes(release: Release, *, but: tuple[str, ...] = ()) -> None:
    """Let every box of what comes after a phase pass, as evidence of the validation under way."""
    subject = {"validation": clocks.named(clocks.current(release))}
    for group in runbook(release).after_phases:
        for box in group.boxes:
            if box.key not in but:
                evidence_record(release=release, box=box, finding=Finding(Verdict.PASS, "Seen.", subject))


def backdate(run: PhaseRun, **moved: Any) -> None:
    """Let a phase have begun earlier."""
    PhaseRun.objects.filter(pk=run.pk).update(**moved)


# what a phone of the reference class reports of LiteRT where all is well: metric, backend, middle, how many
WELL = (
    ("litert.prefill.throughput", "cpu", 420.0, 400),
    ("litert.prefill.throughput", "gpu", 2_600.0, 400),
    ("gen_ai.client.operation.duration", "cpu", 0.6, 400),
    ("litert.memory.usage", "cpu", 1.1e9, 400),
    ("litert.memory.peak", "cpu", 1.4e9, 400),
    ("litert.backend.switch.duration", "cpu", 0.2, 200),
    ("http.client.request.duration", "", 0.5, 400),
)
RANGED = (
    ("process.cpu.utilization", 0.3),
    ("device.battery.drain", 5.0),
    ("device.thermal.status", 1.0),
    ("device.storage.free", 2e10),
)


# how many devices of a side report sessions, and how many of these everything else: a crash rate takes three thousand
PHONES, CHATTY = 3_200, 400


def in_panel(
    environment: str,
    metric: str,
    at: datetime,
    totals: list[float],
    *,
    count: int = 1,
    backend: str = "",
    variant: str = "on",
    outcome: str = "",
    simulated: bool = False,
    device_class: str = "snapdragon-8-elite",
) -> None:
    """Keep of each phone of a side, the first ones, what it observed of a metric in an hour: a total, of so many."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    # a row each by the ORM takes a second of a processor for what stands here in one statement
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO monitoring_panelhour (environment, hour_at, device_id, device_class, simulated, metric,"
            " backend_actual, variant, outcome, count, total, low, high)"
            " SELECT %s, %s, %s || '-' || n - 1, %s, %s, %s, %s, %s, %s, %s, total, total / %s, total / %s"
            " FROM unnest(%s::float8[]) WITH ORDINALITY AS each (total, n)",
            [environment, hour, variant, device_class, simulated, metric, backend, variant, outcome, count, count, count,
             totals],
        )  # fmt: skip


def healthy(
    environment: str,
    at: datetime,
    *,
    before: datetime,
    times: dict[str, float] | None = None,
    crashes: tuple[int, int] = (0, 0),
    simulated: bool = False,
) -> None:
    """Store telemetry of the hour before `at` on which every go/no-go line passes, and what was normal until `before`.

    `times` makes a metric so many times as large in the treatment; `crashes` are those of treatment and control.
    """
    worse = times or {}
    kept: dict[tuple[str, ...], Series] = {}

    def row(metric: str, values: list[float], when: datetime, *, backend: str = "", variant: str = "on", outcome: str = "",
            width: int = 600) -> RollupPartial:  # fmt: skip
        series = kept.get((metric, backend, variant, outcome))
        if series is None:
            series, _made = Series.objects.get_or_create(
                environment=environment, metric=metric, backend_requested=backend, backend_actual=backend,
                device_class="snapdragon-8-elite", variant=variant, outcome=outcome, simulated=simulated,
            )  # fmt: skip
            kept[metric, backend, variant, outcome] = series
        sketch = Sketch()
        for value in values:
            sketch.add(value)
        start = datetime.fromtimestamp(int(when.timestamp()) // width * width, tz=UTC)
        return RollupPartial(
            series=series, bucket_at=start, width_seconds=width, count=sketch.count, total=sketch.total,
            squares=sketch.squares, low=sketch.low, high=sketch.high, buckets=sketch.buckets_bytes(),
        )  # fmt: skip

    def around(metric: str, middle: float, count: int) -> list[float]:
        middle *= worse.get(metric, 1.0)
        return [middle * (0.95 + 0.01 * (index % 11)) for index in range(count)]

    lately = at - timedelta(minutes=15)
    rows = [row(metric, around(metric, middle, count), lately, backend=where) for metric, where, middle, count in WELL]
    for backend in ("cpu", "gpu"):
        rows.append(row("litert.inferences", [1.0] * 2_000, lately, backend=backend, outcome="ok"))
    # a window of an hour reads rows of ten seconds
    rows.append(row("litert.inferences", [1.0] * 20, lately, backend="cpu", outcome="ok", width=10))
    failed = int(worse.get("litert.inferences", 0))
    if failed:
        rows.append(row("litert.inferences", [1.0] * failed, lately, backend="cpu", outcome="error"))
    for variant, crashed in zip(("on", "off"), crashes, strict=True):
        scale = worse.get("app.user.satisfaction", 1.0) if variant == "on" else 1.0
        marks = [(4.0 + index % 2) * scale for index in range(2_000)]
        rows.append(row("app.user.satisfaction", marks, lately, variant=variant))
        rows.append(row("app.sessions", [20_000.0], lately, variant=variant))
        rows.append(row("app.support_tickets", [3_000.0], lately, variant=variant))
        if crashed:
            rows.append(row("app.crashes", [float(crashed)], lately, variant=variant))
    for metric, middle in RANGED:
        rows.append(row(metric, around(metric, middle, 300), lately))
        for hour in range(1, 201):
            usual = middle * (0.9 + 0.001 * (hour % 200))
            rows.append(row(metric, [usual], before - timedelta(hours=hour + 1), variant="off", width=3_600))
    RollupPartial.objects.bulk_create(rows)
    DeviceHour.objects.bulk_create(
        DeviceHour(
            environment=environment, hour_at=at.replace(minute=0, second=0, microsecond=0), device_id=f"{variant}-{index}",
            device_class="snapdragon-8-elite", simulated=simulated, variant=variant,
        )
        for variant in ("on", "off")
        for index in range(50)
    )  # fmt: skip

    def each(metric: str, values: list[float], count: int = 1, **where: Any) -> None:
        totals = [value * count for value in values]
        in_panel(environment, metric, lately, totals, count=count, simulated=simulated, **where)

    for metric, backend, middle, _count in WELL:
        each(metric, around(metric, middle, CHATTY), 4, backend=backend)
    for metric, middle in RANGED:
        each(metric, around(metric, middle, CHATTY), 3)
    each("litert.inferences", [10.0] * CHATTY, backend="cpu", outcome="ok")
    if failed:
        each("litert.inferences", [1.0] * failed, backend="cpu", outcome="error")
    for variant, crashed in zip(("on", "off"), crashes, strict=True):
        scale = worse.get("app.user.satisfaction", 1.0) if variant == "on" else 1.0
        each("app.user.satisfaction", [scale * (4.3 + 0.01 * (n % 41)) for n in range(CHATTY)], 5, variant=variant)
        each("app.sessions", [6.25] * PHONES, variant=variant)
        each("app.support_tickets", [1.0] * 3_000, variant=variant)
        each("app.crashes", [1.0] * crashed, variant=variant)

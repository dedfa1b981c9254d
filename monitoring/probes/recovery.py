"""After a rollback: is the system stable, has performance come back, are users well. On stored telemetry, by criteria.

Devices that were told something else within the time are judged from that moment on, and until the whole time has
passed since then nothing is called stable: exit 77, to be asked again.
"""

import argparse
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from hawkops.core import clock
from hawkops.scripts.probes.findings import Finding, failed, not_judged, passed, unmeasured
from monitoring.domain import metrics
from monitoring.domain.alerting import State
from monitoring.domain.criteria import Criterion, Purpose, spoken
from monitoring.domain.tiers import tier_of_span
from monitoring.domain.windows import Window
from monitoring.probes.lines import a_span, add_environment, head, lines, told
from monitoring.selectors import alerts, sections, telemetry
from monitoring.selectors.criteria import criteria
from monitoring.selectors.judging import backends_in_use, last_change, of_everybody, over

STABLE = ("alert-crash-rate", "alert-error-rate", "alert-latency", "alert-memory", "alert-switches", "alert-fallback")
EXPERIENCE = {
    "satisfaction": ("validation-satisfaction", "decision-satisfaction"),
    "engagement": ("validation-engagement",),
    "sessions": ("validation-session-duration",),
    "tasks": ("validation-task-completion",),
    "crashes": ("validation-crash-rate",),
    "tickets": ("validation-tickets",),
}
GAP_MOST = timedelta(minutes=2)
LISTED_MOST = 5


def stability_options(parser: argparse.ArgumentParser) -> None:
    """Add how long the system must have been stable."""
    add_environment(parser)
    parser.add_argument("--duration", type=a_span, default=None, help="how long it must have been stable, 30m say")


def stability(given: argparse.Namespace) -> Iterator[Finding]:
    """Judge crashes, failures, latency, memory and switches of every device since the last change."""
    now = clock.now()
    wanted_span = given.duration or sections.rules().stable_for
    since, words = _since(given.environment, wanted_span, now)
    head(given.environment, words, now=now)
    stored = _in_order(STABLE)
    rules = [over(of_everybody(one), now - since) for one in stored]

    def everything() -> Iterator[Finding]:
        yield _long_enough(now - since, wanted_span)
        yield _flow(given.environment, since, now)
        yield from lines(given.environment, rules, now=now)
        yield from _missing(STABLE, stored)
        yield from critical_alerts(given.environment)

    yield from told(everything(), good=f"Stable for {spoken(wanted_span)}")


def recovery(given: argparse.Namespace) -> Iterator[Finding]:
    """Judge what alerts on performance watch, each in its own window, and none of it before the last change."""
    now = clock.now()
    change = last_change(given.environment, until=now)
    longest = timedelta(hours=1)
    since = max(change.at, now - longest) if change else now - longest
    said = (
        f"last change {spoken(_whole(now - change.at))} ago, {change.words}"
        if change
        else "no change of flags on record"
    )
    head(given.environment, said, now=now)
    used = backends_in_use(given.environment, since=since)

    def everything() -> Iterator[Finding]:
        rules = [one for one in criteria(purposes=[Purpose.ALERT]) if _of_performance(one) and not one.paused]
        if not rules:
            yield from lines(given.environment, (), now=now)
        for one in rules:
            floor = one.threshold is None
            if floor and not used.keys() & set(one.over.backends or ("cpu", "gpu", "npu")):
                yield not_judged(one.title, "nobody has asked for this backend since")
                continue
            # a floor is for a backend; the rest is felt by everybody, whatever answers them
            mine = one if floor else of_everybody(one)
            yield from lines(given.environment, [over(mine, min(one.window, now - since))], now=now)
        yield from _open(given.environment)

    yield from told(everything(), good="Performance has recovered")


def experience_options(parser: argparse.ArgumentParser) -> None:
    """Add which metrics are looked at."""
    add_environment(parser)
    parser.add_argument("--metrics", type=_metrics, default=tuple(EXPERIENCE), help=", ".join(EXPERIENCE))


def experience(given: argparse.Namespace) -> Iterator[Finding]:
    """Judge what users say and do, by the rules of the validation."""
    now = clock.now()
    head(given.environment, f"users' {', '.join(given.metrics)}, in the windows of the validation", now=now)

    def everything() -> Iterator[Finding]:
        for name in given.metrics:
            rules = _in_order(EXPERIENCE[name])
            if not rules:
                yield unmeasured(name.capitalize(), "no rule is stored for it")
                continue
            yield from lines(given.environment, rules, now=now)
            yield from _missing(EXPERIENCE[name], rules)

    yield from told(everything(), good="Users are well")


def _metrics(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in EXPERIENCE]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no metric of users; there are {', '.join(EXPERIENCE)}")
    if not names:
        raise argparse.ArgumentTypeError(f"name at least one of {', '.join(EXPERIENCE)}")
    return names


def _in_order(keys: Sequence[str]) -> list[Criterion]:
    found = {one.key: one for one in criteria(keys=keys)}
    return [found[key] for key in keys if key in found]


def _missing(keys: Sequence[str], stored: Sequence[Criterion]) -> Iterator[Finding]:
    """Say which rules are not stored: what nobody judges is not known, and may not vanish from the verdict."""
    if missing := sorted(set(keys) - {one.key for one in stored}):
        yield unmeasured("Rules", f"not stored, so not judged: {', '.join(missing)}")


def _since(environment: str, wanted: timedelta, now: datetime) -> tuple[datetime, str]:
    """Return from when on devices are judged: the whole time, or from the last change in it."""
    change = last_change(environment, until=now)
    if change is None or change.at <= now - wanted:
        return now - wanted, f"the last {spoken(wanted)}"
    return change.at, f"{spoken(_whole(now - change.at))} since the last change, {change.words}"


def _whole(span: timedelta) -> timedelta:
    return timedelta(seconds=round(span.total_seconds()))


def _long_enough(lasted: timedelta, wanted: timedelta) -> Finding:
    title = "Time since the last change"
    if lasted < wanted:
        words = f"{spoken(_whole(lasted))} of {spoken(wanted)}; ask again in {spoken(_whole(wanted - lasted))}"
        return unmeasured(title, words)
    return passed(title, f"{spoken(wanted)} or more without a change", value=lasted.total_seconds(), unit="s")


def _flow(environment: str, since: datetime, now: datetime) -> Finding:
    """Tell whether inferences were reported all the time: silence is not stability."""
    title = "Telemetry all the time"
    step = timedelta(seconds=tier_of_span(now - since, since=since, now=now).width)
    begins = datetime.fromtimestamp(since.timestamp() // step.total_seconds() * step.total_seconds(), tz=UTC)
    whole = (now - begins) // step
    found = telemetry.lines(
        environment=environment,
        names=(metrics.INFERENCES,),
        window=Window(begins, whole + 1, step),
        group=lambda one: "all" if telemetry.may_judge(environment, simulated=one.simulated) else None,
        now=now,
    )
    said = found.get("all")
    if said is None or said.last_at is None:
        return unmeasured(title, "no inference was reported in this time")
    filled, quiet, longest = set(said.grid.filled), 0, 0
    for position in range(whole):
        quiet = 0 if position in filled else quiet + 1
        longest = max(longest, quiet)
    gap = max(longest * step, _whole(now - said.last_at))
    words = f"longest silence {spoken(gap)}, at most {spoken(GAP_MOST)} wanted"
    if gap > GAP_MOST:
        return unmeasured(title, words)
    return passed(title, words, value=gap.total_seconds(), unit="s")


def _of_performance(one: Criterion) -> bool:
    return one.over.metric.startswith(("litert.", "gen_ai.")) and one.over.metric != "litert.model.validations"


def critical_alerts(environment: str) -> Iterator[Finding]:
    """Tell whether a critical alert stands, where alerts are evaluated at all."""
    chosen = [one for one in alerts.standing_alerts(environment) if one.alert.severity == "critical"]
    yield _standing(environment, "Critical alerts", chosen, none="none fires")


def _open(environment: str) -> Iterator[Finding]:
    """Tell whether an alert on performance is still open: a criterion that holds again may not have resolved it yet."""
    keys = {one.key for one in criteria(purposes=[Purpose.ALERT]) if _of_performance(one)}
    chosen = [one for one in alerts.standing_alerts(environment) if one.alert.key in keys]
    yield _standing(environment, "Open alerts", chosen, none="none on performance", name="alerts.performance")


def _standing(environment: str, title: str, chosen: Sequence[alerts.Shown], *, none: str, name: str = "") -> Finding:
    """Judge alerts that stand: somebody's acknowledgement ends none, and one that is hushed leaves the question open."""
    watched = alerts.watched(environment)
    if watched.looked_at is None or watched.late:
        return unmeasured(title, "alerts are not evaluated, so nothing is known of them")
    heard = [one for one in chosen if not one.hushed_by]
    hushed = [one for one in chosen if one.hushed_by]
    words = []
    if heard:
        words.append(f"{len(heard)} stand: {_listed(heard)}")
    if hushed:
        words.append(f"{len(hushed)} stand and are hushed: {_listed(hushed)}")
    if heard:
        return failed(title, "; ".join(words), value=float(len(chosen)), name=name)
    if hushed:
        return unmeasured(title, "; ".join(words))
    return passed(title, none, value=0.0, name=name)


def _listed(shown: Sequence[alerts.Shown]) -> str:
    words = []
    for one in shown[:LISTED_MOST]:
        how = one.hushed_by or ("acknowledged" if one.alert.state == State.ACKNOWLEDGED else "")
        words.append(f"{one.alert.title} ({how})" if how else one.alert.title)
    more = len(shown) - LISTED_MOST
    return ", ".join(words) + (f" and {more} more" if more > 0 else "")

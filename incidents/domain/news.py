"""An entry of the history as news: what happened, in plain sentences, or nothing that anybody need be told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from incidents.domain.message import Action, cut, one_line
from monitoring.domain import alerting
from monitoring.domain.criteria import Severity

# the runbook's words
ROLLBACK_INITIATED = "🚨 LiteRT Emergency Rollback Initiated"
DRILL = "Pre-deployment test"
KILLED = "flag.killed"
TITLE_MOST = 200
SENTENCE_MOST = 1_500
TOGETHER_MOST = 20


@dataclass(frozen=True)
class Entry:
    """The part of a history entry that news is made of."""

    seq: int
    at: datetime
    environment: str
    by: str
    verb: str
    subject: str
    before: Any
    after: Any
    reason: str
    hidden: bool = False


@dataclass(frozen=True)
class News:
    """What happened. `about` is what routes look at beside the verb; `path` the page that tells more, in its environment."""

    entry: Entry
    about: str
    severity: Severity
    action: Action
    # what it belongs to, without the environment; empty: to nothing
    thread: str
    title: str
    sentences: tuple[str, ...]
    path: str
    path_text: str
    simulated: bool = False


# What an alert's moves are to those who hear of them; every other move is nobody's news.
_ALERT_ACTIONS = {
    "alert.fired": Action.TRIGGER,
    "alert.paged_again": Action.TRIGGER,
    "alert.uncovered": Action.TRIGGER,
    "alert.acknowledged": Action.ACKNOWLEDGE,
    "alert.resolved": Action.RESOLVE,
    "alert.closed": Action.RESOLVE,
}


def news_of(entry: Entry) -> News | None:
    """Return what an entry tells; None for what is hidden, hushed, or told by another one."""
    if entry.hidden:
        return None
    noun = entry.verb.partition(".")[0]
    teller = {
        "alert": _alert,
        "flag": _flag,
        "guardrail": _guardrail,
        "rollback": _rollback,
        "phase": _phase,
        "proposal": _proposal,
        "notification": _notification,
        "incident": _incident,
        "lockdown": _lockdown,
        "break_glass": _break_glass,
        "kill_clock": _kill_clock,
    }.get(noun)
    return teller(entry) if teller else _other(entry)


def _mapping(state: Any) -> dict[str, Any]:
    return state if isinstance(state, dict) else {}


def _who(entry: Entry) -> str:
    return f"By {entry.by}: {entry.reason}" if entry.reason else f"By {entry.by}."


def _news(
    entry: Entry,
    *sentences: str,
    title: str,
    about: str = "",
    severity: Severity = Severity.INFO,
    action: Action = Action.TELL,
    thread: str = "",
    path: str = "",
    path_text: str = "",
    simulated: bool = False,
) -> News:
    return News(
        entry=entry,
        about=about or entry.subject.partition(":")[2],
        severity=severity,
        action=action,
        thread=thread,
        title=cut(one_line(title), TITLE_MOST),
        sentences=tuple(cut(line, SENTENCE_MOST) for line in sentences if line.strip()),
        path=path or f"history/{entry.seq}",
        path_text=path_text or "Entry in the history",
        simulated=simulated,
    )


# ---- alerts ----


def alerts_thread(group: str) -> str:
    """Return the thread of a group of alerts: those of one cause page once."""
    return f"alerts:{group or 'other'}"


def hushed(state: Any) -> bool:
    """Say whether something explains an alert, or somebody silenced it."""
    return bool(_mapping(state).get("inhibited_by")) or _mapping(state).get("silence") is not None


def _alert(entry: Entry) -> News | None:
    action, state = _ALERT_ACTIONS.get(entry.verb), _mapping(entry.after)
    if action is None:
        return None
    if action is Action.TRIGGER and (hushed(state) or state.get("state") != alerting.State.FIRING):
        return None
    title, severity = str(state.get("title") or entry.subject), str(state.get("severity") or Severity.WARNING)
    said = {
        "alert.fired": title,
        "alert.paged_again": f"Nobody has solved it yet: {title}",
        "alert.uncovered": title,
        "alert.acknowledged": f"{entry.by} has it: {title}",
        "alert.resolved": f"Well again: {title}",
        "alert.closed": f"Closed by {entry.by}: {title}",
    }[entry.verb]
    wanted = state.get("action")
    asks = f"The runbook asks: {alerting.Action(wanted).label}." if wanted in set(alerting.Action) else ""
    group = str(state.get("group") or "")
    return _news(
        entry,
        entry.reason,
        asks if action is Action.TRIGGER else "",
        title=said,
        about=group,
        severity=Severity(severity) if severity in set(Severity) else Severity.WARNING,
        action=action,
        thread=alerts_thread(group),
        path=f"alerts/{entry.subject.partition(':')[2]}",
        path_text="Alert",
        simulated=bool(state.get("simulated")),
    )


# ---- what people and rules did ----

LITERT = "litert_enabled"
KILL_THREAD = "kill"
DRILLED = ("flag.drilled", "flag.drill_ended")
FLAGS_TOLD = ("flag.killed", "flag.override_set", "flag.override_cleared", "flag.reenabled")


def _flag(entry: Entry) -> News:
    key = entry.subject.partition(":")[2]
    if entry.verb in DRILLED:
        return _drill(entry, key)
    if entry.verb not in FLAGS_TOLD:
        return _other(entry)
    about = "drill" if entry.reason.startswith(DRILL) else key
    shared: dict[str, Any] = {"about": about, "path": "emergency", "path_text": "Emergency"}
    emergency = about != "drill"
    if entry.verb == "flag.killed":
        title = ROLLBACK_INITIATED if emergency else "Kill switch drill: LiteRT off"
        sentence = f"LiteRT is off and cloud fallback is on in {entry.environment}."
        opens: dict[str, Any] = {"action": Action.TRIGGER, "thread": KILL_THREAD} if emergency else {}
        return _news(entry, sentence, _who(entry), title=title, severity=Severity.CRITICAL, **opens, **shared)
    forced = _forced(entry.after, key)
    names = ", ".join(f"{name} forced {variant}" if variant else name for name, variant in sorted(forced.items()))
    title = {
        "flag.override_set": f"Override set: {names}",
        "flag.override_cleared": f"Override lifted: {names}",
        "flag.reenabled": f"Re-enabled: {names}",
    }[entry.verb]
    lifts = entry.verb != "flag.override_set" and forced.get(LITERT) == "" and emergency
    ends: dict[str, Any] = {"action": Action.RESOLVE, "thread": KILL_THREAD} if lifts else {}
    return _news(entry, _who(entry), title=title, severity=Severity.WARNING, **ends, **shared)


def _drill(entry: Entry, key: str) -> News:
    """Tell of a drill on a group: pressed on so many devices, and how it ended."""
    state = _mapping(entry.after)
    ended = entry.verb == "flag.drill_ended"
    title = f"Drill of {key}: {state.get('outcome')}" if ended else f"Drill of {key} on {state.get('devices')} devices"
    said = str(state.get("sentence") or "") if ended else "It is given back by itself."
    return _news(
        entry, said, _who(entry), title=title, about="drill", severity=Severity.INFO, path="emergency/drills",
        path_text="Drills",
    )  # fmt: skip


def _forced(state: Any, key: str) -> dict[str, str]:
    """Return what each flag is forced to, empty for nothing, from the state of one flag or of several."""
    found = _mapping(state)
    several = {key: found} if "override" in found else found
    return {
        name: str(_mapping(_mapping(one).get("override")).get("variant") or "")
        for name, one in several.items()
        if isinstance(one, dict) and "override" in one
    } or {key: ""}


def _guardrail(entry: Entry) -> News:
    state = _mapping(entry.after)
    name = entry.subject.rpartition(":")[2].replace("_", " ").replace("-", " ")
    recovered = entry.verb == "guardrail.recovered"
    roles = {"guardrail": Severity.CRITICAL, "signal": Severity.WARNING, "watch": Severity.INFO}
    rolled_back = entry.verb == "guardrail.rolled_back"
    title = {
        "guardrail.failed": f"Guardrail fails: {name}",
        "guardrail.recovered": f"Guardrail holds again: {name}",
        "guardrail.rolled_back": f"Rolled back by a guardrail: {name}",
    }.get(entry.verb, f"Guardrail: {name}")
    return _news(
        entry,
        str(state.get("sentence") or entry.reason),
        f"It does this: {state['does']}." if state.get("does") and not recovered else "",
        title=title,
        severity=Severity.CRITICAL if rolled_back else roles.get(str(state.get("role")), Severity.WARNING),
        action=Action.RESOLVE if recovered else Action.TRIGGER,
        thread=entry.subject.rpartition(":")[0],
        path="releases",
        path_text="Release",
    )


# What an incident's moves are to those who hear of them; everything else stands in its timeline.
_INCIDENT_ACTIONS = {
    "incident.opened": Action.TRIGGER,
    "incident.acknowledged": Action.ACKNOWLEDGE,
    "incident.severity_changed": Action.TRIGGER,
    "incident.mitigated": Action.TELL,
    "incident.resolved": Action.RESOLVE,
}


def incident_thread(kind: str, number: str) -> str:
    """Return an incident's thread: that of what caused it, so that a pager keeps one of both; else one of its own."""
    return kind or f"incident:{number}"


def _incident(entry: Entry) -> News | None:
    action, state, before = _INCIDENT_ACTIONS.get(entry.verb), _mapping(entry.after), _mapping(entry.before)
    if action is None:
        return None
    number, severity = entry.subject.partition(":")[2], Severity(state.get("severity") or Severity.WARNING)
    name = f"Incident {number}: {state.get('title') or ''}"
    if entry.verb == "incident.severity_changed" and severity is not Severity.CRITICAL:
        action = Action.TELL
    said = {
        "incident.opened": f"{name} is open again" if before else name,
        "incident.acknowledged": f"{entry.by} has incident {number}: {state.get('title') or ''}",
        "incident.severity_changed": f"{name} is {severity} now, was {before.get('severity')}",
        "incident.mitigated": f"{name} is mitigated",
        "incident.resolved": f"{name} is resolved",
    }[entry.verb]
    if into := state.get("merged_into"):
        said = f"{name} is merged into incident {into}"
    return _news(
        entry,
        _who(entry),
        title=said,
        about=str(state.get("kind") or "").partition(":")[2] or "incident",
        severity=severity,
        action=action,
        thread=incident_thread(str(state.get("kind") or ""), number),
        path=f"incidents/{number}",
        path_text="Incident",
        simulated=bool(state.get("simulated")),
    )


LOCKDOWN_THREAD = "lockdown:security"


def _lockdown(entry: Entry) -> News:
    state, where = _mapping(entry.after), entry.environment
    stays = "Nothing is raised until an approver, somebody else, confirms on the emergency page."
    title, action, said = {
        "lockdown.started": (
            f"🔒 Security lockdown of {where}: {state.get('reason') or entry.reason}",
            Action.TRIGGER,
            "LiteRT is off, cloud fallback is on, and nothing is raised until two people lift it.",
        ),
        "lockdown.lift_asked": (f"{entry.by} asks to lift the lockdown of {where}", Action.TELL, stays),
        "lockdown.lift_withdrawn": (f"The lockdown of {where} is not to be lifted yet", Action.TELL, ""),
        "lockdown.lifted": (
            f"The lockdown of {where} is lifted",
            Action.RESOLVE,
            "LiteRT stays off until somebody re-enables it.",
        ),
    }.get(entry.verb, (f"{entry.verb.replace('.', ' ').replace('_', ' ').capitalize()} in {where}", Action.TELL, ""))
    begins = action is Action.TRIGGER
    return _news(
        entry,
        said,
        f"Severity {state['severity']}." if begins and state.get("severity") else "",
        _who(entry),
        title=title,
        about="lockdown",
        severity=Severity.CRITICAL if begins else Severity.WARNING,
        action=action,
        thread=LOCKDOWN_THREAD,
        path="emergency",
        path_text="Emergency",
    )


def _break_glass(entry: Entry) -> News | None:
    """Tell of a code that is used; making and taking back are told, too."""
    state = _mapping(entry.after)
    title, action, severity = {
        "break_glass.opened": ("🔨 Somebody broke the glass", Action.TRIGGER, Severity.CRITICAL),
        "break_glass.closed": ("The glass is closed again", Action.RESOLVE, Severity.WARNING),
        "break_glass.code_made": (f"{entry.by} made a break-glass code", Action.TELL, Severity.WARNING),
        "break_glass.code_revoked": (f"{entry.by} took a break-glass code back", Action.TELL, Severity.WARNING),
    }.get(entry.verb, ("", Action.TELL, Severity.WARNING))
    if not title:
        return None
    until = f"Open until {state['until']}." if action is Action.TRIGGER and state.get("until") else ""
    return _news(
        entry,
        until,
        entry.reason and f"Why: {entry.reason}",
        title=title,
        severity=severity,
        action=action,
        thread=f"break_glass:{entry.subject.partition(':')[2]}",
    )


def _rollback(entry: Entry) -> News | None:
    """Tell of a level that no flag's override tells of, and of undoing any."""
    level = _mapping(entry.after).get("level")
    if entry.verb == "rollback.made" and level in (2, 3):
        return None
    title = {
        "rollback.made": f"Rolled back by level {level}: {'half of the percentage' if level == 1 else 'the app'}",
        "rollback.undone": f"Rollback of level {level} undone",
    }.get(entry.verb, "Rollback")
    return _news(
        entry,
        _who(entry),
        title=title,
        severity=Severity.WARNING,
        path="emergency/rollback",
        path_text="Rollback",
    )


def _kill_clock(entry: Entry) -> News | None:
    """Tell how the five minutes of an immediate rollback ended; what was reached on the way the clock itself shows."""
    state = _mapping(entry.after)
    sentences: tuple[str, ...] = ()
    if entry.verb == "kill_clock.missed":
        took = f"It took {state['took']}." if state.get("took") else "Not all of it is reached yet."
        title, severity = "Emergency rollback missed its five minutes", Severity.WARNING
        sentences = (f"Late: {state.get('late_said') or 'not known'}.", took)
    elif entry.verb == "kill_clock.met":
        title, severity = f"Emergency rollback took {state.get('took')} of 5:00", Severity.INFO
    else:
        return None
    return _news(entry, *sentences, title=title, severity=severity, path="emergency", path_text="Emergency")


def _phase(entry: Entry) -> News:
    state = _mapping(entry.after)
    number = entry.subject.rpartition(":")[2]
    what = entry.verb.partition(".")[2].replace("_", " ")
    title = f"Phase {number} {what}"
    if entry.verb == "phase.stepped":
        title = f"Phase {number} reaches step {state.get('step')} of {state.get('of')}: {state.get('percent')} %"
    elif state.get("title"):
        title = f"{title}: {state['title']}"
    stopped = entry.verb in ("phase.held", "phase.paused", "phase.aborted")
    rolled = f"By a rollback of level {state['rollback']}." if state.get("rollback") else ""
    return _news(
        entry,
        str(state.get("why") or ""),
        rolled,
        _who(entry),
        title=title,
        severity=Severity.WARNING if stopped else Severity.INFO,
        path="releases",
        path_text="Release",
    )


def _proposal(entry: Entry) -> News:
    number, state = entry.subject.partition(":")[2], _mapping(entry.after)
    what = str(state.get("title") or f"proposal {number}")
    title = {
        "proposal.made": f"Waits for somebody's yes: {what}",
        "proposal.approved": f"{entry.by} says yes: {what}",
        "proposal.applied": f"Carried out: {what}",
        "proposal.withdrawn": f"Withdrawn: {what}",
        "proposal.held": f"Held: {what}",
    }.get(entry.verb, f"{entry.verb.partition('.')[2].replace('_', ' ').capitalize()}: {what}")
    return _news(
        entry, str(state.get("why") or ""), _who(entry), title=title, path=f"proposals/{number}", path_text="Approval"
    )


def _notification(entry: Entry) -> News:
    """Tell the other channels that one can't be reached, and that it can again."""
    state, channel = _mapping(entry.after), entry.subject.partition(":")[2]
    name = str(state.get("name") or channel)
    failed = entry.verb == "notification.failed"
    if not failed and entry.verb != "notification.recovered":
        return _other(entry)
    return _news(
        entry,
        f"Not told there: {state.get('title')}" if failed else "",
        f"{state.get('status') or ''} {entry.reason}".strip(),
        title=f"{name} can't be reached" if failed else f"{name} is reached again",
        severity=Severity.WARNING,
        action=Action.TRIGGER if failed else Action.RESOLVE,
        thread=f"channel:{channel}",
        path=f"notifications/channels/{channel}",
        path_text="Channel",
    )


def _other(entry: Entry) -> News:
    """Tell what has no words of its own: the verb, what it was done to, who did it and why."""
    state = _mapping(entry.after)
    name = str(state.get("script") or state.get("title") or state.get("name") or entry.subject.partition(":")[2])
    words = entry.verb.replace(".", " ").replace("_", " ")
    verdict = str(state.get("verdict") or "")
    return _news(
        entry,
        str(state.get("summary") or state.get("sentence") or ""),
        _who(entry),
        title=f"{words.capitalize()}: {name}" + (f" ({verdict})" if verdict else ""),
        about=str(state.get("script") or ""),
        severity=Severity.WARNING if verdict in ("FAIL", "ERROR") else Severity.INFO,
    )


# ---- several at once ----


def together(news: Sequence[News]) -> tuple[str, tuple[str, ...]]:
    """Return title and sentences of news that belong to one thread and came at once."""
    if len(news) == 1:
        return news[0].title, news[0].sentences
    lines = [": ".join([one.title, *one.sentences[:1]]) for one in news[:TOGETHER_MOST]]
    if len(news) > TOGETHER_MOST:
        lines.append(f"and {len(news) - TOGETHER_MOST} more")
    kind = news[0].thread.partition(":")
    opened = [one.title for one in news if one.entry.verb.startswith("incident.")]
    if opened:
        return opened[0], tuple(lines)
    if kind[0] == "alerts":
        where = alerting.group_title("" if kind[2] == "other" else kind[2])
        words = {Action.TRIGGER: "alerts fire", Action.RESOLVE: "alerts are well again"}
        return f"{where}: {len(news)} {words.get(news[0].action, 'alerts acknowledged')}", tuple(lines)
    return f"{news[0].title}, and {len(news) - 1} more", tuple(lines)

"""Silences: made by a person with a reason and an end, never over everything."""

from datetime import timedelta

from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.core.live import announce
from hawkops.history.actors import Actor
from hawkops.history.services import change
from monitoring.domain import alerting
from monitoring.domain.criteria import Severity
from monitoring.models import Silence
from monitoring.services.episodes import typed

SILENCE_MOST = timedelta(days=14)
NAME_MOST = 120


def silence_checked(*, environment: str, pattern: str, severity: str = "", alertname: str = "") -> Silence:
    """Return the silence that was typed, not saved. Raises InvalidInput when it names nothing in particular."""
    for text, what in ((pattern, "pattern"), (alertname, "alert name")):
        if len(text.strip()) > NAME_MOST:
            raise InvalidInput(f"The {what} has {len(text.strip())} characters, {NAME_MOST} are the most.")
    pattern = typed(pattern, most=NAME_MOST, what="pattern")
    alertname = typed(alertname, most=NAME_MOST, what="alert name")
    if not pattern and not alertname:
        raise InvalidInput("Say which alerts: a key, or a pattern such as alert-gpu-*.")
    if any(c.isspace() for c in pattern):
        raise InvalidInput("A pattern has no spaces: a key, or a pattern such as alert-gpu-*.")
    if set(pattern + alertname) & set("[]"):
        raise InvalidInput("Use * and ? only: brackets can hide everything by saying what is not meant.")
    if all(alerting.too_wide(text) for text in (pattern, alertname) if text):
        raise InvalidInput(
            "A silence over everything would hide an outage; name what is known, with three letters or digits together."
        )
    if severity and severity not in set(Severity):
        raise InvalidInput(f"A severity is {', '.join(Severity)}, or empty for any.")
    return Silence(environment=environment, pattern=pattern, severity=severity, alertname=alertname)


def silence_create(
    *,
    environment: str,
    pattern: str,
    span: timedelta,
    actor: Actor,
    reason: str,
    severity: str = "",
    alertname: str = "",
    request_id: str = "",
) -> Silence:
    """Silence alerts by what they are called (`alert-gpu-*`), how severe they are, or Alertmanager's name for them.

    Raises InvalidInput.
    """
    made = silence_checked(environment=environment, pattern=pattern, severity=severity, alertname=alertname)
    reason = typed(reason, most=300, what="reason")
    if not reason:
        raise InvalidInput("Say why: whoever finds the silence at night must know.")
    if not timedelta() < span <= SILENCE_MOST:
        raise InvalidInput(f"A silence ends, within {SILENCE_MOST.days} days at the latest.")
    now = clock.now()
    with change(actor=actor, environment=environment, reason=reason, request_id=request_id) as this:
        made.owner, made.reason, made.starts_at, made.ends_at = actor.label, reason, now, now + span
        made.save()
        after = {
            "pattern": made.pattern,
            "severity": made.severity,
            "alertname": made.alertname,
            "ends_at": made.ends_at.isoformat(),
        }
        this.record("silence.created", subject=f"silence:{made.pk}", after=after)
        announce("alerts", environment)
    return made


def silence_end(*, silence: Silence, actor: Actor, request_id: str = "") -> Silence:
    """End a silence now."""
    now = clock.now()
    with change(actor=actor, environment=silence.environment, request_id=request_id) as this:
        found = Silence.objects.select_for_update(no_key=True).get(pk=silence.pk)
        if found.ends_at <= now:
            raise Conflict("The silence is over already.")
        before = {"ends_at": found.ends_at.isoformat()}
        found.ends_at = now
        found.save(update_fields=["ends_at"])
        this.record("silence.ended", subject=f"silence:{found.pk}", before=before, after={"ends_at": now.isoformat()})
        announce("alerts", found.environment)
    return found

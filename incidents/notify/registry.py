"""Every kind of channel by its name."""

from incidents.models.notifications import Kind
from incidents.notify import apprise, email, pagerduty, slack, webhook
from incidents.notify.shape import Way

WAYS: dict[str, Way] = {
    Kind.SLACK.value: slack.WAY,
    Kind.PAGERDUTY.value: pagerduty.WAY,
    Kind.EMAIL.value: email.WAY,
    Kind.WEBHOOK.value: webhook.WAY,
    Kind.APPRISE.value: apprise.WAY,
}

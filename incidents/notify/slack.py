"""Slack's incoming webhooks. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"""

from incidents.domain import slack
from incidents.notify.shape import Answer, Sending, Way, posted, web_address


def _send(sending: Sending) -> Answer:
    return posted(sending.address, json=slack.payload(sending.message))


WAY = Way(
    web_address,
    _send,
    asks="Incoming webhook",
    help="In Slack: your app → Incoming Webhooks → Add New Webhook, one for each channel there.",
)

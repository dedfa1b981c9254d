"""A message as Slack's blocks, within its limits. https://docs.slack.dev/reference/block-kit/blocks

Whatever comes from outside is escaped: `<!channel>` in a reason would ring everybody's phone. Links are links and not
buttons: a button asks for an address that answers Slack, which a webhook has not.
"""

from typing import Any
from urllib.parse import quote

from incidents.domain.message import Action, Message

HEADER_MOST = 150
SECTION_MOST = 3_000
URL_MOST = 3_000
TEXT_MOST = 3_000
BLOCKS_MOST = 50
# Slack refuses a message whose blocks hold more than about 13 200 characters together.
TOTAL_MOST = 13_000
ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
SIGNS = {"critical": "🚨", "warning": "⚠️", "info": "ℹ️"}


def escaped(text: str, most: int) -> str:
    """Escape the three characters that Slack takes for its own, cut so that what is escaped has at most so many."""
    made: list[str] = []
    left = most
    for place, char in enumerate(text):
        shown = ESCAPED.get(char, char)
        rest = len(text) - place - 1
        if len(shown) > left - (1 if rest else 0):
            made.append("…")
            break
        made.append(shown)
        left -= len(shown)
    return "".join(made)


def link(text: str, url: str) -> str:
    """Return a link in Slack's own form; empty for what is no web address, or one longer than Slack takes."""
    if not url.startswith(("https://", "http://")):
        return ""
    safe = quote(url, safe=":/?#[]@!$&'()*+,;=%~._-").replace("&", "&amp;")
    return f"<{safe}|{escaped(text.replace('|', '/'), 75)}>" if len(safe) <= URL_MOST else ""


def payload(message: Message) -> dict[str, Any]:
    """Return what is posted: blocks, and `text` for whoever can't show them."""
    sign = "✅" if message.action is Action.RESOLVE else SIGNS[message.severity.value]
    title = message.title if message.title.startswith(sign) else f"{sign} {message.title}"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": escaped(title, HEADER_MOST), "emoji": True}}
    ]
    if said := "\n".join(line for line in message.sentences if line.strip()):
        blocks.append(_section(escaped(said, SECTION_MOST)))
    if links := _joined([link(one.text, one.url) for one in message.links]):
        blocks.append(_section(links))
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": _context(message)}]})
    return {"text": escaped(message.headline, TEXT_MOST), "blocks": blocks}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _joined(links: list[str]) -> str:
    """Join whole links as long as they fit; half a link is none."""
    made = ""
    for one in filter(None, links):
        longer = f"{made} · {one}" if made else one
        if len(longer) > SECTION_MOST:
            break
        made = longer
    return made


def _context(message: Message) -> str:
    parts = [message.environment, message.severity.value, *(["simulated devices"] if message.simulated else [])]
    return escaped(" · ".join([*parts, f"{message.at:%d %b %Y, %H:%M:%S} UTC"]), SECTION_MOST)

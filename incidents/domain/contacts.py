"""The runbook's contact table: who can be reached how. Rows are data that administrators edit; DEFAULT seeds them."""

import re
from dataclasses import dataclass
from enum import StrEnum

PHONE = re.compile(r"\+?[0-9][0-9 ()./-]{4,30}")
MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class ContactRole(StrEnum):
    """The roles that the table and the matrix name."""

    ON_CALL = "on_call"
    TEAM_LEAD = "team_lead"
    ENGINEERING_MANAGER = "engineering_manager"
    SECURITY = "security"
    DEVOPS = "devops"

    @property
    def label(self) -> str:
        """The runbook's words."""
        return _LABELS[self]


_LABELS = {
    ContactRole.ON_CALL: "On-call engineer",
    ContactRole.TEAM_LEAD: "Team lead",
    ContactRole.ENGINEERING_MANAGER: "Engineering manager",
    ContactRole.SECURITY: "Security team",
    ContactRole.DEVOPS: "DevOps team",
}


@dataclass(frozen=True)
class Ways:
    """How a role is reached, as the table has it."""

    primary: str = ""
    secondary: str = ""
    emergency: str = ""


# the matrix names a team lead whom the table lacks: empty until somebody fills it in
DEFAULT: dict[ContactRole, Ways] = {
    ContactRole.ON_CALL: Ways("+1-555-0101", "+1-555-0102", "Slack: #incidents"),
    ContactRole.TEAM_LEAD: Ways(),
    ContactRole.ENGINEERING_MANAGER: Ways("+1-555-0201", "+1-555-0202", "Slack: @eng-mgr"),
    ContactRole.SECURITY: Ways("security@hazardhawk.com", "+1-555-0301", "Slack: #security"),
    ContactRole.DEVOPS: Ways("devops@hazardhawk.com", "+1-555-0401", "Slack: #devops"),
}


def href(text: str) -> str:
    """Return the address that a phone or a browser opens for it; empty for what is only to be read."""
    if PHONE.fullmatch(text):
        return "tel:" + re.sub(r"[^0-9+]", "", text)
    return f"mailto:{text}" if MAIL.fullmatch(text) else ""

"""The teams that sign for a go."""

from enum import StrEnum


class Team(StrEnum):
    """Whose sign-off a go takes, besides a role; in the runbook's words Engineering, Security and DevOps."""

    ENGINEERING = "engineering"
    SECURITY = "security"
    DEVOPS = "devops"

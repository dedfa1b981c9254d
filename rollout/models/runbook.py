"""Versions of the runbook, and who approved them."""

from typing import ClassVar

from django.db import models

from hawkops.core.teams import Team
from rollout.domain.adoption import State


class RunbookVersion(models.Model):
    """A version of the runbook, as data. A release keeps the version it began with.

    `text` is the YAML byte for byte as it was imported, `digest` its SHA-256; author, changes, owner, review date and
    approvers stand in `document`. `makers` are the actors whose words it holds: none of them may approve it.
    """

    version = models.CharField(max_length=20, unique=True)
    document = models.JSONField()
    text = models.BinaryField(default=b"")
    digest = models.CharField(max_length=64, blank=True)
    state = models.CharField(
        max_length=12, choices=[(state.value, state.value) for state in State], default=State.DRAFT.value
    )
    makers = models.JSONField(default=list)
    made_by = models.CharField(max_length=150, blank=True)
    imported_at = models.DateTimeField()
    adopted_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(state=State.ADOPTED.value, adopted_at__isnull=False)
                | models.Q(state=State.DRAFT.value, adopted_at__isnull=True),
                name="rollout_adopted_has_its_time",
            )
        ]

    def __str__(self) -> str:
        return f"runbook {self.version}"

    @property
    def adopted(self) -> bool:
        """Whether releases may begin with it."""
        return self.state == State.ADOPTED.value


class RunbookApproval(models.Model):
    """One person's approval of a version for one team, over the text with this digest. Editing the text drops it."""

    version = models.ForeignKey(RunbookVersion, on_delete=models.CASCADE, related_name="approvals")
    team = models.CharField(max_length=20, choices=[(team.value, team.value) for team in Team])
    person = models.CharField(max_length=40)
    by = models.CharField(max_length=150)
    digest = models.CharField(max_length=64)
    at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["at"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["version", "team"], name="rollout_one_approval_a_team"),
            models.UniqueConstraint(fields=["version", "person"], name="rollout_one_approval_a_person"),
        ]

    def __str__(self) -> str:
        return f"{self.version} for {self.team} by {self.by}"

"""Problems that a team added to the troubleshooting guide, and what was pressed against problems."""

from django.db import models

from hawkops.core.environments import Environment
from incidents.domain.troubleshooting import Helped

ENVIRONMENTS = [(one.value, one.value) for one in Environment]


class OwnProblem(models.Model):
    """A team's own problem, as `domain.troubleshooting.problem` reads it. Archived ones stay, for what was pressed."""

    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    key = models.CharField(max_length=40)
    document = models.JSONField()
    revision = models.IntegerField(default=1)
    made_by = models.CharField(max_length=150)
    made_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    archived_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["environment", "key"], name="incidents_own_problem_once")]

    def __str__(self) -> str:
        return f"{self.environment} {self.key}"


class Remedy(models.Model):
    """One press of a solution: what it changed, the symptoms before it, and what each look after it found.

    It is proposed while `proposal` is set and `applied_at` is not. `looks` hold the symptoms read after it, oldest first.
    """

    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    problem = models.CharField(max_length=40)
    problem_title = models.CharField(max_length=120)
    solution = models.CharField(max_length=40)
    title = models.CharField(max_length=200)
    kind = models.CharField(max_length=10)
    flag = models.CharField(max_length=80, blank=True)
    # what puts it back: the kind of change and its payload; empty where nothing does
    undo = models.JSONField(default=dict)
    pressed_by = models.CharField(max_length=150)
    pressed_at = models.DateTimeField()
    applied_at = models.DateTimeField(null=True)
    entry = models.BigIntegerField(null=True)
    revision = models.BigIntegerField(null=True)
    run = models.BigIntegerField(null=True)
    proposal = models.BigIntegerField(null=True)
    # the incident that stood then, the gravest
    incident = models.BigIntegerField(null=True)
    # how many devices it was to reach
    reach = models.IntegerField(default=0)
    before = models.JSONField(default=list)
    looks = models.JSONField(default=list)
    looked = models.SmallIntegerField(default=0)
    # when it is looked at again; null once it is not
    look_at = models.DateTimeField(null=True)
    helped = models.CharField(max_length=12, blank=True, choices=[(one.value, one.value) for one in Helped])
    sentence = models.TextField(blank=True)
    undone_at = models.DateTimeField(null=True)
    undone_by = models.CharField(max_length=150, blank=True)
    undone_entry = models.BigIntegerField(null=True)
    undo_proposal = models.BigIntegerField(null=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            # what the sweeper asks for
            models.Index(fields=["look_at"], name="incidents_remedy_due", condition=models.Q(look_at__isnull=False)),
            # a problem's page
            models.Index(fields=["environment", "problem", "-id"], name="incidents_remedy_of_problem"),
        ]

    def __str__(self) -> str:
        return f"{self.problem}: {self.title}"

    @property
    def subject(self) -> str:
        """What the history calls it."""
        return f"remedy:{self.pk}"

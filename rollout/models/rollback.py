"""Rollbacks, whoever or whatever made them: what each changed, so that it can be undone, and what became of it."""

from django.db import models

from hawkops.scripts.models import Run
from rollout.domain.rollback import Level
from rollout.models.flag import ENVIRONMENTS
from rollout.models.release import Release


class Rollback(models.Model):
    """One rollback of a level. Its entry of the history is that of the subject `rollback:<number>`.

    `changes` are `domain.rollback.Change` documents. The app's own rollback changes no flag: it has a rehearsal, and the
    run that follows it when it passes.
    """

    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    level = models.SmallIntegerField(choices=[(level.value, level.title) for level in Level])
    # the release that walked then, and the phase that was paused with it
    release = models.ForeignKey(Release, on_delete=models.SET_NULL, null=True, related_name="rollbacks")
    phase = models.SmallIntegerField(null=True)
    # of the flags after it: whom the census follows
    revision = models.BigIntegerField(default=0)
    changes = models.JSONField(default=list)
    reason = models.CharField(max_length=300)
    by = models.CharField(max_length=150)
    reference = models.CharField(max_length=60)
    at = models.DateTimeField()
    rehearsal = models.ForeignKey(Run, on_delete=models.SET_NULL, null=True, related_name="+")
    run = models.ForeignKey(Run, on_delete=models.SET_NULL, null=True, related_name="+")
    undone_at = models.DateTimeField(null=True)
    undone_by = models.CharField(max_length=150, blank=True)
    # what could not be undone, because somebody had changed it
    left_alone = models.JSONField(default=list)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            # an environment's newest ones
            models.Index(fields=["environment", "-id"], name="rollout_rollback_newest"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(level__in=[1, 2, 3, 4]), name="rollout_rollback_level"),
        ]

    def __str__(self) -> str:
        return f"Level {self.level} in {self.environment}: {Level(self.level).title}"

    @property
    def subject(self) -> str:
        """What the history calls it."""
        return f"rollback:{self.pk}"

    @property
    def automatic(self) -> bool:
        """Whether a rule made it."""
        return self.reference.startswith("rule:")

    @property
    def done(self) -> Run | None:
        """The run that says how the app's own rollback went: the real one, else its rehearsal."""
        return self.run or self.rehearsal

"""Target groups: named lists of devices that rules may speak of."""

from django.db import models

from rollout.models.flag import ENVIRONMENTS


class TargetGroup(models.Model):
    """A named list of devices in one environment. `revision` is the environment's when it last changed."""

    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    key = models.CharField(max_length=60)
    title = models.CharField(max_length=120)
    revision = models.BigIntegerField(default=0)
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ["environment", "key"]
        constraints = [
            models.UniqueConstraint(fields=["environment", "key"], name="rollout_group_once"),
            models.CheckConstraint(condition=models.Q(key__regex=r"^[a-z0-9_-]+$"), name="rollout_group_key"),
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.key}"


class GroupMember(models.Model):
    """A device in a group, by its targeting key."""

    group = models.ForeignKey(TargetGroup, on_delete=models.CASCADE, related_name="members")
    targeting_key = models.CharField(max_length=200)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["group", "targeting_key"], name="rollout_member_once")]

    def __str__(self) -> str:
        return self.targeting_key

"""Flags: one row for each flag and environment, and the environment's revision that grows with every change."""

from django.db import models

from hawkops.core.environments import Environment
from hawkops.core.erasure import nameless
from rollout.domain import flags as domain
from rollout.domain import targeting
from rollout.domain.experiments import experiment

ENVIRONMENTS = [(e.value, e.value) for e in Environment]


class EnvironmentFlags(models.Model):
    """The revision of an environment's flags. Services lock this row first."""

    environment = models.CharField(max_length=20, primary_key=True, choices=ENVIRONMENTS)
    revision = models.BigIntegerField(default=0)
    changed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.environment} revision {self.revision}"


class Flag(models.Model):
    """A flag in one environment. `thousandths` counts buckets of 100 000 that get the `on` value."""

    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    key = models.CharField(max_length=80)
    title = models.CharField(max_length=120)
    explanation = models.TextField()
    position = models.SmallIntegerField(default=0)
    type = models.CharField(max_length=10, choices=[(t.value, t.value) for t in domain.FlagType])
    on = models.JSONField()
    off = models.JSONField()
    # the JSON Schema that both values meet
    schema = models.JSONField(null=True)
    safe_variant = models.CharField(max_length=3, choices=[("on", "on"), ("off", "off")])
    strategy = models.CharField(max_length=20, default=domain.Strategy.HASH_BASED.value)
    thousandths = models.IntegerField(default=0)
    salt = models.CharField(max_length=80)
    requires = models.JSONField(default=list)
    # targeting rules in order, as `targeting.Rule.document`; variants of single devices by targeting key
    rules = models.JSONField(default=list)
    pinned = models.JSONField(default=dict)
    override_variant = models.CharField(max_length=3, blank=True)
    override_reason = models.CharField(max_length=300, blank=True)
    override_by = models.CharField(max_length=150, blank=True)
    override_at = models.DateTimeField(null=True)
    override_revision = models.BigIntegerField(null=True)
    # overrides for some devices only: number, variant, reason, by, at and constraints; a drill has its group
    scoped_overrides = models.JSONField(default=list)
    # the A/B test that runs on it, as `experiments.Experiment.document`; null without one
    experiment = models.JSONField(null=True)
    lease_seconds = models.IntegerField(default=900)
    revision = models.BigIntegerField(default=0)
    changed_at = models.DateTimeField()
    # since when nobody is answered from it; its key stays taken
    archived_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["environment", "position", "key"]
        constraints = [
            models.UniqueConstraint(fields=["environment", "key"], name="rollout_flag_once"),
            models.CheckConstraint(
                condition=models.Q(thousandths__gte=0, thousandths__lte=100_000), name="rollout_flag_percentage"
            ),
            models.CheckConstraint(
                condition=models.Q(override_variant__in=["", "on", "off"]), name="rollout_flag_override"
            ),
            models.CheckConstraint(condition=models.Q(key__regex=r"^[A-Za-z0-9._-]+$"), name="rollout_flag_key"),
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.key}"

    @property
    def percent(self) -> float:
        """The percentage as people say it."""
        return self.thousandths / 1000

    def domain(self) -> domain.Flag:
        """The flag as evaluation sees it."""
        override = domain.Override(self.override_variant, self.override_reason) if self.override_variant else None
        return domain.Flag(
            key=self.key,
            type=domain.FlagType(self.type),
            on=self.on,
            off=self.off,
            safe_variant=self.safe_variant,
            thousandths=self.thousandths,
            salt=self.salt,
            requires=tuple(self.requires),
            override=override,
            scoped=tuple(domain.scoped_override(document) for document in self.scoped_overrides),
            lease_seconds=self.lease_seconds,
            pinned=self.pinned,
            rules=tuple(targeting.rule(document) for document in self.rules),
            experiment=experiment(self.experiment),
        )

    def state(self) -> dict[str, object]:
        """What the history records of a flag; of pinned devices how many, for it keeps no device for ever."""
        return {
            "percentage": self.percent,
            **({"rules": self.rules} if self.rules else {}),
            **({"pinned": len(self.pinned)} if self.pinned else {}),
            **({"experiment": self.experiment} if self.experiment else {}),
            **({"scoped_overrides": nameless(self.scoped_overrides)} if self.scoped_overrides else {}),
            "override": {"variant": self.override_variant, "reason": self.override_reason}
            if self.override_variant
            else None,
            "revision": self.revision,
        }

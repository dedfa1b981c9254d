"""Stored telemetry: series, append-only partial rows, who reported in which hour, and digests of recent payloads."""

from django.db import models
from django.db.models.functions import Now

# the first 31 bits of the id's MD5, as `domain/panel.place` has them
PLACE = "('x' || substr(md5(%(expressions)s), 1, 8))::bit(31)::int"


class Series(models.Model):
    """One combination of the closed list of dimensions."""

    environment = models.CharField(max_length=20)
    metric = models.CharField(max_length=80)
    backend_requested = models.CharField(max_length=10, blank=True)
    backend_actual = models.CharField(max_length=10, blank=True)
    device_class = models.CharField(max_length=80, blank=True)
    app_version = models.CharField(max_length=40, blank=True)
    model = models.CharField(max_length=80, blank=True)
    variant = models.CharField(max_length=40, blank=True)
    outcome = models.CharField(max_length=40, blank=True)
    simulated = models.BooleanField(default=False)
    # by the database: the sweeper leaves alone what is new and has no rows yet
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            # also finds all series of a metric in an environment
            models.UniqueConstraint(
                fields=[
                    "environment",
                    "metric",
                    "backend_requested",
                    "backend_actual",
                    "device_class",
                    "app_version",
                    "model",
                    "variant",
                    "outcome",
                    "simulated",
                ],
                name="monitoring_series_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.metric} {self.backend_actual}"


class FoldedSeries(models.Model):
    """A series that was folded into another because its environment had too many; by digest, to be counted."""

    environment = models.CharField(max_length=20)
    digest = models.BinaryField(max_length=16)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "digest"], name="monitoring_folded_series_once")]

    def __str__(self) -> str:
        return f"{self.environment} {bytes(self.digest).hex()[:12]}"


class RollupPartial(models.Model):
    """Observations of one series in one bucket of time, as one process saw them. Merged on read, never updated.

    The door writes buckets of ten seconds; each wider tier (`domain/tiers.py`) holds the same observations again, up to
    its mark in `RolledUp`. The table is partitioned by width, then by time: migration 0004.
    """

    series = models.ForeignKey(Series, on_delete=models.PROTECT)
    bucket_at = models.DateTimeField()
    width_seconds = models.SmallIntegerField()
    count = models.BigIntegerField()
    total = models.FloatField()
    squares = models.FloatField()
    low = models.FloatField()
    high = models.FloatField()
    buckets = models.BinaryField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(count__gt=0, low__lte=models.F("high")), name="monitoring_partial_holds_something"
            ),
        ]
        indexes = [
            # a window of some series, in order of time
            models.Index(fields=["series", "bucket_at"], name="monitoring_partial_window"),
        ]

    def __str__(self) -> str:
        return f"{self.series_id} {self.bucket_at:%H:%M:%S} n={self.count}"


class RolledUp(models.Model):
    """How far a tier has taken over the rows of the next finer one: all rows up to this id, and none after it."""

    width_seconds = models.SmallIntegerField(primary_key=True)
    rolled_id = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.width_seconds} s up to {self.rolled_id}"


class DeviceHour(models.Model):
    """A device that reported in an hour, once for each variant it said: what "per device" divides by.

    Of a large fleet only some are kept, each standing for `weight` devices (`domain/panel.py`). An empty variant says
    nothing beside another one: the device reports what has no variant too.
    """

    environment = models.CharField(max_length=20)
    hour_at = models.DateTimeField()
    device_id = models.CharField(max_length=200)
    device_class = models.CharField(max_length=80)
    simulated = models.BooleanField()
    variant = models.CharField(max_length=40, blank=True, db_default="")
    weight = models.IntegerField(db_default=1)
    place = models.GeneratedField(
        expression=models.Func(models.F("device_id"), template=PLACE),
        output_field=models.IntegerField(),
        db_persist=True,
    )

    class Meta:
        constraints = [
            # also reads the devices of an environment in some hours, or those below a place
            models.UniqueConstraint(
                fields=["environment", "hour_at", "place", "device_id", "variant"], name="monitoring_device_hour_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.device_id} {self.hour_at:%Y-%m-%d %H}"


class DeviceHourCount(models.Model):
    """How many devices reported in an hour that is over: of a class, or of a variant within it.

    `weight` is the largest of a device's weights: with 1 it is a count, else an estimate.
    """

    environment = models.CharField(max_length=20)
    hour_at = models.DateTimeField()
    device_class = models.CharField(max_length=80)
    simulated = models.BooleanField()
    by_variant = models.BooleanField()
    variant = models.CharField(max_length=40, blank=True)
    devices = models.BigIntegerField()
    weight = models.IntegerField()

    class Meta:
        constraints = [
            # also reads an environment's hours
            models.UniqueConstraint(
                fields=["environment", "hour_at", "by_variant", "device_class", "simulated", "variant"],
                name="monitoring_device_hour_count_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.hour_at:%Y-%m-%d %H} {self.device_class} {self.variant}: {self.devices}"


class PanelReport(models.Model):
    """What a device of the panel observed, as one payload said it; without indexes, so that writing costs little.

    `services/telemetry.panel_merge` moves it into PanelHour.
    """

    environment = models.CharField(max_length=20)
    device_id = models.CharField(max_length=200)
    device_class = models.CharField(max_length=80)
    simulated = models.BooleanField()
    # JSON: for each series of an hour metric, backend, variant, outcome, hours since 1970, count, total, low, high
    observed = models.TextField()

    def __str__(self) -> str:
        return f"{self.environment} {self.device_id}"


class PanelHour(models.Model):
    """What a device of the panel observed of one metric in an hour: "one value per device".

    The panel is chosen by hash and bounded (`domain/panel.py`), so that its cost has a ceiling whatever the fleet's size.
    """

    environment = models.CharField(max_length=20)
    hour_at = models.DateTimeField()
    device_id = models.CharField(max_length=200)
    device_class = models.CharField(max_length=80)
    simulated = models.BooleanField()
    metric = models.CharField(max_length=80)
    backend_actual = models.CharField(max_length=10, blank=True)
    variant = models.CharField(max_length=40, blank=True)
    outcome = models.CharField(max_length=40, blank=True)
    count = models.BigIntegerField()
    total = models.FloatField()
    low = models.FloatField()
    high = models.FloatField()

    class Meta:
        constraints = [
            # also erases a device
            models.UniqueConstraint(
                fields=["environment", "device_id", "hour_at", "metric", "backend_actual", "variant", "outcome"],
                name="monitoring_panel_once",
            )
        ]
        indexes = [
            # the devices' values of a metric in some hours
            models.Index(fields=["environment", "metric", "hour_at"], name="monitoring_panel_metric"),
            models.Index(fields=["hour_at"], name="monitoring_panel_age"),
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.device_id} {self.metric} {self.hour_at:%Y-%m-%d %H}"


class PanelSlot(models.Model):
    """What went wrong on a device of the panel within five minutes, by when it was merged: who is affected right now."""

    environment = models.CharField(max_length=20)
    slot_at = models.DateTimeField()
    device_id = models.CharField(max_length=200)
    simulated = models.BooleanField()
    inferences = models.FloatField()
    # inferences that failed, and checks that found a wrong result
    failed = models.FloatField()
    crashes = models.FloatField()

    class Meta:
        constraints = [
            # also reads an environment's newest slots
            models.UniqueConstraint(fields=["environment", "slot_at", "device_id"], name="monitoring_panel_slot_once")
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.device_id} {self.slot_at:%H:%M}"


class PayloadDigest(models.Model):
    """A payload counted within the last hour: sent again, it is acknowledged and not counted twice."""

    digest = models.BinaryField(max_length=32, primary_key=True)
    seen_at = models.DateTimeField()

    class Meta:
        # the sweeper drops what is older than an hour
        indexes = [models.Index(fields=["seen_at"], name="monitoring_digest_age")]

    def __str__(self) -> str:
        return bytes(self.digest).hex()[:12]

"""What the telemetry door keeps beside observations: cumulative streams, what it understood of devices, what it refused."""

from django.db import models


class CumulativeStream(models.Model):
    """The last points of one cumulative stream: the next one counts by its difference, whichever gateway takes it."""

    digest = models.BinaryField(max_length=16, primary_key=True)
    environment = models.CharField(max_length=20, blank=True)
    state = models.BinaryField()
    seen_at = models.DateTimeField()

    class Meta:
        indexes = [
            # the sweeper forgets streams that ended
            models.Index(fields=["seen_at"], name="monitoring_stream_age"),
            # how many an environment has
            models.Index(fields=["environment"], name="monitoring_stream_count"),
        ]

    def __str__(self) -> str:
        return bytes(self.digest).hex()[:12]


class DeviceNote(models.Model):
    """What was understood of a device's last payload, for its author; written now and then, never for each payload."""

    environment = models.CharField(max_length=20)
    device_id = models.CharField(max_length=200)
    signal = models.CharField(max_length=10)
    received_at = models.DateTimeField()
    device_class = models.CharField(max_length=80, blank=True)
    simulated = models.BooleanField(default=False)
    accepted = models.IntegerField()
    rejected = models.IntegerField()
    # names and counts: metrics or events, reasons, attributes that were dropped; how many points counted at their arrival
    details = models.JSONField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "device_id", "signal"], name="monitoring_note_once")
        ]
        indexes = [
            # an environment's latest notes
            models.Index(fields=["environment", "-received_at"], name="monitoring_note_latest"),
            # the sweeper drops notes of devices long gone
            models.Index(fields=["received_at"], name="monitoring_note_age"),
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.device_id} {self.signal}"


class DoorTotal(models.Model):
    """How much the door took and refused in an hour, by reason; an empty reason means taken. Reasons are bounded."""

    environment = models.CharField(max_length=20)
    signal = models.CharField(max_length=10)
    hour_at = models.DateTimeField()
    reason = models.CharField(max_length=300, blank=True)
    payloads = models.BigIntegerField()
    # none where payloads were refused as a whole: nobody looked how many they held
    points = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "hour_at", "signal", "reason"], name="monitoring_door_total_once"
            )
        ]
        # the sweeper drops old hours
        indexes = [models.Index(fields=["hour_at"], name="monitoring_door_total_age")]

    def __str__(self) -> str:
        return f"{self.environment} {self.signal} {self.hour_at:%H}h {self.reason or 'taken'}"

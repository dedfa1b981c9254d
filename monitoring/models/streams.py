"""What the telemetry door remembers beside observations: cumulative streams, and what it understood of devices."""

from django.db import models


class CumulativeStream(models.Model):
    """The last point of one cumulative stream: the next one counts by its difference, whichever gateway takes it."""

    digest = models.BinaryField(max_length=16, primary_key=True)
    state = models.BinaryField()
    seen_at = models.DateTimeField()

    class Meta:
        # the sweeper forgets streams that ended
        indexes = [models.Index(fields=["seen_at"], name="monitoring_stream_age")]

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

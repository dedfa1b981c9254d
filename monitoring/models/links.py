"""Addresses of dashboards that stand elsewhere."""

from django.db import models


class DashboardLink(models.Model):
    """Where the runbook's reader finds one of the four dashboards of an environment, if not here."""

    environment = models.CharField(max_length=20)
    board = models.CharField(max_length=20)
    url = models.CharField(max_length=300)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "board"], name="monitoring_link_once")]

    def __str__(self) -> str:
        return f"{self.environment} {self.board}"

"""Runs that need the same thing for themselves wait for each other; the database keeps the second one from starting."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("scripts", "0002_run_dry_run")]

    operations = [
        migrations.AddField("run", "concurrency_key", models.CharField(blank=True, default="", max_length=160)),
        migrations.AddField("run", "sent_at", models.DateTimeField(null=True)),
        migrations.AddConstraint(
            "run",
            models.UniqueConstraint(
                fields=["concurrency_key"],
                name="scripts_run_alone",
                condition=models.Q(state="running") & ~models.Q(concurrency_key=""),
            ),
        ),
    ]

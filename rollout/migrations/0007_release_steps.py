"""Steps of a release's deployment procedure: what people did to them, and their newest runs."""

import django.db.models.deletion
from django.db import migrations, models

MARKS = [("", ""), ("pressed", "pressed"), ("done", "done"), ("skipped", "skipped")]


class Migration(migrations.Migration):
    dependencies = [("rollout", "0006_runbook_versions"), ("scripts", "0005_series")]

    operations = [
        migrations.CreateModel(
            name="ReleaseStep",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("step", models.CharField(max_length=60)),
                ("mark", models.CharField(blank=True, choices=MARKS, default="", max_length=10)),
                ("sentence", models.CharField(blank=True, max_length=1000)),
                ("details", models.JSONField(default=dict)),
                ("by", models.CharField(blank=True, max_length=150)),
                ("at", models.DateTimeField(null=True)),
                ("skip_reason", models.CharField(blank=True, max_length=500)),
                ("skip_asked_by", models.CharField(blank=True, max_length=150)),
                ("skip_asked_reference", models.CharField(blank=True, max_length=80)),
                ("skip_asked_at", models.DateTimeField(null=True)),
                ("skip_approved_by", models.CharField(blank=True, max_length=150)),
                ("skip_approved_at", models.DateTimeField(null=True)),
                (
                    "release",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="steps", to="rollout.release"
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="scripts.run",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("release", "step"), name="rollout_step_once"),
                    models.CheckConstraint(
                        condition=models.Q(("mark", "skipped"), _negated=True)
                        | models.Q(("skip_reason", ""), _negated=True),
                        name="rollout_step_skipped_for_a_reason",
                    ),
                ],
            },
        ),
    ]

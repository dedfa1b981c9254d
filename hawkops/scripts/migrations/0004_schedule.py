"""Scripts may run by themselves: every so often, or daily at a time."""

import django.db.models.deletion
from django.db import migrations, models

ENVIRONMENTS = [("production", "production"), ("staging", "staging"), ("demo", "demo")]


class Migration(migrations.Migration):
    dependencies = [("scripts", "0003_run_alone")]

    operations = [
        migrations.CreateModel(
            "Schedule",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("environment", models.CharField(choices=ENVIRONMENTS, max_length=20)),
                ("script", models.CharField(max_length=120)),
                ("arguments", models.JSONField(default=dict)),
                ("every", models.DurationField(null=True)),
                ("daily_at", models.TimeField(null=True)),
                ("next_at", models.DateTimeField()),
                ("made_by", models.CharField(max_length=150)),
                ("made_at", models.DateTimeField()),
                ("made_entry", models.BigIntegerField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "last_run",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="scripts.run",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
                "indexes": [
                    models.Index(
                        fields=["next_at"],
                        name="scripts_schedule_due",
                        condition=models.Q(ended_at__isnull=True),
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(every__isnull=False) ^ models.Q(daily_at__isnull=False),
                        name="scripts_schedule_one_rhythm",
                    )
                ],
            },
        )
    ]

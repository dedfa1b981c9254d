"""Several runs of a script may belong together, of which so many must pass."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("scripts", "0004_schedule")]

    operations = [
        migrations.CreateModel(
            "Series",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("times", models.SmallIntegerField()),
                ("needs", models.SmallIntegerField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(needs__gte=1, times__gte=2, needs__lte=models.F("times")),
                        name="scripts_series_can_pass",
                    )
                ],
            },
        ),
        migrations.AddField(
            "Run",
            "series",
            models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="runs",
                to="scripts.series",
            ),
        ),
        # partial, so that a big table of runs without a series is only read, not copied into an index
        migrations.AddIndex(
            "Run",
            models.Index(
                fields=["series", "id"], name="scripts_run_series", condition=models.Q(series__isnull=False)
            ),
        ),
    ]

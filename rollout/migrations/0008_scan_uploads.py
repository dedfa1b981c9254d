"""What security scanners said of a release's build, as uploaded."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rollout", "0007_release_steps")]

    operations = [
        migrations.CreateModel(
            name="ScanUpload",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tool", models.CharField(max_length=200)),
                ("format", models.CharField(max_length=20)),
                ("digest", models.CharField(max_length=80)),
                ("counts", models.JSONField(default=dict)),
                ("version_code", models.BigIntegerField()),
                ("uploaded_by", models.CharField(max_length=150)),
                ("uploaded_at", models.DateTimeField()),
                (
                    "release",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="scans", to="rollout.release"
                    ),
                ),
            ],
            options={"ordering": ["-pk"]},
        ),
    ]

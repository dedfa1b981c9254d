"""Versions of the runbook keep their text, their state and who approved them; what was imported so far is adopted."""

import django.db.models.deletion
from django.db import migrations, models


def adopt(apps, schema_editor):
    """Releases walk through the versions that are there already."""
    versions = apps.get_model("rollout", "RunbookVersion").objects.using(schema_editor.connection.alias)
    versions.update(state="adopted", adopted_at=models.F("imported_at"))


class Migration(migrations.Migration):
    dependencies = [("rollout", "0005_proposals")]

    operations = [
        migrations.AddField("runbookversion", "text", models.BinaryField(default=b"")),
        migrations.AddField(
            "runbookversion",
            "state",
            models.CharField(choices=[("draft", "draft"), ("adopted", "adopted")], default="draft", max_length=12),
        ),
        migrations.AddField("runbookversion", "makers", models.JSONField(default=list)),
        migrations.AddField("runbookversion", "made_by", models.CharField(blank=True, max_length=150)),
        migrations.AddField("runbookversion", "adopted_at", models.DateTimeField(null=True)),
        migrations.RunPython(adopt, migrations.RunPython.noop),
        migrations.AddConstraint(
            "runbookversion",
            models.CheckConstraint(
                condition=models.Q(
                    models.Q(("adopted_at__isnull", False), ("state", "adopted")),
                    models.Q(("adopted_at__isnull", True), ("state", "draft")),
                    _connector="OR",
                ),
                name="rollout_adopted_has_its_time",
            ),
        ),
        migrations.CreateModel(
            name="RunbookApproval",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "team",
                    models.CharField(
                        choices=[("engineering", "engineering"), ("security", "security"), ("devops", "devops")],
                        max_length=20,
                    ),
                ),
                ("person", models.CharField(max_length=40)),
                ("by", models.CharField(max_length=150)),
                ("digest", models.CharField(max_length=64)),
                ("at", models.DateTimeField()),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="approvals",
                        to="rollout.runbookversion",
                    ),
                ),
            ],
            options={
                "ordering": ["at"],
                "constraints": [
                    models.UniqueConstraint(fields=("version", "team"), name="rollout_one_approval_a_team"),
                    models.UniqueConstraint(fields=("version", "person"), name="rollout_one_approval_a_person"),
                ],
            },
        ),
    ]

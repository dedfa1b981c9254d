"""Targeting: rules, pinned devices and scoped overrides of flags, target groups, and what devices say of themselves."""

import django.db.models.deletion
from django.db import migrations, models

ENVIRONMENTS = [("production", "production"), ("staging", "staging"), ("demo", "demo")]


class Migration(migrations.Migration):
    dependencies = [("rollout", "0003_evidence_bound")]

    operations = [
        migrations.AddField("flag", "rules", models.JSONField(default=list)),
        migrations.AddField("flag", "pinned", models.JSONField(default=dict)),
        migrations.AddField("flag", "scoped_overrides", models.JSONField(default=list)),
        migrations.AddField("censusdevice", "attributes", models.JSONField(default=dict)),
        migrations.CreateModel(
            name="TargetGroup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("environment", models.CharField(choices=ENVIRONMENTS, max_length=20)),
                ("key", models.CharField(max_length=60)),
                ("title", models.CharField(max_length=120)),
                ("revision", models.BigIntegerField(default=0)),
                ("changed_at", models.DateTimeField()),
            ],
            options={"ordering": ["environment", "key"]},
        ),
        migrations.CreateModel(
            name="GroupMember",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("targeting_key", models.CharField(max_length=200)),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="members", to="rollout.targetgroup"
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            "targetgroup", models.UniqueConstraint(fields=("environment", "key"), name="rollout_group_once")
        ),
        migrations.AddConstraint(
            "targetgroup",
            models.CheckConstraint(condition=models.Q(("key__regex", "^[a-z0-9_-]+$")), name="rollout_group_key"),
        ),
        migrations.AddConstraint(
            "groupmember", models.UniqueConstraint(fields=("group", "targeting_key"), name="rollout_member_once")
        ),
    ]

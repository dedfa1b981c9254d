"""A run may be a dry one, and knows the program it was asked for: old runs were real ones of a program unknown."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("scripts", "0001_initial")]

    operations = [
        migrations.AddField("run", "dry_run", models.BooleanField(default=False)),
        migrations.AddField("run", "program_sha256", models.CharField(blank=True, default="", max_length=64)),
    ]

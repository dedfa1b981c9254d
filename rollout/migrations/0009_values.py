"""Values of flags: the schema that both meet, flags that are archived, and what a proposal changes as people compare it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rollout", "0008_scan_uploads")]

    operations = [
        migrations.AddField("flag", "schema", models.JSONField(null=True)),
        migrations.AddField("flag", "archived_at", models.DateTimeField(null=True)),
        migrations.AddField("proposal", "changes", models.JSONField(default=list)),
    ]

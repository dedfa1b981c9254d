"""What a guardrail in a dry run, or a watch, only would have done."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rollout", "0013_decisions")]

    operations = [
        migrations.AddField(
            model_name="guardrailstate", name="would", field=models.CharField(blank=True, max_length=60)
        ),
    ]

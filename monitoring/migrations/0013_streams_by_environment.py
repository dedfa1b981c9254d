from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0012_door_totals"),
    ]

    operations = [
        migrations.AddField(
            model_name="cumulativestream",
            name="environment",
            # streams known before belong to no environment's count; the sweeper forgets them when they end
            field=models.CharField(blank=True, default="", max_length=20),
            preserve_default=False,
        ),
        migrations.AddIndex(
            model_name="cumulativestream",
            index=models.Index(fields=["environment"], name="monitoring_stream_count"),
        ),
    ]

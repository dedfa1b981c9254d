from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0011_series_age"),
    ]

    operations = [
        migrations.CreateModel(
            name="DoorTotal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("environment", models.CharField(max_length=20)),
                ("signal", models.CharField(max_length=10)),
                ("hour_at", models.DateTimeField()),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("payloads", models.BigIntegerField()),
                ("points", models.BigIntegerField()),
            ],
            options={
                "indexes": [models.Index(fields=["hour_at"], name="monitoring_door_total_age")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "hour_at", "signal", "reason"), name="monitoring_door_total_once"
                    )
                ],
            },
        ),
    ]

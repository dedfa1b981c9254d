from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0018_alert_groups_and_looks")]

    operations = [
        migrations.CreateModel(
            name="DashboardLink",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("environment", models.CharField(max_length=20)),
                ("board", models.CharField(max_length=20)),
                ("url", models.CharField(max_length=300)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("environment", "board"), name="monitoring_link_once")],
            },
        ),
    ]

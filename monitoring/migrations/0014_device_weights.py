"""Devices of an hour get a variant, a weight and a place on the ring; hours that are over get their counts."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("monitoring", "0013_streams_by_environment"),
    ]

    operations = [
        migrations.CreateModel(
            name='DeviceHourCount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('environment', models.CharField(max_length=20)),
                ('hour_at', models.DateTimeField()),
                ('device_class', models.CharField(max_length=80)),
                ('simulated', models.BooleanField()),
                ('by_variant', models.BooleanField()),
                ('variant', models.CharField(blank=True, max_length=40)),
                ('devices', models.BigIntegerField()),
                ('weight', models.IntegerField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='devicehour',
            name='monitoring_device_hour_once',
        ),
        migrations.AddField(
            model_name='devicehour',
            name='place',
            field=models.GeneratedField(db_persist=True, expression=models.Func(models.F('device_id'), template="('x' || substr(md5(%(expressions)s), 1, 8))::bit(31)::int"), output_field=models.IntegerField()),
        ),
        migrations.AddField(
            model_name='devicehour',
            name='variant',
            field=models.CharField(blank=True, db_default='', max_length=40),
        ),
        migrations.AddField(
            model_name='devicehour',
            name='weight',
            field=models.IntegerField(db_default=1),
        ),
        migrations.AddConstraint(
            model_name='devicehour',
            constraint=models.UniqueConstraint(fields=('environment', 'hour_at', 'place', 'device_id', 'variant'), name='monitoring_device_hour_once'),
        ),
        migrations.AddConstraint(
            model_name='devicehourcount',
            constraint=models.UniqueConstraint(fields=('environment', 'hour_at', 'by_variant', 'device_class', 'simulated', 'variant'), name='monitoring_device_hour_count_once'),
        ),
    ]

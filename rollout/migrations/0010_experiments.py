"""A/B tests, and who was exposed to which arm."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('rollout', '0009_values'),
    ]

    operations = [
        migrations.AddField(
            model_name='flag',
            name='experiment',
            field=models.JSONField(null=True),
        ),
        migrations.CreateModel(
            name='Experiment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('environment', models.CharField(choices=[('production', 'production'), ('staging', 'staging'), ('demo', 'demo')], max_length=20)),
                ('key', models.CharField(max_length=60)),
                ('title', models.CharField(max_length=120)),
                ('hypothesis', models.TextField(blank=True)),
                ('flag', models.CharField(max_length=80)),
                ('salt', models.CharField(max_length=80)),
                ('arms', models.JSONField()),
                ('started_at', models.DateTimeField()),
                ('started_by', models.CharField(max_length=150)),
                ('ended_at', models.DateTimeField(null=True)),
                ('ended_by', models.CharField(blank=True, max_length=150)),
                ('conclusion', models.CharField(blank=True, max_length=300)),
            ],
            options={
                'ordering': ['-started_at'],
                'constraints': [models.UniqueConstraint(fields=('environment', 'key'), name='rollout_experiment_once'), models.UniqueConstraint(condition=models.Q(('ended_at', None)), fields=('environment', 'flag'), name='rollout_experiment_alone')],
            },
        ),
        migrations.CreateModel(
            name='Exposure',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('environment', models.CharField(max_length=20)),
                ('experiment', models.CharField(max_length=60)),
                ('device_id', models.CharField(max_length=200)),
                ('arm', models.CharField(max_length=40)),
                ('simulated', models.BooleanField(default=False)),
                ('first_at', models.DateTimeField()),
            ],
            options={
                'indexes': [models.Index(fields=['environment', 'device_id'], name='rollout_exposure_device')],
                'constraints': [models.UniqueConstraint(fields=('environment', 'experiment', 'device_id'), name='rollout_exposure_once')],
            },
        ),
    ]

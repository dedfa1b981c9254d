"""Alerts get groups, actions and what explains them; each environment its last look."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("monitoring", "0016_sections"),
    ]

    operations = [
        migrations.CreateModel(
            name='Evaluation',
            fields=[
                ('environment', models.CharField(max_length=20, primary_key=True, serialize=False)),
                ('began_at', models.DateTimeField()),
                ('looked_at', models.DateTimeField(null=True)),
                ('seconds', models.FloatField(null=True)),
                ('failed_at', models.DateTimeField(null=True)),
                ('failures', models.IntegerField(default=0)),
                ('error', models.CharField(blank=True, max_length=300)),
            ],
        ),
        migrations.AddField(
            model_name='alert',
            name='action',
            field=models.CharField(blank=True, choices=[('tell_security', 'tell the security team'), ('investigate', 'investigate at once'), ('critical_alert', 'critical alert'), ('security_review', 'security review')], max_length=20),
        ),
        migrations.AddField(
            model_name='alert',
            name='closed_by',
            field=models.CharField(blank=True, max_length=120),
        ),
        migrations.AddField(
            model_name='alert',
            name='group',
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name='alert',
            name='links',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='alert',
            name='silence',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='monitoring.silence'),
        ),
        migrations.AddField(
            model_name='alert',
            name='well_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='silence',
            name='alertname',
            field=models.CharField(blank=True, max_length=120),
        ),
        migrations.AddField(
            model_name='silence',
            name='severity',
            field=models.CharField(blank=True, choices=[('critical', 'critical'), ('warning', 'warning'), ('info', 'info')], max_length=10),
        ),
        migrations.AlterField(
            model_name='silence',
            name='pattern',
            field=models.CharField(blank=True, max_length=120),
        ),
        migrations.AddIndex(
            model_name='alert',
            index=models.Index(condition=models.Q(('closed_by', ''), _negated=True), fields=['environment', '-resolved_at'], name='monitoring_alert_closed'),
        ),
    ]

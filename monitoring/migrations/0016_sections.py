from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("monitoring", "0015_folded_series"),
    ]

    operations = [
        migrations.CreateModel(
            name='StoredSection',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=60, unique=True)),
                ('document', models.JSONField()),
                ('seed', models.JSONField(null=True)),
                ('revision', models.IntegerField(default=1)),
                ('changed_at', models.DateTimeField()),
                ('changed_by', models.CharField(max_length=120)),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
    ]

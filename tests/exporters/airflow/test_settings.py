from functools import partial

import pytest

from xcs_airflow.errors import ExportError
from xcs_airflow.exporting import target_settings
from xcs_exporters.airflow.settings import AirflowSettings

read_settings = partial(target_settings.read_settings, AirflowSettings, "airflow")


def test_every_setting_has_a_default():
    settings = read_settings({})
    assert (settings.dag_id, settings.max_active_runs, settings.tags, settings.pools) == (None, 1, (), {})


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ExportError) as caught:
        read_settings(
            {"pool": {"openai": "x"}, "dag_id": "a b", "max_active_runs": 0, "tags": ["x" * 101, "a\nb"], "pools": {"openai": ""}}
        )
    findings = {finding.message.split("'")[1]: finding for finding in caught.value.findings}
    assert set(findings) == {"pool", "dag_id", "max_active_runs", "tags.0", "tags.1", "pools.openai"}
    assert {finding.code for finding in findings.values()} == {"XCS503"}
    assert findings["pool"].hint == "did you mean 'pools'?"

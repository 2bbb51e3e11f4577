from functools import partial

import pytest

from xcs_airflow.errors import ExportError
from xcs_airflow.exporting import target_settings
from xcs_exporters.cloud_run import CloudRunExporter
from xcs_exporters.cloud_run.settings import CloudRunSettings

read_settings = partial(target_settings.read_settings, CloudRunSettings, "cloud-run")


def test_all_settings_may_be_left_out():
    assert read_settings({}) == CloudRunSettings()


def test_an_unknown_setting_is_refused_with_the_nearest_name():
    with pytest.raises(ExportError) as caught:
        read_settings({"servce_account": "x@y"})
    (finding,) = caught.value.findings
    assert finding.code == "XCS503"
    assert finding.message == "the setting 'servce_account' of cloud-run is not valid: there is no such setting"
    assert finding.hint == "did you mean 'service_account'?"


def test_every_wrong_setting_is_reported():
    with pytest.raises(ExportError) as caught:
        read_settings({"project": "My Project", "timeout_s": 0, "bucket": "gs://bucket", "regoin": "x"})
    assert [finding.message.split("'")[1] for finding in caught.value.findings] == ["project", "bucket", "timeout_s", "regoin"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("project", "my-project$(id)"),
        ("region", "europe-west1; rm"),
        ("image", "image`id`"),
        ("image", "image\nexport X=1"),
        ("service_account", "a@b c"),
        ("bucket", "${XCS_PROJECT}"),
        ("prefix", "../other"),
        ("prefix", "/root"),
    ],
)
def test_settings_that_would_mean_something_in_a_shell_are_refused(setting, value):
    with pytest.raises(ExportError):
        read_settings({setting: value})


@pytest.mark.parametrize("env", [{"OPENAI_API_KEY": "sk-x"}, {"CLOUD_RUN_JOB": "x"}, {"A B": "x"}, {"A": "\0"}, {"A": "x" * 40_000}])
def test_variables_that_the_platform_refuses_or_that_look_secret_are_refused(env):
    with pytest.raises(ExportError, match="XCS503"):
        read_settings({"env": env})


def test_the_settings_of_an_account_leave_nothing_open(plan, account):
    bundle = CloudRunExporter().emit(plan, account)
    assert bundle.text("variables.json") == "{}\n"
    assert not [path for path in bundle.files if path.endswith(".json") and "${XCS_" in bundle.text(path)]

import json
import re

from hypothesis import example, given
from hypothesis import strategies as st

from xcs_exporters.cloud_run import CloudRunExporter
from xcs_exporters.cloud_run.account import MEANINGS, Account, describe, to_text, used_variables
from xcs_exporters.cloud_run.settings import CloudRunSettings

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]) | st.sampled_from("${}\\uXCSdc24_"), max_size=40)


def test_what_is_not_set_is_a_variable():
    account = Account.of(CloudRunSettings(project="my-project"))
    assert to_text([account.project, account.bucket]) == '[\n  "my-project",\n  "${XCS_BUCKET}"\n]\n'


@given(TEXT)
@example("${XCS_BUCKET}")
@example("\\udc24{XCS_BUCKET}")
@example("\\\\udc24{XCS_BUCKET}\\")
@example("\\u0024{XCS_BUCKET}")
def test_text_of_an_author_is_never_a_variable_and_reads_as_it_was(text):
    written = to_text({"text": text, text: "key", "hole": Account.of(CloudRunSettings()).bucket})
    assert used_variables([written]) == ["XCS_BUCKET"]
    assert written.count("$") == 1
    filled = json.loads(re.sub(r"\$\{(XCS_[A-Z_]+)\}", "my-bucket", written))
    assert filled == {"text": text, text: "key", "hole": "my-bucket"} | ({text: "my-bucket"} if text == "hole" else {}) | (
        {"text": "key"} if text == "text" else {}
    )


def test_half_a_surrogate_pair_of_an_author_is_no_variable(make_plan, operation):
    text = "\udc24{XCS_REGION}"
    bundle = CloudRunExporter().emit(make_plan(operation(description=text), name=text, description=text, schedule="0 0 * * *"), {})
    assert [path for path in bundle.files if path.startswith("jobs/") and "${XCS_REGION}" in bundle.text(path)] == []
    assert json.loads(bundle.files["scheduler.json"])["description"] == "{XCS_REGION}"
    assert CloudRunExporter().check(bundle) == ()


def test_every_setting_of_the_account_is_explained():
    explained = describe(f"XCS_{setting.upper()}" for setting in MEANINGS)
    assert {entry["setting"] for entry in explained.values()} == set(MEANINGS)


def test_only_what_stands_in_a_file_is_explained(emit, plan, make_plan, operation):
    assert list(emit(plan)["variables.json"]) == ["XCS_BUCKET", "XCS_IMAGE", "XCS_PROJECT", "XCS_REGION", "XCS_SERVICE_ACCOUNT"]
    assert list(emit(make_plan(operation()), image="x")["variables.json"]) == ["XCS_BUCKET", "XCS_SERVICE_ACCOUNT"]

import base64


def test_a_schedule_starts_the_workflow(plan, emit, account):
    schedule = emit(plan, **account)["scheduler.json"]
    place = "projects/my-project/locations/europe-west1"
    assert schedule["name"] == f"{place}/jobs/small"
    assert schedule["schedule"] == "0 6 * * *"
    assert schedule["timeZone"] == "Europe/Berlin"
    assert schedule["httpTarget"]["uri"] == f"https://workflowexecutions.googleapis.com/v1/{place}/workflows/small/executions"
    assert schedule["httpTarget"]["oauthToken"]["serviceAccountEmail"] == account["service_account"]
    assert base64.b64decode(schedule["httpTarget"]["body"]) == b"{}"


def test_nothing_but_the_workflow_tries_again(plan, emit):
    assert "retryConfig" not in emit(plan)["scheduler.json"]


def test_without_a_schedule_there_is_no_file(emit, make_plan, operation):
    assert "scheduler.json" not in emit(make_plan(operation()))


def test_a_description_is_one_short_line(emit, make_plan, operation, hostile_texts):
    text = emit(make_plan(operation(), schedule="0 0 * * *", description="\n".join(hostile_texts) * 9))["scheduler.json"]["description"]
    assert len(text) == 500
    assert text.isprintable()

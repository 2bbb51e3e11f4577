"""The README of a bundle: what its files are, and the commands that build, deploy, run, stop and delete.

It knows words and commands. What a pipeline's author wrote enters as plain words, never as markup and never in a command.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from xcs_airflow.cost.figures import Money
from xcs_airflow.errors import Finding
from xcs_airflow.exporting.plain_text import markdown
from xcs_airflow.plan.cloud_graph import CloudGraph
from xcs_airflow.plan.legalise import NameRule
from xcs_exporters.aws_batch.blocks import nest, waits, waits_asked_for
from xcs_exporters.aws_batch.job_definitions import JobClass, adjustments
from xcs_exporters.aws_batch.secrets import is_arn
from xcs_exporters.aws_batch.settings import AwsBatchSettings

STACK_NAMES = NameRule("A-Za-z0-9-", 100)


@dataclass(frozen=True)
class Readme:
    """What a README tells about.

    Attributes:
        plan: What is run.
        settings: What is known about the account.
        classes: The job definitions.
        left_out: Warnings about what the platform cannot do.
    """

    plan: CloudGraph
    settings: AwsBatchSettings
    classes: Sequence[JobClass]
    left_out: Sequence[Finding]

    def text(self) -> str:
        """The file."""
        sections = (self._introduction(), self._deployment(), self._running(), self._expectations(), self._differences(), self._deletion())
        return "\n".join(section for section in sections if section)

    def _introduction(self) -> str:
        policy = self.plan.policy
        described = f"\n{markdown(policy.description)}\n" if policy.description else ""
        schedule = "| `schedule.json` | when it runs, for EventBridge Scheduler |\n" if policy.schedule else ""
        rows = "".join(f"| `{job_class.name}` | {_machine(job_class)} | {_some(job_class.tasks)} |\n" for job_class in self.classes)
        return f"""# {markdown(self.plan.name)} on AWS Batch
{described}
| file | what it is |
|---|---|
| `template.json` | everything below in one CloudFormation template: deploy this |
| `job-definitions/` | what runs: one job definition for all tasks with the same needs |
| `state-machine.asl.json` | in which order: a Step Functions definition, one state for every task |
{schedule}| `Dockerfile`, `manifest.json`, `code/` | what goes into the image |
| `plan.json` | what this was made from: tasks, costs, decisions |

In these files `${{Name}}` is a parameter or a resource of the template, and `${{!Name}}` is the text `${{Name}}`, as in `Fn::Sub`.

| job definition | machine | tasks |
|---|---|---|
{rows}"""

    def _deployment(self) -> str:
        given = self.settings
        image = given.image or "ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG"
        parameters = [f'ImageUri="$IMAGE" StoreUri={given.store or "s3://BUCKET/PREFIX"}']
        if given.queue is None or any(job_class.gpu for job_class in self.classes):
            subnets = ",".join(given.subnets) or "subnet-ID,subnet-ID"
            groups = ",".join(given.security_groups) or "sg-ID"
            parameters.append(f"SubnetIds={subnets} SecurityGroupIds={groups}")
        overrides = " \\\n  ".join(parameters)
        bucket = given.store.split("/")[2] if given.store else "BUCKET"
        return f"""## Deploy

Replace what is in capital letters.{self._secrets}

```sh
export AWS_REGION={given.region or "REGION"}
IMAGE={image}
STACK={self._stack}

aws ecr get-login-password | docker login --username AWS --password-stdin "${{IMAGE%%/*}}"
docker build --platform linux/amd64 --tag "$IMAGE" .
docker push "$IMAGE"

aws cloudformation deploy --stack-name "$STACK" --template-file template.json --s3-bucket {bucket} \\
  --capabilities CAPABILITY_IAM --parameter-overrides {overrides}
```

The same commands deploy a new version. Runs in flight keep the job definitions they began with.
"""

    def _running(self) -> str:
        parameters = ", ".join(markdown(spec.name) for spec in self.plan.parameters)
        known = f"""
The input is one JSON object with the parameters of the run: {parameters}. Batch limits a command to 8,192 characters, so put what is
longer into the store and give its address.
""" if parameters else ""  # fmt: skip
        return f"""## Run

```sh
MACHINE=$(aws cloudformation describe-stacks --stack-name "$STACK" \\
  --query "Stacks[0].Outputs[?OutputKey=='StateMachineArn'].OutputValue" --output text)
RUN=$(aws stepfunctions start-execution --state-machine-arn "$MACHINE" --input '{{}}' --query executionArn --output text)

aws stepfunctions describe-execution --execution-arn "$RUN" --query status   # how it goes
aws stepfunctions stop-execution --execution-arn "$RUN"                      # stop it, and its jobs
aws stepfunctions redrive-execution --execution-arn "$RUN"                   # go on with what failed or was stopped
```
{known}"""

    def _expectations(self) -> str:
        totals, as_of = self.plan.totals, markdown(self.plan.prices.as_of)
        starts = f"{totals.starts:,} {'start of a task' if totals.starts == 1 else 'starts of tasks'}"
        calls = f"- About {totals.calls:,} model calls with an empty cache: {_in_words(totals.cost_usd)}, by the prices of {as_of}.\n"
        return f"""## What a run costs

{calls if totals.calls else ""}- {starts}, which AWS bills: on Fargate for at least one minute each.
"""

    def _differences(self) -> str:
        needs = {task.id: task.needs for task in self.plan.tasks}
        adjusted: dict[str, list[str]] = {}
        for task, sentence in adjustments(self.plan):
            adjusted.setdefault(sentence, []).append(task)
        lines = [f"- {_some(tasks)}: {sentence}." for sentence, tasks in adjusted.items()]
        if waits(nest(needs)) > waits_asked_for(needs):
            lines.append("- Some tasks wait for more than they need, because states nest: the graph has no exact form.")
        lines += [f"- {reason}." for reason in dict.fromkeys(finding.message for finding in self.left_out)]
        return "## What differs from the plan\n\n" + "\n".join(lines) + "\n" if lines else ""

    def _deletion(self) -> str:
        name = self.classes[0].request["tags"]["xcs:pipeline"]
        return f"""## Delete

```sh
aws cloudformation delete-stack --stack-name "$STACK"
# job definitions cost nothing and stay; this removes those of this pipeline
aws batch describe-job-definitions --status ACTIVE --output text \\
  --query 'jobDefinitions[?tags."xcs:pipeline"==`"{name}"`].jobDefinitionArn' \\
  | tr '\\t' '\\n' | xargs -r -n 1 aws batch deregister-job-definition --job-definition
```

The store, its cache and the image are yours and stay.
"""

    @property
    def _secrets(self) -> str:
        names = sorted({name for task in self.plan.tasks for name in task.secrets.values() if not is_arn(name)})
        if not names:
            return ""
        return f" These secrets must be in Secrets Manager: {', '.join(f'`{name}`' for name in names)}."

    @property
    def _stack(self) -> str:
        return STACK_NAMES.mangle(self.plan.name)


def _machine(job_class: JobClass) -> str:
    amounts = job_class.amounts
    gpus = f", {amounts['GPU']} GPU on {job_class.gpu.family}" if job_class.gpu else " on Fargate"
    return f"{amounts['VCPU']} vCPU, {amounts['MEMORY']} MiB{gpus}"


def _some(tasks: Sequence[str]) -> str:
    shown = ", ".join(f"`{task}`" for task in tasks[:5])
    return shown + (f" and {len(tasks) - 5} more" if len(tasks) > 5 else "")  # noqa: PLR2004  # a row's width


def _in_words(amount: Money) -> str:
    figures = f"{_usd(amount.expected)} USD ({_usd(amount.low)} to {_usd(amount.high)})"
    if amount.is_complete:
        return f"about {figures}"
    return f"at least {figures}, not counting {', '.join(markdown(name) for name in amount.unknown)}, whose price is unknown"


def _usd(amount: Decimal) -> str:
    return f"{amount:,.4f}"

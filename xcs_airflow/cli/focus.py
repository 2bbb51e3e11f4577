"""The books of runs as CSV with the columns of FOCUS, the FinOps Open Cost and Usage Specification, version 1.2.

It knows the columns (focus.finops.org/focus-specification/v1-2); it does not know where figures come from. What FOCUS has no column for
stands in columns that begin with `x_`, as it asks for. A cost that nobody knows is an empty cell, not a zero.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from xcs_airflow.cli.runs_text import moment

if TYPE_CHECKING:
    from xcs_airflow.runtime.books import Usage
    from xcs_airflow.runtime.runs import Run
    from xcs_airflow.runtime.usage import RunUsage

COLUMNS = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceId",
    "Tags",
    "x_Pipeline",
    "x_RunId",
    "x_Operation",
    "x_Model",
    "x_Mechanism",
    "x_Answers",
    "x_Calls",
    "x_CacheHits",
    "x_Duplicates",
    "x_DiscardedCalls",
    "x_RefusedCalls",
    "x_PossiblyBilledCalls",
    "x_InputTokens",
    "x_OutputTokens",
    "x_CachedTokens",
    "x_WrittenTokens",
    "x_SavedCost",
    "x_SavedByCacheCost",
    "x_SavedByDuplicatesCost",
    "x_SavedByBatchCost",
    "x_WastedCost",
    "x_PossiblyBilledCost",
    "x_CallsWithoutBilledPrice",
    "x_CallsWithoutListPrice",
)

_UNKNOWN_ACCOUNT = "unknown"
_DECEMBER = 12


def focus_csv(runs: Iterable[tuple[Run, RunUsage]]) -> str:
    """A header, and a row for every run, operation, model and mechanism."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for run, used in runs:
        for usage in used.operations:
            period = used.periods.get(usage.account)
            begin, end = (run.changed, run.changed) if period is None else period
            writer.writerow({**_charge(run, usage), **_when(begin, end), **_own(run, usage)})
    return text.getvalue()


def _charge(run: Run, usage: Usage) -> dict[str, object]:
    provider = usage.model.partition("/")[0]
    tokens = usage.input_tokens + usage.output_tokens
    amounts = usage.to_dict()
    billed, listed = amounts["billed_cost_usd"], amounts["list_cost_usd"]
    tags = {"xcs/pipeline": run.pipeline, "xcs/run": run.run_id, "xcs/operation": usage.operation, "xcs/mechanism": usage.mechanism}
    return {
        "BilledCost": billed,
        "BillingAccountId": _UNKNOWN_ACCOUNT,
        "BillingCurrency": "USD",
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{usage.operation}: {usage.calls + usage.discarded} calls to {usage.model}",
        "ChargeFrequency": "Usage-Based",
        "ConsumedQuantity": tokens,
        "ConsumedUnit": "Tokens",
        "ContractedCost": billed,
        "ContractedUnitPrice": _each(billed, tokens),
        "EffectiveCost": billed,
        "InvoiceIssuerName": provider,
        "ListCost": listed,
        "ListUnitPrice": _each(listed, tokens),
        "PricingCategory": "Standard",
        "PricingQuantity": tokens,
        "PricingUnit": "Tokens",
        "ProviderName": provider,
        "PublisherName": provider,
        "ResourceId": f"{run.pipeline}/{run.run_id}/{usage.operation}",
        "ResourceName": usage.operation,
        "ResourceType": "Operation of a pipeline",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": provider,
        "ServiceSubcategory": "Generative AI",
        "SkuId": usage.model,
        "SkuMeter": "Input and output tokens",
        "SkuPriceId": f"{usage.model} {'batch' if usage.mechanism == 'provider_batch' else 'live'}",
        "Tags": json.dumps(tags, ensure_ascii=False, sort_keys=True),
    }


def _when(begin: float, end: float) -> dict[str, str]:
    """The period of a charge and the month it is billed in; FOCUS does not count the end to a period."""
    day = datetime.fromtimestamp(begin, UTC)
    month = datetime(day.year, day.month, 1, tzinfo=UTC)
    following = datetime(day.year + day.month // _DECEMBER, day.month % _DECEMBER + 1, 1, tzinfo=UTC)
    return {
        "BillingPeriodStart": moment(month.timestamp()),
        "BillingPeriodEnd": moment(following.timestamp()),
        "ChargePeriodStart": moment(begin),
        "ChargePeriodEnd": moment(int(end) + 1),
    }


def _own(run: Run, usage: Usage) -> dict[str, object]:
    amounts = usage.to_dict()
    return {
        "x_Pipeline": run.pipeline,
        "x_RunId": run.run_id,
        "x_Operation": usage.operation,
        "x_Model": usage.model,
        "x_Mechanism": usage.mechanism,
        "x_Answers": usage.rows,
        "x_Calls": usage.calls,
        "x_CacheHits": usage.hits,
        "x_Duplicates": usage.duplicates,
        "x_DiscardedCalls": usage.discarded,
        "x_RefusedCalls": usage.refused,
        "x_PossiblyBilledCalls": usage.possibly_billed,
        "x_InputTokens": usage.input_tokens,
        "x_OutputTokens": usage.output_tokens,
        "x_CachedTokens": usage.cached_tokens,
        "x_WrittenTokens": usage.written_tokens,
        "x_SavedCost": f"{usage.saved_usd:f}",
        "x_SavedByCacheCost": amounts["saved_by_hits_usd"],
        "x_SavedByDuplicatesCost": amounts["saved_by_duplicates_usd"],
        "x_SavedByBatchCost": amounts["saved_by_batch_usd"],
        "x_WastedCost": amounts["wasted_cost_usd"],
        "x_PossiblyBilledCost": amounts["possibly_billed_cost_usd"],
        "x_CallsWithoutBilledPrice": usage.calls_without_billed_price,
        "x_CallsWithoutListPrice": usage.calls_without_list_price,
    }


def _each(amount: str | None, quantity: int) -> str | None:
    """An average, as input and output have prices of their own."""
    return f"{Decimal(amount) / quantity:f}" if amount is not None and quantity else None

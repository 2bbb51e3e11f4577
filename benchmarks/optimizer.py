"""What a plan chooses and expects, beside what every way of making calls costs and takes, all measured in one run.

    python benchmarks/optimizer.py [--quick]

1,000 tickets of which every fifth repeats another, three questions about each, all with the same 1,000 tokens before them. Two servers
that nobody here wrote answer: xpyd-sim, which takes as long as so many tokens take, and llmock, which has a batch API; a thin front puts
answers that fit into what they send (`model_front.py`). Seconds are a fifth of what the cost model assumes, 200 ms until an answer begins
and 2.6 ms for each token of it; a batch takes 20 s, longer than live calls, as in life. With `--quick` there are 75 tickets, everything is
quicker, nobody weighs money against time, and whoever has room for batches allows packs, too.

First come profiling runs: the workload is run once in every way, all its calls made alike, with nothing remembered; the second and the
third are planned from what came before them. What the three measured is all that the plans after that know. Then every objective is planned
in every situation, and each plan that differs from the others is run on the tickets of another day, again with nothing remembered: what it
expected is compared with what it did. Which plan would have been best is told by measurements alone, of every stage in every way that is
legal there: 27 mixes where all three are.

The baseline is what a task for each call does without a plan: every request of every item, each after the answer to the one before. It
would take a quarter of an hour, so it is measured on a few items and scaled. Starting tasks is counted nowhere.

Money is by the price list of the model that the workload names, for the tokens that the ledger measured. What its prompts share is too
little for that provider's prompt cache, which takes 1,024 tokens and more, and no server here has one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness import Goal, report, say
from model_servers import Delays, Models, model_servers
from workloads.objectives import SITUATIONS, Known, Row, Ways, rows, ways_of
from workloads.running import Measured, Part, expected, planned, profile_of, run, run_one_by_one
from workloads.support import EVERY, MODEL, PREFIX_TOKENS, STAGES, all_made, pipeline

from xcs_airflow.ir.llm_ops import Mechanism
from xcs_airflow.plan.cloud_graph import CloudGraph

PACK = 5
MOST_USD_OFF, MOST_SECONDS_OFF = 0.05, 0.2
MECHANISMS: tuple[Mechanism, ...] = ("concurrent", "packed", "provider_batch")
_HEAD = ": calls, tokens, USD and seconds, as expected | as measured | how far off money and seconds were"
_SHORT: dict[Mechanism, str] = {"concurrent": "live", "packed": "packed", "provider_batch": "batch"}


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        items: How many tickets.
        in_flight: How many calls may wait at a time.
        sample: For how many tickets the baseline is measured.
        delays: How long servers take.
        situations: What authors allow.
        hours_usd: What an hour is worth, where money is weighed against time.
    """

    items: int
    in_flight: int
    sample: int
    delays: Delays
    situations: tuple[str, ...]
    hours_usd: tuple[int, ...]


FULL = Size(1000, 32, 20, Delays(first_ms=200, token_ms=2.6, batch_s=20), tuple(SITUATIONS), (1, 40))
QUICK = Size(75, 12, 2, Delays(first_ms=150, token_ms=2, batch_s=1.5), ("no deadline", "packs", "packs, room for batches"), ())


@dataclass(frozen=True)
class Outcome:
    """A plan that was run.

    Attributes:
        expected: What it expected.
        measured: What it did.
    """

    expected: Part
    measured: Measured

    @property
    def usd_error(self) -> float:
        """By what share of it the expected cost was off."""
        return abs(self.expected.usd / self.measured.whole.usd - 1)

    @property
    def seconds_error(self) -> float:
        """By what share of it the expected makespan was off."""
        return abs(self.expected.seconds / self.measured.whole.seconds - 1)


def main() -> int:
    """Measure, print, and end 0 only when every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="75 tickets, short delays, two objectives; under 50 s")
    size = QUICK if parser.parse_args().quick else FULL
    distinct = size.items - size.items // EVERY
    say(f"{size.items:,} tickets, {distinct:,} distinct, {len(STAGES)} questions about each after {PREFIX_TOKENS:,} tokens; {MODEL}")
    with model_servers(size.delays) as models:
        run(planned(pipeline(2, 0), 1, None), models)  # whoever comes first meets servers that have not woken up yet
        naive = _baseline(size, models)
        known = Known()
        first = _profiled(size, models, known)
        profile = profile_of([outcome.measured for outcome in first])
        wanted = rows(PACK, situations=size.situations, hours_usd=size.hours_usd)
        chosen = {row: planned(pipeline(size.items, 2, row.policy, pack=row.pack), size.in_flight, profile) for row in wanted}
        ways = {row: ways_of({operation.id: operation.mechanism for operation in plan.operations}) for row, plan in chosen.items()}
        say(f"\nplans after that profile{_HEAD}")
        outcomes: dict[Ways, Outcome] = {}
        for row, plan in chosen.items():
            if ways[row] not in outcomes:
                outcomes[ways[row]] = _outcome(plan, models)
                known.add(ways[row], outcomes[ways[row]].measured)
                _say_outcome(_named(ways[row]), outcomes[ways[row]])
    return _reported(size, naive, known, ways, (first, list(outcomes.values())))


def _baseline(size: Size, models: Models) -> Part:
    """What calls cost and take one by one."""
    whole = run_one_by_one(pipeline(size.sample, 1), models).whole
    times = size.items / size.sample
    scaled = Part(whole.calls * times, whole.tokens * times, whole.usd * times, whole.seconds * times)
    say(f"one request after the other, no plan (measured on {size.sample} tickets, times {times:g}):{_figures(scaled)}")
    return scaled


def _profiled(size: Size, models: Models, known: Known) -> list[Outcome]:
    """The workload in every way, once, and what that measured."""
    say(f"\nprofiling runs{_HEAD}")
    profile, done = None, list[Outcome]()
    for mechanism in MECHANISMS:
        made = all_made(mechanism, in_flight=size.in_flight, pack=PACK)
        plan = planned(pipeline(size.items, 1, pack=PACK, ways=made), size.in_flight, profile)
        done.append(Outcome(expected(plan), run(plan, models)))
        known.add((mechanism,) * len(STAGES), done[-1].measured)
        _say_outcome(f"all {_SHORT[mechanism]}", done[-1])
        profile = profile_of([outcome.measured for outcome in done])
    return done


def _outcome(plan: CloudGraph, models: Models) -> Outcome:
    return Outcome(expected(plan), run(plan, models))


def _figures(part: Part) -> str:
    return f" {part.calls:7,.0f} {part.tokens:11,.0f} {part.usd:8.4f} {part.seconds:8.1f}"


def _say_outcome(name: str, outcome: Outcome) -> None:
    off = f" {outcome.usd_error:6.1%} {outcome.seconds_error:6.1%}"
    say(f"  {name:22}{_figures(outcome.expected)}  |{_figures(outcome.measured.whole)}  |{off}")


def _named(ways: Ways) -> str:
    return ", ".join(_SHORT[way] for way in ways)


def _reported(
    size: Size, naive: Part, known: Known, ways: Mapping[Row, Ways], outcomes: tuple[Sequence[Outcome], Sequence[Outcome]]
) -> int:
    """Print every row, the goals and the figure; gives the exit code."""
    first, last = outcomes
    say(f"\n{'wanted':26}{'allowed':26}{'the plan makes':24}{'best, as measured':24}")
    regrets = []
    for row, chosen in ways.items():
        best = known.best(row)
        regrets.append(known.worth(row, chosen) / known.worth(row, best))
        say(f"{row.wanted:26}{row.allowed:26}{_named(chosen):24}{_named(best):24}")
    done = [outcome.measured for outcome in last]
    usd_error, seconds_error = max(outcome.usd_error for outcome in last), max(outcome.seconds_error for outcome in last)
    reports = max(len({outcome.measured.report for outcome in each}) for each in outcomes)
    seen = max(each.requests / each.whole.calls for each in done)
    cheapest, quickest = min(each.whole.usd for each in done), min(each.whole.seconds for each in done)
    goals = [
        Goal("what the plan chose, as a multiple of the best mix as measured, at worst", max(regrets), 1),
        Goal("how far off the expected cost was, as a share, at worst", usd_error, MOST_USD_OFF),
        Goal("the same, of packs and batches before any had been measured", max(outcome.usd_error for outcome in first[1:]), MOST_USD_OFF),
        Goal("how far off the expected makespan was, as a share, at worst", seconds_error, MOST_SECONDS_OFF),
        Goal("different reports about the same tickets, however they were asked about", reports, 1),
        Goal("requests the servers saw, as a multiple of the calls in the books", seen, 1),
    ]
    return report(
        goals,
        f"In {sum(regret == 1 for regret in regrets)} of {len(regrets)} rows the plan chose what measured best; the cheapest plan costs "
        f"{naive.usd / cheapest:.1f} times less and the quickest takes {naive.seconds / quickest:.0f} times less than one request after "
        f"the other for {size.items:,} tickets; cost was expected within {usd_error:.1%} and makespan within {seconds_error:.1%}.",
    )


if __name__ == "__main__":
    sys.exit(main())

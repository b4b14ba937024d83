"""The table of commands: what ``everloop --help`` lists, and where each command lives.

A command's module is imported only when the command is called, so that ``--help`` answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COMMANDS", "Command"]


@dataclass(frozen=True, slots=True)
class Command:
    """A command: the module ``everloop.cli.NAME`` has a function ``command`` with its options and help."""

    group: str
    name: str
    summary: str


COMMANDS = (
    Command("Start", "init", "Make a project for your own data file by looking at it."),
    Command("Start", "demo", "See the whole loop at work on real sales, in about a minute."),
    Command("Start", "status", "Where the loop stands, and what to do next."),
    Command("Experiment", "ingest", "Bring data into the versioned table, checked by the contract."),
    Command("Experiment", "marks", "Which periods are no true picture of demand: stock-outs, closed days, outliers."),
    Command("Experiment", "train", "Examine the candidates by backtest and fit the best; each is an MLflow run."),
    Command("Experiment", "backtest", "Examine one candidate without fitting or releasing it."),
    Command("Experiment", "tune", "Search for better options of a candidate, within a time; goes on where it stopped."),
    Command("Experiment", "explain", "What groups of features bring: left out and shuffled on past windows."),
    Command("Experiment", "compare", "Rank runs, or plan how long a trial would take."),
    Command("Experiment", "run", "The main job: ingest, train, gates, release."),
    Command("Release", "release", "List releases, or show one with its evidence."),
    Command("Release", "adopt", "Make a release of a model that was trained elsewhere."),
    Command(
        "Release", "rehearse", "Load and ask a release as a server would, and measure it, before anybody is served."
    ),
    Command("Release", "promote", "Put a release in charge."),
    Command("Release", "traffic", "Who answers what share of the traffic: show, set, end."),
    Command("Release", "rollback", "Put the previous champion back in charge."),
    Command("Serve", "serve", "Start the server."),
    Command("Serve", "forecast", "Forecast every series into a file or table."),
    Command("Serve", "order", "How much to order of every series, by stock and the costs of too much and too little."),
    Command("Serve", "predict", "Ask for one forecast."),
    Command("Serve", "outcomes", "Tell what really happened."),
    Command("Serve", "measurements", "Tell what was measured of units: what a split may be judged by."),
    Command("Serve", "keys", "Make, list or revoke API keys."),
    Command("Watch", "monitor", "Live accuracy beside the backtest's."),
    Command("Watch", "trace", "From one prediction back to its model, code and data; --repeat computes it again."),
    Command("Watch", "log", "What the prediction log holds; export it, and delete what is old."),
    Command(
        "Watch", "evidence", "The numbers behind every decision: effect, bounds, and what would change the verdict."
    ),
    Command("Watch", "events", "What was decided, when, by whom, and why."),
    Command("Loop", "tick", "One step of the whole loop; safe to call as often as you like."),
    Command("Loop", "loop", "Tick whenever something is due."),
    Command("Loop", "replay", "Walk the loop through past data, day by day."),
    Command("Loop", "settings", "Show the settings in force, or their reference."),
)

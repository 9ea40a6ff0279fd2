"""Campaigns as scripts/shards leaves them (STEM.csv: all rows), and what can be said of them: rates with intervals,
differences of rates, and whether detection agreed with the ledger in every row."""

import csv
import math
from collections import Counter

# Of the normal distribution, for 95 %.
Z = 1.959963984540054


class Rate:
    """So many of so many, with Wilson's 95 % interval."""

    def __init__(self, count, of):
        self.count, self.of = count, of
        self.rate = count / of if of else 0.0
        middle, square = self.rate + Z * Z / (2 * of) if of else 0.5, Z * Z / of if of else 0.0
        half = Z * math.sqrt(self.rate * (1 - self.rate) / of + Z * Z / (4 * of * of)) if of else 0.5
        # Exact where nothing or everything was seen.
        self.low = 0.0 if count == 0 else (middle - half) / (1 + square)
        self.high = 1.0 if count == of else (middle + half) / (1 + square)

    def __str__(self):
        return f"{percent(self.rate)} ({self.interval()})"

    def interval(self):
        return f"{percent(self.low)} to {percent(self.high)}"

    def minus(self, other):
        """By how much it is above the other, with its 95 % interval (Newcombe 1998, method 10)."""
        change = self.rate - other.rate
        low = change - math.hypot(self.rate - self.low, other.high - other.rate)
        high = change + math.hypot(self.high - self.rate, other.rate - other.low)
        return change, low, high


class Campaign:
    """The rows of a campaign, by run."""

    def __init__(self, name, rows):
        self.name, self.rows = name, rows

    @classmethod
    def read(cls, name, stem):
        with open(f"{stem}.csv", newline="") as file:
            return cls(name, list(csv.DictReader(file)))

    def first(self, runs):
        """As if it had been no longer than this."""
        return Campaign(self.name, [row for row in self.rows if int(row["run"]) < runs])

    def reached(self, beat):
        return Rate(sum(row[column(beat)] != "" for row in self.rows), len(self.rows))

    def sum(self, key):
        return sum(int(row[key]) for row in self.rows)

    def beats_reached(self):
        """How many runs reach how many beats."""
        return Counter(sum(row[column(beat)] != "" for beat in self.beats()) for row in self.rows)

    def beats(self):
        """All beats, in their order."""
        keys = self.rows[0] if self.rows else ()
        return [key.removeprefix("beat_").replace("_", "-") for key in keys if key.startswith("beat_")]


def column(beat):
    return "beat_" + beat.replace("-", "_")


def percent(rate):
    return f"{rate * 100:.1f} %"


def part(of, whole):
    return f"{of / whole:.5f}" if whole else "none there"


def exactness(campaigns):
    """Detection against the ledger over all rows: sums, precision, recall, and every row in which they differ."""
    found, actual, both = (sum(c.sum(f"leaks_{key}") for c in campaigns) for key in ("detected", "actual", "true"))
    lines = [
        f"Wrong sharings, leaks and crossings, over all {sum(len(c.rows) for c in campaigns)} runs: {actual} by the ledger, {found} found, "
        f"{both} in both. Precision {part(both, found)}, recall {part(both, actual)}."
    ]
    for campaign in campaigns:
        for row in campaign.rows:
            wrong, missed = (int(row[f"leaks_{key}"]) - int(row["leaks_true"]) for key in ("detected", "actual"))
            if wrong or missed:
                lines.append(f"- {campaign.name}, seed {row['seed']}: {wrong} found that the ledger has not, {missed} not found")
    if len(lines) == 1 and actual:
        lines[0] += " No run differs, so both are 1 for leaks and for crossings alone as well."
    return lines[:1] + [""] + lines[1:] if len(lines) > 1 else lines

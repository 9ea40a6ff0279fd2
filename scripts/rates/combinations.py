"""What scripts/fixes tells of combinations: python3 scripts/rates/combinations.py DIR BEAT

Reads DIR/combinations.csv, and DIR/combinations.json for what the combinations and their effects are; writes
combinations.md into DIR.
"""

import json
import pathlib
import sys

import tables
from campaigns import Campaign, exactness, percent


def effects(stats, beat):
    """Main effects, and those interactions that are clear: from `architect stats`."""
    rows, unclear = [], 0
    for effect in stats["effects"].get(beat, []):
        if len(effect["changes"]) > 1 and not effect["clear"]:
            unclear += 1
            continue
        change = " with ".join(f"`{change['factor']}` {change['from']} to {change['to']}" for change in effect["changes"])
        low, high = (f"{effect[end] * 100:+.1f} %" for end in ("low", "high"))
        rows.append([change, f"{effect['estimate'] * 100:+.1f} %", f"{low} to {high}", "" if effect["clear"] else "may be none"])
    said = [f"{unclear} interactions of two may be none, and are left out."] if unclear else []
    return tables.table(["change", f"effect on `{beat}`", "95 % interval", ""], rows), said


def main(folder, beat):
    folder = pathlib.Path(folder)
    everything = Campaign.read("combinations", folder / "combinations")
    stats = json.loads((folder / "combinations.json").read_text())
    factors = list(stats["cells"][0]["levels"])
    rows = []
    for number, cell in enumerate(stats["cells"]):
        campaign = Campaign("", [row for row in everything.rows if int(row["cell"]) == number])
        fixed = ["yes" if level == "true" else "" for level in cell["levels"].values()]
        rate, healthy = campaign.reached(beat), sum(row["outcome"] == "healthy" for row in campaign.rows)
        rows.append([*fixed, rate.of, rate.count, percent(rate.rate), rate.interval(), healthy])
    head = [*(factor.removeprefix("fixes.") for factor in factors), "runs", f"with `{beat}`", "rate", "95 % interval", "healthy"]
    what, said = effects(stats, beat)
    tables.write(folder / "combinations.md", tables.table(head, rows), what, *([said] if said else []), exactness([everything]))


if __name__ == "__main__":
    main(*sys.argv[1:])

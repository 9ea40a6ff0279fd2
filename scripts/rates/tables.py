"""Tables of campaigns, as Markdown."""

from campaigns import percent


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def rates(beat, campaigns):
    """A campaign a line: the rate of a beat, and what the monitor did."""
    rows = []
    for campaign in campaigns:
        rate, runs = campaign.reached(beat), max(len(campaign.rows), 1)
        orders = [f"{campaign.sum(key) / runs:.1f}" for key in ("restarts", "kills")]
        rows.append(
            [campaign.name, rate.of, rate.count, percent(rate.rate), rate.interval(), campaign.sum("leaks_actual"), *orders]
        )
    head = ["runs of", "how many", f"with `{beat}`", "rate", "95 % interval", "wrong sharings", "restarts a run", "kills a run"]
    return table(head, rows)


def numbers(campaigns):
    """How many runs of each reach how many beats."""
    reached = [campaign.beats_reached() for campaign in campaigns]
    most = max((number for counts in reached for number in counts), default=0)
    rows = [[campaign.name, *(counts[n] or "" for n in range(most + 1))] for campaign, counts in zip(campaigns, reached)]
    return table(["beats reached", *range(most + 1)], rows)


def beats(campaigns):
    """A beat a line: in how many runs of each campaign."""
    rows = [
        [f"`{beat}`"] + [f"{rate.count}: {rate}" for rate in (campaign.reached(beat) for campaign in campaigns)]
        for beat in campaigns[0].beats()
    ]
    return table(["beat"] + [f"{campaign.name}, {len(campaign.rows)} runs" for campaign in campaigns], rows)


def write(path, *blocks):
    """Blocks of lines, with an empty line between two."""
    path.write_text("\n\n".join("\n".join(block) for block in blocks) + "\n")

//! Draws a run from its `events.jsonl`: frames that processes hold and wrong sharings found, over time.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// Draw a run's frames in use and wrong sharings over time
#[derive(clap::Args, Debug)]
pub(crate) struct PictureArgs {
    /// The run's events: `events.jsonl` of its folder
    events: PathBuf,
    /// The picture to write
    svg: PathBuf,
    /// What stands above the picture
    #[arg(long, value_name = "WORDS", default_value = "A run")]
    title: String,
}

const WIDTH: u64 = 720;
const LEFT: u64 = 60;
const RIGHT: u64 = 20;
/// Height of one curve's plot.
const PLOT: u64 = 90;
/// Upper edges of the two plots.
const TOPS: [u64; 2] = [70, 200];
const HEIGHT: u64 = 330;
const STYLE: &str = "<style>
text { font: 13px sans-serif; fill: #222 } .title { font-weight: bold; font-size: 14px }
.axis { stroke: #888 } .moment { stroke: #888; stroke-dasharray: 4 3 } .paper { fill: #fff }
.curve { stroke: #b3261e; fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .paper { fill: #1c1c1c } .curve { stroke: #ff8a80 } }
</style>";

/// What happened at a tick, counted from the start of the first incarnation.
struct Moment {
    tick: u64,
    name: &'static str,
}

/// What the picture shows of a run.
#[derive(Default)]
struct History {
    /// Ticks of all incarnations.
    ticks: u64,
    /// Frames that processes hold, at each tick at which that changes.
    frames: Vec<(u64, u64)>,
    /// Wrong sharings found so far, the same way.
    sharings: Vec<(u64, u64)>,
    moments: Vec<Moment>,
}

/// Reads the events and writes the picture.
///
/// # Errors
///
/// If a file cannot be read, understood or written: which, and why.
pub(crate) fn picture(args: &PictureArgs) -> Result<(), String> {
    let named = |path: &PathBuf, problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let text = fs::read_to_string(&args.events).map_err(|error| named(&args.events, &error))?;
    let history = history(&text).map_err(|error| named(&args.events, &error))?;
    fs::write(&args.svg, svg(&history, &args.title)).map_err(|error| named(&args.svg, &error))
}

/// Counts what the events say.
fn history(text: &str) -> Result<History, serde_json::Error> {
    let mut history = History::default();
    let (mut began, mut incarnation) = (0, 1);
    let (mut frames, mut sharings) = (0_u64, 0_u64);
    for line in text.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event["incarnation"].as_u64().is_some_and(|now| now != incarnation) {
            incarnation += 1;
            began = history.ticks;
            frames = 0;
            history.frames.push((began, 0));
        }
        let tick = began + event["tick"].as_u64().unwrap_or_default();
        history.ticks = history.ticks.max(tick);
        let name = match event["kind"].as_str().unwrap_or_default() {
            "given" => {
                frames += 1;
                history.frames.push((tick, frames));
                continue;
            }
            "freed" => {
                frames = frames.saturating_sub(1);
                history.frames.push((tick, frames));
                continue;
            }
            "leak-found" => {
                sharings += 1;
                history.sharings.push((tick, sharings));
                if sharings > 1 {
                    continue;
                }
                "first leak"
            }
            "low-water" => "little memory",
            "nmi" => "NMI, reset",
            _ => continue,
        };
        history.moments.push(Moment { tick, name });
    }
    Ok(history)
}

fn svg(history: &History, title: &str) -> String {
    let x = |tick: u64| LEFT + tick * (WIDTH - LEFT - RIGHT) / history.ticks.max(1);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"{title}\">\n{STYLE}\n<rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"24\">{title}</text>\n"
    );
    let floor = TOPS[1] + PLOT;
    for (row, moment) in history.moments.iter().enumerate() {
        let (at, y) = (x(moment.tick), 44 + 15 * (row as u64 % 2));
        line(&mut svg, "moment", (at, y + 3), (at, floor));
        text(&mut svg, (at, y), "middle", moment.name);
    }
    for ((top, curve), name) in TOPS
        .into_iter()
        .zip([&history.frames, &history.sharings])
        .zip(["frames that processes hold", "wrong sharings found, in all"])
    {
        plot(&mut svg, top, curve, &x, history.ticks);
        // Right of the middle, close to the axis: both curves are high there.
        text(&mut svg, (LEFT + (WIDTH - LEFT - RIGHT) * 3 / 5, top + PLOT - 8), "middle", name);
    }
    for tick in (0..=history.ticks).step_by(100) {
        text(&mut svg, (x(tick), floor + 18), "middle", &tick.to_string());
    }
    text(&mut svg, (LEFT, HEIGHT - 6), "start", "ticks since the first boot");
    svg + "</svg>\n"
}

/// Draws one curve over its axis, with its largest value.
fn plot(svg: &mut String, top: u64, curve: &[(u64, u64)], x: &impl Fn(u64) -> u64, ticks: u64) {
    let most = curve.iter().map(|(_, value)| *value).max().unwrap_or_default();
    let floor = top + PLOT;
    line(svg, "axis", (LEFT, floor), (WIDTH - RIGHT, floor));
    text(svg, (LEFT - 8, floor), "end", "0");
    text(svg, (LEFT - 8, top + 4), "end", &most.to_string());
    let mut points = format!("{LEFT},{floor}");
    let mut y = floor;
    // One point per tick is enough: the last value of each.
    for pair in curve
        .windows(2)
        .filter(|pair| pair[0].0 != pair[1].0)
        .map(|pair| pair[0])
        .chain(curve.last().copied())
    {
        let at = x(pair.0);
        let _ = write!(points, " {at},{y}");
        y = floor - pair.1 * PLOT / most.max(1);
        let _ = write!(points, " {at},{y}");
    }
    let _ = writeln!(svg, "<polyline class=\"curve\" points=\"{points} {},{y}\"/>", x(ticks));
}

fn line(svg: &mut String, class: &str, (x1, y1): (u64, u64), (x2, y2): (u64, u64)) {
    let _ = writeln!(svg, "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>");
}

fn text(svg: &mut String, (x, y): (u64, u64), anchor: &str, words: &str) {
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{words}</text>");
}

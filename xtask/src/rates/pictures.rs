//! Pictures of campaigns: plain SVG, with colours of its own for light and dark pages.

use super::campaign::Campaign;
use super::rate::Rate;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 60.0;
const STYLE: &str = "<style>
text { font: 13px sans-serif; fill: #222 } .title { font-weight: bold; font-size: 14px }
.axis { stroke: #888 } .grid { stroke: #8883 } .mark { stroke: #b3261e; fill: #b3261e }
.heat { fill: #b3261e } .count { font-size: 11px } .paper { fill: #fff }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .paper { fill: #1c1c1c } .mark { stroke: #ff8a80; fill: #ff8a80 }
.heat { fill: #ff8a80 } }
</style>";

/// The rate of a beat in each campaign, with its interval.
///
/// # Errors
///
/// There is no beat of this name.
pub(crate) fn rates(beat: &str, campaigns: &[&Campaign]) -> Result<String, String> {
    let floor = HEIGHT - BOTTOM;
    let y = |rate: f64| floor - rate * (floor - TOP);
    let mut parts = Vec::new();
    for tenth in (0..=10).step_by(2) {
        let at = y(f64::from(tenth) / 10.0);
        parts.push(line("grid", (LEFT, at), (WIDTH - RIGHT, at)));
        parts.push(text(LEFT - 8.0, at + 4.0, &format!("{} %", tenth * 10), "end"));
    }
    parts.push(line("axis", (LEFT, floor), (WIDTH - RIGHT, floor)));
    for (x, campaign) in Columns::new(campaigns.len()).middles().zip(campaigns) {
        let Rate { rate, low, high, .. } = campaign.reached(beat)?;
        parts.push(line("mark", (x, y(low)), (x, y(high))));
        parts.extend([low, high].map(|end| line("mark", (x - 6.0, y(end)), (x + 6.0, y(end)))));
        parts.push(format!(r#"<circle class="mark" cx="{x:.1}" cy="{:.1}" r="4"/>"#, y(rate)));
        parts.push(text(x, floor + 20.0, &campaign.name, "middle"));
    }
    parts.push(text(LEFT, HEIGHT - 12.0, "from light to heavy load; bars: 95 % intervals", "start"));
    Ok(picture(HEIGHT, &format!("Runs that reach the beat {beat}"), &parts))
}

/// How many runs of each campaign reach how many beats: a row for each number, the darker the more runs.
pub(crate) fn numbers(campaigns: &[&Campaign]) -> String {
    const ROW: f64 = 22.0;
    let reached: Vec<_> = campaigns.iter().map(|campaign| campaign.beats_reached()).collect();
    let most = reached.iter().flatten().map(|(number, _)| *number).max().unwrap_or(0);
    let top = TOP + 4.0;
    let height = top + ROW * (most + 1) as f64 + BOTTOM;
    let columns = Columns::new(campaigns.len());
    let place = |number: usize| top + ROW * (most - number) as f64;
    let mut parts: Vec<_> =
        (0..=most).map(|number| text(LEFT - 8.0, place(number) + 15.0, &number.to_string(), "end")).collect();
    for ((x, campaign), counts) in columns.middles().zip(campaigns).zip(reached) {
        parts.push(text(x, height - BOTTOM + 18.0, &campaign.name, "middle"));
        for (number, runs) in counts {
            let share = 0.12 + 0.88 * runs as f64 / campaign.rows.len() as f64;
            parts.push(format!(
                r#"<rect class="heat" fill-opacity="{share:.2}" x="{:.1}" y="{}" width="{:.1}" height="{}"/>"#,
                x - columns.step * 0.45,
                place(number),
                columns.step * 0.9,
                ROW - 2.0
            ));
            parts.push(count(x, place(number) + 14.0, runs));
        }
    }
    let legend = "runs that reach so many of the 16 beats, from light to heavy load";
    parts.push(text(LEFT, height - 12.0, legend, "start"));
    picture(height, "How many beats a run reaches", &parts)
}

/// How many runs reach how many beats: a bar for each number.
pub(crate) fn histogram(campaign: &Campaign) -> String {
    let counts = campaign.beats_reached();
    let tallest = counts.iter().map(|(_, runs)| *runs).max().unwrap_or(1) as f64;
    let floor = HEIGHT - BOTTOM;
    let columns = Columns::new(campaign.beats().len() + 1);
    let mut parts = Vec::new();
    for (number, x) in columns.middles().enumerate() {
        parts.push(text(x, floor + 18.0, &number.to_string(), "middle"));
        if let Some((_, runs)) = counts.iter().find(|(of, _)| *of == number) {
            let high = (floor - TOP - 20.0) * *runs as f64 / tallest;
            parts.push(format!(
                r#"<rect class="heat" x="{:.1}" y="{:.1}" width="{:.1}" height="{high:.1}"/>"#,
                x - columns.step * 0.4,
                floor - high,
                columns.step * 0.8
            ));
            parts.push(count(x, floor - high - 5.0, *runs));
        }
    }
    parts.push(line("axis", (LEFT, floor), (WIDTH - RIGHT, floor)));
    let legend = format!("beats reached, of {}; above each bar the number of runs", campaign.beats().len());
    parts.push(text(LEFT, HEIGHT - 12.0, &legend, "start"));
    picture(HEIGHT, &format!("How many beats a run reaches: {}", seeds(campaign)), &parts)
}

/// How often each beat is reached, with its interval.
pub(crate) fn beats(campaign: &Campaign) -> String {
    const ROW: f64 = 22.0;
    let left = 180.0;
    let height = TOP + ROW * campaign.beats().len() as f64 + BOTTOM;
    let x = |rate: f64| left + rate * (WIDTH - RIGHT - left);
    let floor = height - BOTTOM;
    let mut parts = Vec::new();
    for tenth in (0..=10).step_by(2) {
        let at = x(f64::from(tenth) / 10.0);
        parts.push(line("grid", (at, TOP), (at, floor)));
        parts.push(text(at, floor + 18.0, &format!("{} %", tenth * 10), "middle"));
    }
    for (nth, (beat, Rate { rate, low, high, .. })) in campaign.rates().enumerate() {
        let at = TOP + ROW * nth as f64 + ROW / 2.0;
        parts.push(text(left - 12.0, at + 4.0, beat, "end"));
        parts.push(line("mark", (x(low), at), (x(high), at)));
        parts.extend([low, high].map(|end| line("mark", (x(end), at - 5.0), (x(end), at + 5.0))));
        parts.push(format!(r#"<circle class="mark" cx="{:.1}" cy="{at:.1}" r="3.5"/>"#, x(rate)));
    }
    parts.push(text(left, height - 12.0, "rate, with 95 % intervals", "start"));
    picture(height, &format!("How often each beat is reached: {}", seeds(campaign)), &parts)
}

fn seeds(campaign: &Campaign) -> String {
    format!("{} seeds of {}", campaign.rows.len(), campaign.name)
}

fn picture(height: f64, title: &str, parts: &[String]) -> String {
    let title = escaped(title);
    let head = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">"#
    );
    let paper = format!(r#"<rect class="paper" width="{WIDTH}" height="{height}"/>"#);
    let title = format!(r#"<text class="title" x="{LEFT}" y="24">{title}</text>"#);
    format!("{head}\n{STYLE}\n{paper}{title}\n{}\n</svg>\n", parts.join("\n"))
}

fn text(x: f64, y: f64, words: &str, anchor: &str) -> String {
    format!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#, escaped(words))
}

/// A number of runs, in small print.
fn count(x: f64, y: f64, runs: usize) -> String {
    format!(r#"<text class="count" x="{x:.1}" y="{y:.1}" text-anchor="middle">{runs}</text>"#)
}

fn line(kind: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> String {
    format!(r#"<line class="{kind}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Columns of equal width between the margins.
struct Columns {
    count: usize,
    step: f64,
}

impl Columns {
    fn new(count: usize) -> Self {
        Self { count, step: (WIDTH - LEFT - RIGHT) / count.max(1) as f64 }
    }

    /// The middle of each column.
    fn middles(&self) -> impl Iterator<Item = f64> + use<> {
        let step = self.step;
        (0..self.count).map(move |nth| LEFT + step * (nth as f64 + 0.5))
    }
}

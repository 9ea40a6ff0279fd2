//! Tables of campaigns, as Markdown.

use std::fs;
use std::path::Path;

use super::campaign::Campaign;
use super::rate::percent;

/// A table, line by line.
pub(crate) fn table(head: Vec<String>, rows: Vec<Vec<String>>) -> Vec<String> {
    let rule = vec!["---".to_owned(); head.len()];
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    [head, rule].into_iter().chain(rows).map(line).collect()
}

/// A campaign a line: the rate of a beat, and what the monitor did.
///
/// # Errors
///
/// There is no beat of this name.
pub(crate) fn rates(beat: &str, campaigns: &[&Campaign]) -> Result<Vec<String>, String> {
    let row = |campaign: &&Campaign| {
        let (rate, runs) = (campaign.reached(beat)?, campaign.rows.len().max(1) as f64);
        let a_run = |sum: usize| format!("{:.1}", sum as f64 / runs);
        Ok(vec![
            campaign.name.clone(),
            rate.of.to_string(),
            rate.count.to_string(),
            percent(rate.rate),
            rate.interval(),
            campaign.sum(|row| row.leaks.actual).to_string(),
            a_run(campaign.sum(|row| row.restarts)),
            a_run(campaign.sum(|row| row.kills)),
        ])
    };
    let with = format!("with `{beat}`");
    let head = [
        "runs of",
        "how many",
        &with,
        "rate",
        "95 % interval",
        "wrong sharings",
        "restarts a run",
        "kills a run",
    ];
    let rows = campaigns.iter().map(row).collect::<Result<_, String>>()?;
    Ok(table(head.map(str::to_owned).to_vec(), rows))
}

/// How many runs of each campaign reach how many beats.
pub(crate) fn numbers(campaigns: &[&Campaign]) -> Vec<String> {
    let reached: Vec<_> = campaigns.iter().map(|campaign| campaign.beats_reached()).collect();
    let most = reached.iter().flatten().map(|(number, _)| *number).max().unwrap_or(0);
    let row = |(campaign, counts): (&&Campaign, &Vec<(usize, usize)>)| {
        let runs =
            |number: usize| counts.iter().find(|(of, _)| *of == number).map(|(_, runs)| runs.to_string());
        let cells = (0..=most).map(|number| runs(number).unwrap_or_default());
        std::iter::once(campaign.name.clone()).chain(cells).collect()
    };
    let head = std::iter::once("beats reached".to_owned()).chain((0..=most).map(|number| number.to_string()));
    table(head.collect(), campaigns.iter().zip(&reached).map(row).collect())
}

/// A beat a line: in how many runs of each campaign it is reached. The campaigns have the same beats.
pub(crate) fn beats(campaigns: &[&Campaign]) -> Vec<String> {
    let columns: Vec<Vec<_>> = campaigns.iter().map(|campaign| campaign.rates().collect()).collect();
    let Some(first) = columns.first() else { return Vec::new() };
    let row = |nth: usize| {
        let cells = columns.iter().map(|column| format!("{}: {}", column[nth].1.count, column[nth].1));
        std::iter::once(format!("`{}`", first[nth].0)).chain(cells).collect()
    };
    let names = campaigns.iter().map(|campaign| format!("{}, {} runs", campaign.name, campaign.rows.len()));
    table(std::iter::once("beat".to_owned()).chain(names).collect(), (0..first.len()).map(row).collect())
}

/// Writes blocks of lines into a file, with an empty line between two, and prints them.
///
/// # Errors
///
/// The file, where it cannot be written.
pub(crate) fn publish(path: &Path, blocks: &[Vec<String>]) -> Result<(), String> {
    let block = |lines: &Vec<String>| lines.iter().map(|line| wrapped(line)).collect::<Vec<_>>().join("\n");
    let text = blocks.iter().map(block).collect::<Vec<_>>().join("\n\n") + "\n";
    fs::write(path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    print!("{text}");
    Ok(())
}

/// Widest line of text.
const WIDEST: usize = 110;

/// Breaks a line of text or of a list where it is too wide; tables and pictures stay as they are.
fn wrapped(line: &str) -> String {
    if line.starts_with(['|', '!']) {
        return line.to_owned();
    }
    let indent = if line.starts_with("- ") { "\n  " } else { "\n" };
    let (mut text, mut width) = (String::new(), 0);
    for word in line.split(' ') {
        let letters = word.chars().count();
        if width > 0 && width + 1 + letters > WIDEST {
            text += indent;
            width = indent.len() - 1;
        } else if width > 0 {
            text.push(' ');
            width += 1;
        }
        text += word;
        width += letters;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{WIDEST, wrapped};

    #[test]
    fn text_is_wrapped_and_tables_are_not() {
        let words = "word ".repeat(30);
        let list = wrapped(&format!("- {}", words.trim_end()));
        let lines: Vec<_> = list.lines().collect();
        assert!(lines.iter().all(|line| line.len() <= WIDEST), "{list}");
        assert!(lines.len() == 2 && lines[1].starts_with("  word"), "{list}");
        let table = format!("| {words}|");
        assert_eq!(wrapped(&table), table);
    }
}

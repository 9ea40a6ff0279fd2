//! Detection against the ledger, over whole campaigns.

use super::campaign::{Campaign, Leaks};

/// Lines with the sums of all rows, precision, recall, and every row in which detection and ledger differ.
pub(crate) fn exactness(campaigns: &[&Campaign]) -> Vec<String> {
    let sum = |number: fn(&Leaks) -> usize| -> usize {
        campaigns.iter().map(|campaign| campaign.sum(|row| number(&row.leaks))).sum()
    };
    let (found, actual, both) = (sum(|of| of.detected), sum(|of| of.actual), sum(|of| of.both));
    let runs: usize = campaigns.iter().map(|campaign| campaign.rows.len()).sum();
    let mut first = format!(
        "Wrong sharings, leaks and crossings, over all {runs} runs: {actual} by the ledger, {found} found, {both} \
         in both. Precision {}, recall {}.",
        part(both, found),
        part(both, actual)
    );
    let mut differing = Vec::new();
    for campaign in campaigns {
        for row in &campaign.rows {
            let Leaks { detected, actual, both } = row.leaks;
            let (wrong, missed) = (detected.saturating_sub(both), actual.saturating_sub(both));
            if wrong > 0 || missed > 0 {
                differing.push(format!(
                    "- {}, seed {}: {wrong} found that the ledger has not, {missed} not found",
                    campaign.name, row.seed
                ));
            }
        }
    }
    if differing.is_empty() {
        if actual > 0 {
            first += " No run differs, so both are 1 for leaks and for crossings alone as well.";
        }
        return vec![first];
    }
    [vec![first, String::new()], differing].concat()
}

fn part(of: usize, whole: usize) -> String {
    if whole == 0 { "none there".to_owned() } else { format!("{:.5}", of as f64 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::super::campaign::tests::three_runs;
    use super::exactness;

    #[test]
    fn a_run_that_differs_from_the_ledger_is_named() {
        let lines = exactness(&[&three_runs()]);
        assert!(
            lines[0].ends_with("2 by the ledger, 3 found, 2 in both. Precision 0.66667, recall 1.00000.")
        );
        assert_eq!(lines[2..], ["- three, seed 2: 1 found that the ledger has not, 0 not found"]);
    }

    #[test]
    fn runs_that_agree_are_said_to() {
        let lines = exactness(&[&three_runs().first(1)]);
        assert!(matches!(&lines[..], [one] if one.contains(" No run differs")), "{lines:?}");
    }
}

//! The list of findings that are known and yet to be mended: how many each file has of each rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use super::finding::{Finding, Rule};

/// How many findings of a rule a file or folder has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known(BTreeMap<(PathBuf, Rule), usize>);

/// A file that has another number of findings than the list says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has more: all of its findings of this rule.
    Worse(Vec<Finding>),
    /// It has fewer, so the list must be renewed: the path, and the rule's name.
    Better(PathBuf, &'static str),
}

impl Known {
    /// Counts findings.
    pub fn count(findings: &[Finding]) -> Self {
        let mut counts = BTreeMap::new();
        for finding in findings {
            *counts.entry((finding.path.clone(), finding.rule)).or_default() += 1;
        }
        Self(counts)
    }

    /// Reads a list: number, rule and path on each line. Lines that begin with `#` are comments.
    ///
    /// # Errors
    ///
    /// A line that is none of these.
    pub fn parse(list: &str) -> Result<Self, String> {
        let entry = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let count = words.next()?.parse().ok()?;
            let name = words.next()?;
            let rule = Rule::ALL.into_iter().find(|rule| rule.name() == name)?;
            Some(((PathBuf::from(words.next()?), rule), count))
        };
        let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let entries =
            lines.map(|line| entry(line).ok_or_else(|| format!("not a number, a rule and a path: {line}")));
        entries.collect::<Result<_, _>>().map(Self)
    }

    /// Where findings differ from this list.
    pub fn changes(&self, findings: &[Finding]) -> Vec<Change> {
        let now = Self::count(findings);
        let keys: BTreeSet<_> = self.0.keys().chain(now.0.keys()).collect();
        let count = |of: &Self, key: &(PathBuf, Rule)| of.0.get(key).copied().unwrap_or(0);
        let change = |key: &(PathBuf, Rule)| match count(&now, key).cmp(&count(self, key)) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Less => Some(Change::Better(key.0.clone(), key.1.name())),
            std::cmp::Ordering::Greater => {
                let is_of_it = |finding: &&Finding| (&finding.path, finding.rule) == (&key.0, key.1);
                Some(Change::Worse(findings.iter().filter(is_of_it).cloned().collect()))
            }
        };
        keys.into_iter().filter_map(change).collect()
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|((path, rule), count)| writeln!(f, "{count} {} {}", rule.name(), path.display()))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worse(findings) => findings.iter().try_for_each(|finding| writeln!(f, "{finding}")),
            Self::Better(path, rule) => {
                writeln!(
                    f,
                    "{}: fewer findings of {rule} than listed: run cargo xtask style --write",
                    path.display()
                )
            }
        }
    }
}

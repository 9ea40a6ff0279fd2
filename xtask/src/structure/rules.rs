//! Which uses break the rules of the structure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::paths::Use;

/// A break of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// A module uses an item of a module above it.
    Upward(Use),
    /// The children of a module use each other round a circle: their names, and one use for each step.
    Circle {
        /// The module whose children they are.
        parent: Vec<String>,
        /// The children.
        children: Vec<String>,
        /// The uses that tie them.
        ties: Vec<Use>,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upward(of) => write!(f, "upward: {of}"),
            Self::Circle { parent, children, ties } => {
                write!(f, "circle in {}: {}", parent.join("::"), children.join(", "))?;
                ties.iter().try_for_each(|tie| write!(f, "\n    {tie}"))
            }
        }
    }
}

/// All breaks of the rules, given the uses between the modules of one crate.
pub fn violations(uses: &BTreeSet<Use>) -> Vec<Violation> {
    let is_above = |of: &&Use| of.from.len() > of.to.len() && of.from.starts_with(&of.to);
    let mut all: Vec<_> = uses.iter().filter(is_above).cloned().map(Violation::Upward).collect();
    // Uses between siblings, by their parent; each is taken at the level where the two paths part.
    let mut levels: BTreeMap<Vec<String>, BTreeMap<(String, String), Use>> = BTreeMap::new();
    for of in uses {
        let common = of.from.iter().zip(&of.to).take_while(|(from, to)| from == to).count();
        if let (Some(from), Some(to)) = (of.from.get(common), of.to.get(common)) {
            let level = levels.entry(of.from[..common].to_vec()).or_default();
            level.entry((from.clone(), to.clone())).or_insert_with(|| of.clone());
        }
    }
    for (parent, edges) in levels {
        for children in circles(&edges) {
            let ties = edges
                .iter()
                .filter(|((from, to), _)| children.contains(from) && children.contains(to))
                .map(|(_, of)| of.clone());
            all.push(Violation::Circle { parent: parent.clone(), ties: ties.collect(), children });
        }
    }
    all
}

/// The groups of names that reach each other.
fn circles<T>(edges: &BTreeMap<(String, String), T>) -> Vec<Vec<String>> {
    let reachable = |start: &String| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(name) = open.pop() {
            for (_, to) in edges.keys().filter(|(from, _)| from == name) {
                if seen.insert(to.clone()) {
                    open.push(to);
                }
            }
        }
        seen
    };
    let names: BTreeSet<_> = edges.keys().map(|(from, _)| from.clone()).collect();
    let reach: BTreeMap<_, _> = names.iter().map(|name| (name.clone(), reachable(name))).collect();
    let mut groups: Vec<Vec<String>> = Vec::new();
    for name in &names {
        let mutual = |other: &&String| reach[*other].contains(name) && reach[name].contains(*other);
        let group: Vec<_> = names.iter().filter(mutual).cloned().collect();
        if group.contains(name) && !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

//! Suggestions for misspelt keys and values: "did you mean".

/// What to do about a value or key that the types refuse, from their message.
///
/// serde lists the names that it knows in back-ticks: "unknown field `pgaer`, expected one of `pager`, `ids`".
pub(super) fn remedy(message: &str) -> String {
    const REFERENCE: &str = "`architect scenarios keys` lists all keys and their values";
    match nearest(message) {
        Some(name) => format!("did you mean `{name}`? {REFERENCE}"),
        None => REFERENCE.to_owned(),
    }
}

/// Of the names that a message lists as known, the one most like the unknown one, if it is much like it.
fn nearest(message: &str) -> Option<&str> {
    let (unknown, known) = message.strip_prefix("unknown ")?.split_once(", expected")?;
    let unknown = unknown.split('`').nth(1)?;
    let known = known.split('`').skip(1).step_by(2);
    let likeness = |name: &str| strsim::jaro_winkler(unknown, name);
    let best = known.max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(best) > 0.8).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_suggested_and_a_strange_one_is_not() {
        let message =
            |name: &str| format!("unknown field `{name}`, expected one of `pager`, `ids`, `monitor`");
        assert_eq!(nearest(&message("pgaer")), Some("pager"));
        assert_eq!(nearest(&message("moniter")), Some("monitor"));
        assert_eq!(nearest(&message("everything")), None);
        assert_eq!(nearest("invalid type: integer `1`, expected a boolean"), None);
    }
}

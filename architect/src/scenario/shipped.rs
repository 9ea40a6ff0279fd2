//! The scenarios that the command brings along, so that it runs anywhere.

/// Name and text of each, in the order of the names.
pub const SHIPPED: &[(&str, &str)] = &[
    ("demo-leak", include_str!("../../../scenarios/demo-leak.toml")),
    ("fault-agents", include_str!("../../../scenarios/fault-agents.toml")),
    ("fault-datagrams", include_str!("../../../scenarios/fault-datagrams.toml")),
    ("fault-descriptors", include_str!("../../../scenarios/fault-descriptors.toml")),
    ("fault-memory", include_str!("../../../scenarios/fault-memory.toml")),
    ("fault-messages", include_str!("../../../scenarios/fault-messages.toml")),
    ("fault-page-tables", include_str!("../../../scenarios/fault-page-tables.toml")),
    ("fault-soft-errors", include_str!("../../../scenarios/fault-soft-errors.toml")),
    ("fault-timer-lost", include_str!("../../../scenarios/fault-timer-lost.toml")),
    ("fault-timer-spurious", include_str!("../../../scenarios/fault-timer-spurious.toml")),
    ("healthy", include_str!("../../../scenarios/healthy.toml")),
    ("hidden-space", include_str!("../../../scenarios/hidden-space.toml")),
    ("recommendations", include_str!("../../../scenarios/recommendations.toml")),
    ("the-ending", include_str!("../../../scenarios/the-ending.toml")),
];

/// The text of the shipped scenario with this name.
pub fn text(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

/// What a scenario is about: the first paragraph of the comment at its top.
pub fn about(text: &str) -> String {
    let comment = text.lines().map_while(|line| line.strip_prefix('#'));
    let paragraph: Vec<_> = comment.map(str::trim).take_while(|line| !line.is_empty()).collect();
    paragraph.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn every_scenario_of_the_folder_is_shipped_and_right() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
        let files = files.filter_map(|name| Some(name.to_str()?.strip_suffix(".toml")?.to_owned()));
        let mut names: Vec<_> = files.collect();
        names.sort();
        assert_eq!(SHIPPED.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
        for (name, text) in SHIPPED {
            let scenario = Scenario::parse(text, name, None, &[]).unwrap();
            assert_eq!(scenario.name, *name);
            assert!(!about(text).is_empty(), "{name} has no comment at its top");
        }
    }
}

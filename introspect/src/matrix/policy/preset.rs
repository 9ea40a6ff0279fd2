//! The sets of rules.

/// A set of rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Preset {
    /// The rules of the Matrix: see [`super::strict`].
    #[default]
    Strict,
    /// The rules of Linux: see [`super::page_table_check`].
    PageTableCheck,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 2] = [Self::Strict, Self::PageTableCheck];

    /// The name in scenarios and on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::PageTableCheck => "page-table-check",
        }
    }
}

/// No preset has this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no policy `{0}`: give `strict` or `page-table-check`")]
pub struct UnknownPreset(String);

impl std::str::FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        let found = Self::ALL.into_iter().find(|preset| preset.name() == name);
        found.ok_or_else(|| UnknownPreset(name.to_owned()))
    }
}

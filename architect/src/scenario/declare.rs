//! Declares the keys of a section once: type, default, range, boot parameter and documentation.
//!
//! [`section!`] makes from a declaration the structure that TOML is read into, its defaults, and a table of [`Key`]s.
//! The range checks, the guest's command line and the reference page are derived from that table.

use std::ops::RangeInclusive;
use std::path::PathBuf;

/// The name in TOML of a field with this Rust name.
pub(super) fn toml_name(field: &str) -> String {
    field.trim_start_matches("r#").replace('_', "-")
}

/// One key of a scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Its Rust name: the TOML key with underscores.
    field: &'static str,
    /// What it means, as Markdown.
    pub(crate) doc: &'static str,
    /// Which values it takes.
    pub(crate) kind: Kind,
    /// The boot parameter that carries it to the guest.
    boot: Option<BootParameter>,
}

/// Which values a key takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A whole number in this range, ends included.
    Number(u64, u64),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// What this describes.
    Other(&'static str),
}

/// A word of the guest's command line.
#[derive(Clone, Copy, Debug)]
struct BootParameter {
    name: &'static str,
    /// From the key's value to the parameter's.
    convert: fn(u64) -> u64,
}

/// What a declaration says of a key besides its type and default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    kind: Kind,
    boot: Option<BootParameter>,
}

/// A whole number in this range.
pub(crate) const fn number(range: RangeInclusive<u64>) -> Spec {
    Spec { kind: Kind::Number(*range.start(), *range.end()), boot: None }
}

/// `true` or `false`.
pub(crate) const fn flag() -> Spec {
    Spec { kind: Kind::Flag, boot: None }
}

/// One of these words.
pub(crate) const fn word(words: &'static [&'static str]) -> Spec {
    Spec { kind: Kind::Word(words), boot: None }
}

/// Values that only the type checks; `what` describes them in the reference.
pub(crate) const fn other(what: &'static str) -> Spec {
    Spec { kind: Kind::Other(what), boot: None }
}

impl Spec {
    /// The value reaches the guest as this boot parameter.
    pub(crate) const fn boot(self, name: &'static str) -> Self {
        self.boot_as(name, |value| value)
    }

    /// The same, converted.
    pub(crate) const fn boot_as(self, name: &'static str, convert: fn(u64) -> u64) -> Self {
        Self { boot: Some(BootParameter { name, convert }), ..self }
    }
}

impl Key {
    /// A key from its declaration.
    pub(crate) const fn new(field: &'static str, doc: &'static str, spec: Spec) -> Self {
        Self { field, doc, kind: spec.kind, boot: spec.boot }
    }

    /// Its name in TOML.
    pub(crate) fn name(&self) -> String {
        toml_name(self.field)
    }

    /// The boot parameter `name=value` that carries this value to the guest, if one does.
    pub(crate) fn boot_word(&self, value: &dyn Value) -> Option<String> {
        let BootParameter { name, convert } = self.boot?;
        Some(format!("{name}={}", convert(value.number()?)))
    }

    /// The range that a value is outside of.
    pub(crate) fn violated_range(&self, value: &dyn Value) -> Option<(u64, RangeInclusive<u64>)> {
        let Kind::Number(from, to) = self.kind else { return None };
        let value = value.number()?;
        (!(from..=to).contains(&value)).then_some((value, from..=to))
    }
}

/// The value of a key, as far as the derived code must see into it.
pub(crate) trait Value {
    /// The number, for ranges and boot parameters. A flag is 0 or 1.
    fn number(&self) -> Option<u64> {
        None
    }

    /// The value as the reference shows it; `None` where a default means "not given".
    fn shown(&self) -> Option<String>;
}

macro_rules! numbers {
    ($($type:ty)+) => {$(
        impl Value for $type {
            fn number(&self) -> Option<u64> {
                Some(u64::from(*self))
            }

            fn shown(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )+};
}

numbers!(u8 u32 u64 bool);

impl Value for String {
    fn shown(&self) -> Option<String> {
        (!self.is_empty()).then(|| format!("\"{self}\""))
    }
}

impl Value for Option<PathBuf> {
    fn shown(&self) -> Option<String> {
        self.as_ref().map(|path| path.display().to_string())
    }
}

impl<T> Value for Vec<T> {
    fn shown(&self) -> Option<String> {
        (!self.is_empty()).then(|| format!("{} values", self.len()))
    }
}

/// A section: its keys, and the values that one scenario gives them, in the same order.
pub(crate) trait Section {
    /// The name of its table in TOML.
    const NAME: &'static str;
    /// What it is about, as Markdown.
    const DOC: &'static str;
    /// Its keys.
    const KEYS: &'static [Key];

    /// The values, in the order of the keys.
    fn values(&self) -> Vec<&dyn Value>;

    /// Each key with its value.
    fn entries(&self) -> impl Iterator<Item = (&'static Key, &dyn Value)> {
        Self::KEYS.iter().zip(self.values())
    }
}

/// Declares a section.
///
/// ```text
/// section! {
///     /// What the section is about.
///     Load in "load" {
///         /// What the key means.
///         people: u32 = 6, number(0..=200).boot("people");
///     }
/// }
/// ```
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $(#[derive($($derive:ident)+)])?
        $name:ident in $section:literal {
            $(
                $(#[doc = $key_doc:literal])+
                $(#[serde($($serde:tt)*)])?
                $key:ident: $type:ty = $default:expr, $spec:expr;
            )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize $(, $($derive)+)?)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
        pub struct $name {
            $($(#[doc = $key_doc])+ $(#[serde($($serde)*)])? pub $key: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        impl $crate::scenario::declare::Section for $name {
            const NAME: &'static str = $section;
            const DOC: &'static str = concat!($($doc, "\n",)+);
            const KEYS: &'static [$crate::scenario::declare::Key] = &[
                $($crate::scenario::declare::Key::new(stringify!($key), concat!($($key_doc,)+), $spec),)+
            ];

            fn values(&self) -> Vec<&dyn $crate::scenario::declare::Value> {
                vec![$(&self.$key,)+]
            }
        }
    };
}

pub(super) use section;

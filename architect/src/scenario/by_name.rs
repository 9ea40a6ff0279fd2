//! Values of keys that other crates know by a name.

use std::fmt::Display;
use std::str::FromStr;

use devices::watchdog::WatchdogAction;
use introspect::matrix::policy::Preset;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

pub(super) trait Named: Copy {
    fn name(self) -> &'static str;
}

impl Named for WatchdogAction {
    fn name(self) -> &'static str {
        self.name()
    }
}

impl Named for Preset {
    fn name(self) -> &'static str {
        self.name()
    }
}

pub(super) fn serialize<T: Named, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(value.name())
}

pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

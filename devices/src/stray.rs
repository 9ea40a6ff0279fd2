//! Records accesses to ports without a device: all are counted, the first one of each port is reported.

use serde::{Deserialize, Serialize};

use crate::Action;

/// Number of ports that a processor can address.
const PORTS: usize = 1 << 16;

/// The ports of stray accesses: one bit for each port, allocated (8 KiB) at the first one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<u16>", into = "Vec<u16>")]
pub struct Strays {
    seen: Option<Box<[u64; PORTS / 64]>>,
}

impl Strays {
    /// Creates an empty set.
    pub fn new() -> Self {
        Self { seen: None }
    }

    /// Records an access of `len` bytes: returns [`Action::Stray`] for the first one of this port, otherwise
    /// [`Action::None`].
    pub fn note(&mut self, port: u16, len: usize, write: bool) -> Action {
        let (word, bit) = Self::place(port);
        let seen = self.seen.get_or_insert_with(|| Box::new([0; PORTS / 64]));
        if seen[word] & bit != 0 {
            return Action::None;
        }
        seen[word] |= bit;
        Action::Stray { port, len: u8::try_from(len).unwrap_or(u8::MAX), write }
    }

    /// Returns whether this port had a stray access.
    pub fn contains(&self, port: u16) -> bool {
        let (word, bit) = Self::place(port);
        self.seen.as_ref().is_some_and(|seen| seen[word] & bit != 0)
    }

    /// Returns the ports of stray accesses, in rising order.
    pub fn ports(&self) -> impl Iterator<Item = u16> + '_ {
        (0..=u16::MAX).filter(|port| self.contains(*port))
    }

    /// Copies `other` into this set, and reuses its memory.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.seen.clone_from(&other.seen);
    }

    fn place(port: u16) -> (usize, u64) {
        (usize::from(port) / 64, 1 << (port % 64))
    }
}

impl From<Vec<u16>> for Strays {
    fn from(ports: Vec<u16>) -> Self {
        let mut strays = Self::new();
        for port in ports {
            let _ = strays.note(port, 1, false);
        }
        strays
    }
}

impl From<Strays> for Vec<u16> {
    fn from(strays: Strays) -> Self {
        strays.ports().collect()
    }
}

impl Default for Strays {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Strays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ports()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_is_reported_once() {
        let mut strays = Strays::new();
        for port in 0..=u16::MAX {
            assert_eq!(strays.note(port, 1, true), Action::Stray { port, len: 1, write: true });
        }
        for port in 0..=u16::MAX {
            assert_eq!(strays.note(port, 2, false), Action::None);
        }
        assert_eq!(strays.ports().count(), PORTS);
    }
}

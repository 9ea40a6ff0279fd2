//! A directory of names and ports with leases: an entry holds for a limited time, and its owner renews it, so
//! that entries of dead processes disappear by themselves. (In the story: what Smith keeps.)

/// The port of the first directory; others have the numbers that follow.
pub const DIRECTORIES: u64 = 700;
/// Names with this bit belong to one process.
pub const OWN: u64 = 1 << 63;
/// A record of a list: a name, and room for its port.
pub const RECORD_BYTES: u64 = 16;
/// Most records that a directory reads in one list.
pub const RECORDS: u64 = 4;
/// Names that can be in the directory at once.
pub const NAMES: usize = 32;
/// Ticks for which an entry holds.
pub const LEASE: u64 = 64;

/// An entry of the directory.
#[derive(Clone, Copy)]
struct Entry {
    name: u64,
    port: u64,
    /// The uid that may change it.
    uid: u32,
    /// Tick at which the lease ends.
    until: u64,
}

/// The directory.
pub struct Directory {
    entries: [Entry; NAMES],
}

impl Directory {
    /// Creates an empty directory.
    pub const fn new() -> Self {
        Self { entries: [Entry { name: 0, port: 0, uid: 0, until: 0 }; NAMES] }
    }

    /// Returns the port of a name at tick `now`; 0 if there is none.
    pub fn find(&self, name: u64, now: u64) -> u64 {
        self.entries
            .iter()
            .find(|entry| entry.until > now && entry.name == name)
            .map_or(0, |entry| entry.port)
    }

    /// Enters a name at tick `now`, or renews it, unless it belongs to another uid and `uid` is not root's.
    /// Returns the port, or 0 if it was refused or there is no room.
    #[must_use]
    pub fn enter(&mut self, name: u64, port: u64, uid: u32, now: u64) -> u64 {
        let own = self.entries.iter_mut().position(|entry| entry.until > now && entry.name == name);
        let place = own.or_else(|| self.entries.iter().position(|entry| entry.until <= now));
        let Some(entry) = place.and_then(|place| self.entries.get_mut(place)) else { return 0 };
        if own.is_some() && entry.uid != uid && uid != 0 {
            return 0;
        }
        *entry = Entry { name, port, uid, until: now.saturating_add(LEASE) };
        port
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    #[test]
    fn an_entry_holds_for_its_time_and_can_be_renewed() {
        let mut directory = Directory::new();
        assert_eq!(directory.enter(7, 5000, 1000, 10), 5000);
        assert_eq!([10, 9 + LEASE, 10 + LEASE].map(|now| directory.find(7, now)), [5000, 5000, 0]);
        assert_eq!(directory.enter(7, 5001, 1000, 50), 5001);
        assert_eq!([10 + LEASE, 50 + LEASE].map(|now| directory.find(7, now)), [5001, 0]);
    }

    #[test]
    fn only_root_takes_a_name_from_somebody_else_while_it_holds() {
        let mut directory = Directory::new();
        assert_eq!(directory.enter(7, 5000, 1000, 0), 5000);
        assert_eq!((directory.enter(7, 6000, 1001, 1), directory.find(7, 1)), (0, 5000));
        assert_eq!((directory.enter(7, 6000, 0, 1), directory.find(7, 1)), (6000, 6000));
        assert_eq!(directory.enter(7, 5000, 1001, 1 + LEASE), 5000, "it has become free");
    }

    #[test]
    fn a_full_directory_refuses_until_somebodys_time_is_over() {
        let mut directory = Directory::new();
        for name in 0..NAMES as u64 {
            assert_eq!(directory.enter(name, 1, 1000, name), 1);
        }
        assert_eq!(directory.enter(99, 1, 1000, LEASE - 1), 0);
        assert_eq!(directory.enter(99, 1, 1000, LEASE), 1, "the first is gone");
    }

    proptest! {
        #[test]
        fn it_is_a_map_that_forgets(
            steps in prop::collection::vec((0u64..40, 1u64..9, 0u32..3, 0u64..9), 0..300)
        ) {
            let mut directory = Directory::new();
            let mut model: BTreeMap<u64, (u64, u32, u64)> = BTreeMap::new();
            let mut now = 0;
            for (name, port, uid, passed) in steps {
                now += passed;
                model.retain(|_, (.., until)| *until > now);
                let allowed = match model.get(&name) {
                    Some((_, owner, _)) => *owner == uid || uid == 0,
                    None => model.len() < NAMES,
                };
                if allowed {
                    model.insert(name, (port, uid, now + LEASE));
                }
                prop_assert_eq!(directory.enter(name, port, uid, now), if allowed { port } else { 0 });
                let found: Vec<_> = (0..40).map(|name| directory.find(name, now)).collect();
                let expected: Vec<_> = (0..40).map(|name| model.get(&name).map_or(0, |entry| entry.0)).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}

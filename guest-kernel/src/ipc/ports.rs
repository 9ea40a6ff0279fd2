//! The port table.

use abi::Pid;

use super::mail::Mail;
use crate::base::queue::Queue;

/// Ports that can be bound at once.
pub(crate) const PORTS: usize = 64;

/// A bound port.
#[derive(Clone, Copy)]
pub(crate) struct Port {
    /// Its number; 0 for a closed port.
    pub number: u64,
    /// Whose it is.
    pub owner: Pid,
    pub(crate) senders: Queue,
    /// Its datagrams.
    pub mail: Mail,
}

/// No port.
pub(crate) const CLOSED: Port =
    Port { number: 0, owner: Pid::NONE, senders: Queue::EMPTY, mail: Mail::EMPTY };

/// All ports.
pub(crate) struct Ports {
    /// Bound and closed ports.
    pub bound: [Port; PORTS],
    /// One past the last place that was ever used.
    pub count: usize,
}

impl Ports {
    /// None.
    pub(crate) const fn new() -> Self {
        Self { bound: [CLOSED; PORTS], count: 0 }
    }

    /// The place of the port with this number.
    pub(crate) fn find(&self, number: u64) -> Option<usize> {
        // A closed place has number 0.
        self.bound[..self.count].iter().position(|port| port.number == number && number != 0)
    }

    /// The same, for one who has most likely named the port at place `last` before.
    #[inline(always)]
    pub(crate) fn find_again(&self, number: u64, last: u32) -> Option<usize> {
        let last = last as usize % PORTS;
        if self.bound[last].number == number && number != 0 { Some(last) } else { self.find(number) }
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
impl Ports {
    /// The ports that are bound: place in the table, number, owner, and who waits there.
    pub(crate) fn list(&self) -> impl Iterator<Item = (usize, u64, Pid, Queue)> {
        let open = self.bound[..self.count].iter().enumerate().filter(|(_, port)| port.number != 0);
        open.map(|(place, port)| (place, port.number, port.owner, port.senders))
    }
}

//! Flows: which process sends to which port, how much, and how much of it arrived damaged. A table for
//! outside readers.
//!
//! A flow is looked up in a few places only, which its sender and port determine: this is on the path of
//! every message. When all of them are taken, the flow that was silent for longest is replaced.

use abi::Pid;
use abi::flow::Flow;

/// Places in which a flow may be.
const PLACES: usize = 4;

/// The flow from `from` to `port`, in `table`, or a free or the oldest place for it.
#[inline(always)]
fn place(table: &[Flow], from: Pid, port: u32) -> usize {
    let first = (from.0 ^ from.0 >> 16).wrapping_mul(31).wrapping_add(port.wrapping_mul(7)) as usize;
    let mut best = first % table.len();
    for step in 0..PLACES {
        let here = (first + step) % table.len();
        let flow = &table[here];
        if flow.from == from && flow.port == port {
            return here;
        }
        let (free, oldest) = (flow.from == Pid::NONE, table[best].last);
        if table[best].from != Pid::NONE && (free || flow.last < oldest) {
            best = here;
        }
    }
    best
}

/// One more message.
#[inline(always)]
pub(super) fn count(table: &mut [Flow], (from, to): (Pid, Pid), port: u64, bytes: u64, tick: u64) {
    let port = port as u32;
    let flow = &mut table[place(table, from, port)];
    if flow.from != from || flow.port != port {
        *flow = Flow { from, port, ..Flow::default() };
    }
    flow.to = to;
    flow.last = tick as u32;
    flow.messages = flow.messages.wrapping_add(1);
    flow.bytes += bytes;
}

/// A message has arrived damaged.
pub(super) fn damaged(table: &mut [Flow], from: Pid, port: u64) {
    let flow = &mut table[place(table, from, port as u32)];
    if flow.from == from && flow.port == port as u32 {
        flow.damaged += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec;

    const SERVER: Pid = Pid::new(1, 0);

    #[test]
    fn a_full_neighbourhood_forgets_the_flow_that_was_silent_longest() {
        let mut table = vec![Flow::default(); PLACES];
        for tick in 1..=4 {
            count(&mut table, (Pid::new(tick as usize, 0), SERVER), 2000, 0, tick);
        }
        count(&mut table, (Pid::new(1, 0), SERVER), 2000, 0, 5);
        count(&mut table, (Pid::new(9, 0), SERVER), 2000, 8, 6);
        let mut left: vec::Vec<_> = table.iter().map(|flow| (flow.from.slot(), flow.messages)).collect();
        left.sort_unstable();
        assert_eq!(left, [(1, 2), (3, 1), (4, 1), (9, 1)]);
        // A flow that was forgotten is not another's damage.
        damaged(&mut table, Pid::new(2, 0), 2000);
        assert!(table.iter().all(|flow| flow.damaged == 0));
    }

    proptest! {
        #[test]
        fn few_flows_are_counted_without_loss(
            messages in prop::collection::vec((1usize..30, 0u64..2, 0u64..300, any::<bool>()), 0..200)
        ) {
            let mut table = vec![Flow::default(); 256];
            let mut model: BTreeMap<(Pid, u32), (u32, u64, u32)> = BTreeMap::new();
            for (tick, (slot, port, bytes, damage)) in messages.into_iter().enumerate() {
                let from = Pid::new(slot, 3);
                count(&mut table, (from, SERVER), 2000 + port, bytes, tick as u64);
                let flow = model.entry((from, 2000 + port as u32)).or_default();
                (flow.0, flow.1) = (flow.0 + 1, flow.1 + bytes);
                if damage {
                    damaged(&mut table, from, 2000 + port);
                    flow.2 += 1;
                }
            }
            let seen: BTreeMap<_, _> = table
                .iter()
                .filter(|flow| flow.from != Pid::NONE)
                .map(|flow| ((flow.from, flow.port), (flow.messages, flow.bytes, flow.damaged)))
                .collect();
            prop_assert_eq!(seen, model);
        }
    }
}

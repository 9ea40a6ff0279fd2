//! `berserk`: the monitor restarts the same service again and again while memory runs out.

use std::collections::BTreeMap;

use abi::Pid;
use abi::trace::{Kind, Record};
use serde_json::{Value, json};

use super::detector::Detector;
use super::known::Known;

/// Ticks within which the restarts must lie.
const WINDOW: u32 = 256;

/// Reached when the monitor orders a service to be started again (event `monitor-restart`) for the third time within
/// [`WINDOW`] ticks, and fewer frames are free at the third order than at the first. Each of the three is for another
/// process of the service: an order that is only repeated, because the guest could not carry it out, does not count.
#[derive(Default)]
pub(super) struct Berserk {
    /// For each service its last orders, three at most. The monitor itself orders no more services than a table has.
    orders: BTreeMap<u32, Vec<Order>>,
}

#[derive(Clone, Copy)]
struct Order {
    tick: u32,
    last: Pid,
    free_frames: u32,
}

impl Detector for Berserk {
    fn event(&mut self, record: &Record, known: &Known) -> Option<Value> {
        if Kind::from_raw(record.kind) != Some(Kind::MonitorRestart) {
            return None;
        }
        let orders = self.orders.entry(record.a).or_default();
        if orders.last().is_some_and(|order| order.last == record.pid) {
            return None;
        }
        if orders.len() == 3 {
            orders.remove(0);
        }
        orders.push(Order { tick: record.tick, last: record.pid, free_frames: known.free_frames() });
        let [first, _, third] = orders[..] else { return None };
        if third.tick.saturating_sub(first.tick) > WINDOW || third.free_frames >= first.free_frames {
            return None;
        }
        let order = |order: &Order| json!({"tick": order.tick, "last_process": known.who(order.last), "free_frames": order.free_frames});
        Some(json!({"service": record.a, "orders": orders.iter().map(order).collect::<Vec<_>>()}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beats::testing::{World, pid};

    /// Orders of a service: tick, service, last process, free frames at that moment.
    fn told(orders: &[(u32, u32, usize, u32)]) -> Option<Value> {
        let mut world = World::<Berserk>::new();
        let told = |(tick, service, last, free): &(u32, u32, usize, u32)| {
            world.guest.info.free_frames = *free;
            world.audit((*tick).into());
            world.event(Kind::MonitorRestart, *tick, pid(*last), [(*service).into(), 0, 0])
        };
        orders.iter().filter_map(told).last()
    }

    #[test]
    fn three_restarts_of_one_service_while_memory_falls() {
        let evidence = told(&[(10, 4, 1, 90), (100, 4, 2, 95), (266, 4, 3, 89)]).unwrap();
        assert_eq!((&evidence["service"], &evidence["orders"][2]["free_frames"]), (&4.into(), &89.into()));
        // Any three in a row.
        assert!(told(&[(1, 4, 1, 9), (300, 4, 2, 90), (310, 4, 3, 80), (320, 4, 5, 70)]).is_some());
    }

    #[test]
    fn nearly_berserk() {
        assert_eq!(told(&[(10, 4, 1, 90), (20, 4, 2, 80)]), None, "twice");
        assert_eq!(told(&[(10, 4, 1, 90), (20, 5, 2, 80), (30, 4, 3, 70)]), None, "another service");
        assert_eq!(
            told(&[(10, 4, 1, 90), (20, 4, 1, 80), (30, 4, 1, 70)]),
            None,
            "one restart, ordered three times"
        );
        assert_eq!(told(&[(10, 4, 1, 90), (20, 4, 2, 80), (267, 4, 3, 70)]), None, "too slowly");
        assert_eq!(told(&[(10, 4, 1, 90), (20, 4, 2, 80), (30, 4, 3, 90)]), None, "memory does not fall");
    }
}

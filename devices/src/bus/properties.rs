//! Properties of the bus under arbitrary accesses.

use proptest::prelude::*;

use super::*;

fn bus() -> Bus<Vec<u8>> {
    Bus::new(Vec::new(), Timeout::Ticks(10), Stages::default())
}

#[derive(Clone, Debug)]
enum Access {
    Write(u16, Vec<u8>),
    Read(u16, usize),
    WriteString(u16, usize, Vec<u8>),
    ReadString(u16, usize, usize),
    Input(Vec<u8>),
    Advance(u64),
    Flush,
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![
        3 => 0x3f0_u16..0x402,
        1 => 0x43e_u16..0x446,
        1 => 0x5e_u16..0x66,
        1 => 0xf0_u16..0x100,
        1 => any::<u16>(),
        1 => 0xfffc_u16..=0xffff,
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..100)
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<[u8; 1]>().prop_map(Vec::from),
        any::<[u8; 2]>().prop_map(Vec::from),
        any::<[u8; 4]>().prop_map(Vec::from),
        prop::collection::vec(any::<u8>(), 0..9),
    ]
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![
        6 => (port(), data()).prop_map(|(port, data)| Access::Write(port, data)),
        4 => (port(), 0_usize..9).prop_map(|(port, width)| Access::Read(port, width)),
        2 => (port(), 0_usize..9, bytes()).prop_map(|(port, width, data)| Access::WriteString(port, width, data)),
        1 => (port(), 0_usize..9, 0_usize..100).prop_map(|(port, width, len)| Access::ReadString(port, width, len)),
        1 => bytes().prop_map(Access::Input),
        1 => any::<u64>().prop_map(Access::Advance),
        1 => Just(Access::Flush),
    ]
}

/// Makes an access; returns its actions and the data read.
fn make(bus: &mut Bus<Vec<u8>>, access: &Access) -> (Vec<Action>, Vec<u8>) {
    let (mut actions, mut data) = (Vec::new(), Vec::new());
    match access {
        Access::Write(port, data) => actions.push(bus.write(*port, data)),
        Access::Read(port, width) => {
            data.resize(*width, 0);
            actions.push(bus.read(*port, &mut data));
        }
        Access::WriteString(port, width, data) => {
            bus.write_string(*port, *width, data, |action| actions.push(action));
        }
        Access::ReadString(port, width, len) => {
            data.resize(*len, 0);
            bus.read_string(*port, *width, &mut data, |action| actions.push(action));
        }
        Access::Input(data) => actions.push(bus.serial.queue_input(data)),
        Access::Advance(ticks) => {
            let _ = bus.watchdog.advance(*ticks);
        }
        Access::Flush => bus.serial.flush(),
    }
    actions.retain(|action| !action.is_none());
    (actions, data)
}

proptest! {
    #[test]
    fn no_access_panics_and_each_stray_port_is_reported_once(
        accesses in prop::collection::vec(access(), 0..200)
    ) {
        let mut bus = bus();
        let mut reported = Vec::new();
        for access in &accesses {
            for action in make(&mut bus, access).0 {
                if let Action::Stray { port, .. } = action {
                    reported.push(port);
                }
            }
        }
        reported.sort_unstable();
        prop_assert_eq!(reported, bus.strays().ports().collect::<Vec<_>>());
        let counters = bus.counters();
        prop_assert!(counters.stray_reads + counters.stray_writes >= bus.strays().ports().count() as u64);
        prop_assert!(bus.serial.finish().is_ok());
        prop_assert_eq!(bus.serial.bytes_sent(), bus.serial.output().len() as u64);
    }

    #[test]
    fn the_same_accesses_from_a_restored_state_give_the_same(
        before in prop::collection::vec(access(), 0..50),
        after in prop::collection::vec(access(), 0..50),
    ) {
        let (mut first, mut second) = (bus(), bus());
        for access in &before {
            let _ = make(&mut first, access);
        }
        let state = first.state();
        second.restore(&state);
        first.restore(&state);
        prop_assert_eq!(&second.state(), &state);
        for access in &after {
            prop_assert_eq!(make(&mut first, access), make(&mut second, access));
        }
        prop_assert_eq!(first.state(), second.state());
        first.restore(&state);
        prop_assert_eq!(first.state(), state);
    }

    #[test]
    fn a_string_does_what_its_single_accesses_do(
        before in prop::collection::vec(access(), 0..30),
        port in port(),
        width in prop::sample::select(vec![1_usize, 2, 4]),
        data in bytes(),
    ) {
        let (mut string, mut single) = (bus(), bus());
        for access in &before {
            let _ = (make(&mut string, access), make(&mut single, access));
        }
        let (mut string_actions, mut single_actions) = (Vec::new(), Vec::new());
        string.write_string(port, width, &data, |action| string_actions.push(action));
        for access in data.chunks_exact(width) {
            let action = single.write(port, access);
            if !action.is_none() {
                single_actions.push(action);
            }
            if action.ends_guest() {
                break;
            }
        }
        prop_assert_eq!(string_actions, single_actions);
        prop_assert_eq!(string.state(), single.state());
        prop_assert_eq!(string.serial.bytes_sent(), single.serial.bytes_sent());
        prop_assert_eq!(string.serial.into_output(), single.serial.into_output());
    }
}

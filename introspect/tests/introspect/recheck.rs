//! Compares a check of possible changes with a check of everything.

use abi::frame::{FrameEntry, FrameKind};
use abi::loan::{LOAN_ACTIVE, Loan};
use abi::process::{Descriptor, State};
use abi::{Frame, GuestPhys, GuestVirt, Pid};
use introspect::matrix::guest::{News, Process};
use introspect::matrix::policy::Preset;
use introspect::matrix::{Guest, Policy, What};
use introspect::x86::{Followed, Paging, ReverseMap};
use proptest::prelude::*;
use zerocopy::FromZeros;

use crate::follow::{Change, FRAMES, World, changes};

/// Further changes of a guest: of its frame table, loans and processes.
#[derive(Clone, Debug)]
enum Event {
    Page(Change),
    Fact(u64, u8, usize),
    Lend(u64, usize, usize, bool),
    Unlend,
    Process(usize, u64),
    Bury(usize),
    Log(u64),
}

fn events() -> impl Strategy<Value = Event> {
    let kinds = [0, 1, 2, 4, 5, 6, 8, 8, 8, 8, 10, 11, 99];
    prop_oneof![
        8 => changes().prop_map(Event::Page),
        4 => (1..FRAMES, prop::sample::select(kinds.to_vec()), 0..6usize).prop_map(|(a, b, c)| Event::Fact(a, b, c)),
        2 => (24..FRAMES, 1..6usize, 1..6usize, any::<bool>()).prop_map(|(a, b, c, d)| Event::Lend(a, b, c, d)),
        1 => Just(Event::Unlend),
        2 => (1..8usize, 0..FRAMES).prop_map(|(a, b)| Event::Process(a, b)),
        1 => (1..8usize).prop_map(Event::Bury),
        1 => (0..FRAMES).prop_map(Event::Log),
    ]
}

fn apply(world: &mut World, guest: &mut Guest, news: &mut News, event: &Event) {
    match *event {
        Event::Page(ref change) => world.apply(change),
        Event::Fact(frame, kind, owner) => {
            let owner = if owner == 0 { Pid::NONE } else { Pid::new(owner, 1) };
            guest.frames[frame as usize] = FrameEntry { kind, owner, ..FrameEntry::default() };
            news.facts.push(Frame(frame));
        }
        Event::Lend(frame, lender, borrower, window) => {
            let at = |here| GuestVirt(if here { 0x1000 } else { 0 });
            guest.loans.push(Loan {
                state: LOAN_ACTIVE,
                id: frame as u32,
                lender: Pid::new(lender, 1),
                borrower: Pid::new(borrower, 1),
                source: at(!window),
                window: at(window),
                pages: 1,
                frames: [frame as u32; 4],
                ..Loan::default()
            });
            news.loans = true;
        }
        Event::Unlend => news.loans |= guest.loans.pop().is_some(),
        Event::Process(slot, frame) => {
            let mut descriptor = Descriptor::new_zeroed();
            descriptor.pid = Pid::new(slot, 1);
            (descriptor.root, descriptor.state) = (1, State::Ready as u8);
            descriptor.context.rsp = abi::layout::DIRECT_MAP + (frame << 12) + 8;
            guest.processes.push(Process { frame: Frame(frame), descriptor });
            news.processes = true;
        }
        Event::Bury(nth) => {
            if nth < guest.processes.len() {
                guest.processes.remove(nth);
                news.processes = true;
            }
        }
        Event::Log(frame) => {
            guest.info.grant_log = Frame(frame).base();
            news.processes = true;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn what_is_judged_again_is_as_if_all_were(
        rounds in prop::collection::vec(prop::collection::vec(events(), 0..10), 1..12),
        linux: bool,
    ) {
        let preset = if linux { Preset::PageTableCheck } else { Preset::Strict };
        let mut world = World::new();
        let mut guest = Guest::default();
        guest.frames = vec![FrameEntry::default(); FRAMES as usize];
        for frame in 1..24 {
            guest.frames[frame].kind = FrameKind::PageTable as u8;
        }
        guest.info_at = GuestPhys(0x1000);
        let mut followed = Followed::new(Paging::default(), ReverseMap::BUDGET);
        let (mut policy, mut findings) = (Policy::new(preset), Vec::new());
        let mut news = News { everything: true, ..News::default() };
        for events in &rounds {
            events.iter().for_each(|event| apply(&mut world, &mut guest, &mut news, event));
            guest.info.tick += 1;
            followed.update(&world.machine.memory, &world.spaces, &world.changed);
            world.changed.clear();
            policy.recheck_guest(&followed, &guest, &news, &mut findings);
            news = News::default();
            let (mut whole, mut expected) = (Policy::new(preset), Vec::new());
            whole.check_guest(followed.map(), &guest, &mut expected);
            prop_assert_eq!(&findings, &expected);
            for what in What::ALL {
                prop_assert_eq!(policy.tally(what), whole.tally(what));
            }
        }
    }
}

//! Whatever programs do: any system call with any arguments, any access, any exception, by whoever runs.

use std::vec::Vec;

use abi::layout::{LOAN_PAGES, PAGE_SIZE, USER_DATA, USER_HEAP, USER_STACK, USER_TEXT, USER_WINDOWS};
use abi::process::{PROCESS_SLOTS, State};
use abi::syscall::Call;
use abi::{Frame, Pid};
use proptest::prelude::*;

use super::machine::Access;
use super::matrix::{BARE, Matrix, PLAIN, PROGRAMS};
use crate::base::index::Slot;
use abi::compat::{V1_EXIT, V1_NICE, V2_EXIT, V2_STAT};

/// Ports that are bound from the beginning.
const PORTS: core::ops::Range<u64> = 2000..2002;
const REGIONS: [u64; 5] = [USER_DATA, USER_STACK, USER_WINDOWS, USER_HEAP, USER_TEXT];

/// An argument.
#[derive(Clone, Copy, Debug)]
enum Word {
    Raw(u64),
    /// The pid of one of those that are there.
    Somebody(usize),
    /// The pid of one that awaits the caller's reply.
    Waiter,
    /// The caller's port.
    Port,
}

/// What the running program does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Call(u64, [Word; 6]),
    Touch(u64, Access),
    Write(u64, u64),
    Exception(u64),
}

fn address() -> impl Strategy<Value = u64> {
    let near =
        (prop::sample::select(&REGIONS[..]), 0u64..5).prop_map(|(start, page)| start + page * PAGE_SIZE);
    prop_oneof![12 => near, 1 => any::<u64>()]
}

fn window() -> impl Strategy<Value = u64> {
    (0u64..8).prop_map(|place| USER_WINDOWS + place * LOAN_PAGES as u64 * PAGE_SIZE)
}

fn word() -> impl Strategy<Value = Word> {
    prop_oneof![
        (0u64..10).prop_map(Word::Raw),
        PORTS.prop_map(Word::Raw),
        (0usize..PROCESS_SLOTS).prop_map(Word::Somebody),
        Just(Word::Waiter),
        Just(Word::Port),
        address().prop_map(Word::Raw),
        any::<u64>().prop_map(Word::Raw),
    ]
}

/// Calls as sensible programs make them.
fn sensible() -> impl Strategy<Value = Step> {
    use Word::{Port, Raw, Somebody, Waiter};
    let none = Raw(0);
    let one = move |call: Call| {
        move |first: u64| Step::Call(call as u64, [Raw(first), none, none, none, none, none])
    };
    let message = (PORTS, 0..2 * PAGE_SIZE, 0u64..9).prop_map(|(port, bytes, ticks)| {
        Step::Call(Call::Call as u64, [port, 1, 2, USER_DATA, bytes, ticks].map(Raw))
    });
    let reply = prop::sample::select(&[Port, Port, Raw(0)][..])
        .prop_map(move |port| Step::Call(Call::Reply as u64, [Waiter, none, none, port, none, none]));
    let receive = Step::Call(Call::Receive as u64, [Port, none, none, none, none, none]);
    let birth = (0..PROGRAMS as u64, 0u64..2, 2u64..5).prop_map(|(program, uid, priority)| {
        Step::Call(Call::Spawn as u64, [program, uid, priority, 0, 0, 0].map(Raw))
    });
    let kill = (0usize..PROCESS_SLOTS)
        .prop_map(move |nth| Step::Call(Call::Kill as u64, [Somebody(nth), none, none, none, none, none]));
    prop_oneof![
        8 => message,
        8 => reply,
        3 => Just(receive),
        2 => Just(0).prop_map(one(Call::Yield)),
        2 => birth,
        2 => kill,
        1 => PORTS.prop_map(one(Call::Bind)),
        1 => (0..3 * PAGE_SIZE).prop_map(one(Call::Grow)),
        1 => (0u64..5).prop_map(one(Call::Wait)),
        1 => (0u64..5).prop_map(one(Call::Sleep)),
    ]
}

/// The number of a system call, of this version or an older one.
fn number() -> impl Strategy<Value = u64> {
    let present = Call::ALL.len() as u64;
    prop_oneof![16 => 0..=present, 2 => V1_EXIT..=V1_NICE + 1, 2 => V2_EXIT..=V2_STAT + 1]
}

fn step() -> impl Strategy<Value = Step> {
    let access = prop::sample::select(&[Access::Read, Access::Write, Access::Fetch][..]);
    prop_oneof![
        40 => sensible(),
        8 => (window(), any::<u64>()).prop_map(|(at, value)| Step::Write(at, value)),
        4 => (number(), prop::array::uniform6(word())).prop_map(|(call, words)| Step::Call(call, words)),
        1 => (address(), access).prop_map(|(at, access)| Step::Touch(at, access)),
        1 => prop::sample::select(&[0u64, 6, 13, 14, 200, u64::MAX][..]).prop_map(Step::Exception),
    ]
}

/// A small world with little memory, and a keeper that sees to it that there is always somebody.
struct World {
    m: Matrix,
    keeper: Pid,
}

impl World {
    fn new(line: &str) -> Self {
        let mut m = Matrix::boot(90, line);
        let servers = PORTS.map(|port| (m.spawn(PLAIN, 100, 3), port)).collect::<Vec<_>>();
        for nth in 0..6 {
            m.spawn(nth % PROGRAMS, nth as u32 % 3, 3);
        }
        let keeper = m.spawn(BARE, 0, 7);
        m.schedule();
        for (server, port) in servers {
            m.turn_to(server);
            m.act(server, Call::Bind, &[port]);
        }
        Self { m, keeper }
    }

    /// Everybody but the keeper.
    fn slots(&self) -> Vec<Slot> {
        let keeper = Slot::of(self.keeper);
        self.m.kernel.named_slots().into_iter().filter(|slot| *slot != keeper).collect()
    }

    fn resolve(&mut self, word: Word) -> u64 {
        let all = self.slots();
        let (me, m) = (self.m.running(), &mut self.m);
        let pid = match word {
            Word::Raw(raw) => return raw,
            Word::Port => return m.kernel.ports().list().find(|port| port.2 == me).map_or(0, |port| port.1),
            Word::Somebody(nth) => (!all.is_empty()).then(|| all[nth % all.len()]),
            Word::Waiter => all.into_iter().find(|slot| {
                let process = m.kernel.process(*slot);
                process.d.state == State::AwaitingReply as u8 && process.d.peer == me
            }),
        };
        pid.map_or(0, |slot| u64::from(m.kernel.process(slot).d.pid.0))
    }

    /// One access: what is behind it, or a page fault.
    fn access(&mut self, at: u64, access: Access) -> Option<Frame> {
        let found = self.m.kernel.hw().access(at, access);
        found.map_err(|error| self.m.exception(14, error, at)).ok()
    }

    fn step(&mut self, step: Step) {
        if self.m.running() == self.keeper {
            match step {
                Step::Call(number, _) if number % 2 == 1 => {
                    self.m.call(Call::Spawn as u64, &[number % 3, number % 2, number % 7]);
                }
                Step::Call(..) => self.m.call(Call::Sleep as u64, &[1]),
                _ => self.m.call(Call::Wait as u64, &[1]),
            }
            return;
        }
        match step {
            Step::Call(number, words) => {
                let arguments = words.map(|word| self.resolve(word));
                // A keeper that is killed keeps nothing.
                if (number, arguments[0]) != (Call::Kill as u64, u64::from(self.keeper.0)) {
                    self.m.call(number, &arguments);
                }
            }
            Step::Touch(at, access) => _ = self.access(at, access),
            Step::Write(at, value) => {
                let frame = self.access(at, Access::Write);
                // Once the quarantine is broken, a write may go anywhere: that is the bug.
                if let Some(frame) = frame.filter(|_| self.m.counters().early_reuses == 0) {
                    self.m.kernel.hw().write_word(frame, at, value);
                }
            }
            Step::Exception(vector) => self.m.exception(vector, 0, 0),
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nothing_that_programs_do_harms_the_kernel(steps in steps(), ticks in 1u32..20) {
        let mut world = World::new(&std::format!("tick-entries={ticks} fix.pager=1"));
        steps.into_iter().for_each(|step| world.step(step));
        prop_assert_eq!(world.m.counters().early_reuses, 0);
    }

    #[test]
    fn without_the_fix_only_the_quarantine_breaks(steps in steps(), ticks in 1u32..20) {
        let mut world = World::new(&std::format!("tick-entries={ticks}"));
        steps.into_iter().for_each(|step| world.step(step));
        let early = world.m.counters().early_reuses;
        let given = world.m.traced(abi::trace::Kind::Given);
        let broken = given.iter().filter(|record| record.c == crate::mem::pager::Source::Early as u64).count();
        prop_assert_eq!(early, broken as u64);
    }

    #[test]
    fn the_same_steps_leave_the_same_trace_whatever_processes_are_called(steps in steps()) {
        let run = |name: [u8; 16]| {
            let mut world = World::new("tick-entries=5");
            world.m.watchful = false;
            for step in &steps {
                for slot in world.slots() {
                    world.m.kernel.process(slot).d.name = name;
                }
                world.step(*step);
            }
            world.m.events
        };
        prop_assert_eq!(run(*b"the-one\0\0\0\0\0\0\0\0\0"), run([0; 16]));
    }
}

//! Nonsense from a program that has no rights at all: wrong numbers, wild and odd addresses, the kernel's,
//! lengths that are negative or go beyond everything, pids of the dead, of nobody and of the kernel, ports of
//! others. Each call comes to a known answer, a refusal is counted and traced, and nobody else loses
//! anything.

use std::vec::Vec;

use abi::Pid;
use abi::layout::{
    DIRECT_MAP, KERNEL_BASE, PAGE_SIZE, USER_DATA, USER_END, USER_HEAP, USER_HEAP_END, USER_STACK,
    USER_STATE, USER_TEXT, USER_WINDOWS,
};
use abi::process::State;
use abi::syscall::{Call, Error, PORT_KEYS};
use abi::trace::Kind;
use proptest::prelude::*;

use super::matrix::{BARE, Matrix, PLAIN, TIMELESS};

const PORT: u64 = 2000;
const PRIVILEGED: u64 = 700;
/// What everybody has in memory.
const MARK: u64 = 0x1234_5678_9abc_def0;

/// Addresses that are right for some calls and lengths.
const ODD: [u64; 6] =
    [USER_DATA, USER_DATA + 8, USER_DATA + PAGE_SIZE - 8, USER_STACK, USER_TEXT, USER_TEXT + PAGE_SIZE - 8];
/// Addresses that are right for none: the fool has text, a page of data and a stack.
const BAD: [u64; 18] = [
    0,
    8,
    USER_TEXT - 8,
    USER_DATA + 1,
    USER_DATA + 4,
    USER_DATA + PAGE_SIZE,
    USER_STATE,
    USER_WINDOWS,
    USER_HEAP,
    USER_HEAP_END - 8,
    USER_END - 8,
    USER_END,
    1 << 47,
    u64::MAX << 47,
    DIRECT_MAP,
    KERNEL_BASE + 0x10_0000,
    u64::MAX - 7,
    u64::MAX,
];
/// Lengths: small, too large by one, huge, and negative.
const LENGTHS: [u64; 14] = [
    1,
    7,
    8,
    9,
    240,
    241,
    256,
    257,
    PAGE_SIZE,
    4 * PAGE_SIZE + 1,
    1 << 32,
    1 << 63,
    8u64.wrapping_neg(),
    u64::MAX,
];
const NUMBERS: [u64; 10] = [0, 1, 2, 3, 41, 255, 256, u32::MAX as u64, u32::MAX as u64 + 1, i64::MIN as u64];

/// A world in which others wait, serve, lend, sleep and are dead; and a fool, who runs.
struct Fools {
    m: Matrix,
    fool: Pid,
    others: Vec<Pid>,
    /// Whatever makes no sense as an argument, or only by chance.
    words: Vec<u64>,
}

impl Fools {
    fn new() -> Self {
        let mut m = Matrix::boot(300, TIMELESS);
        let server = m.spawn(PLAIN, 0, 2);
        let root = m.spawn(PLAIN, 0, 3);
        let [lender, sleeper] = [3, 3].map(|priority| m.spawn(PLAIN, 1001, priority));
        let kernel = m.spawn_kernel(7);
        m.schedule();
        m.ok(server, Call::Bind, &[PRIVILEGED]);
        m.ok(server, Call::Bind, &[PORT]);
        m.act(server, Call::Receive, &[PORT]);
        // A dead child that nobody has asked for, and a pid whose slot another has now.
        let zombie = m.ok(root, Call::Spawn, &[BARE as u64, 1000, 5]);
        m.ok(root, Call::Kill, &[zombie]);
        let stale = m.spawn(BARE, 1001, 1);
        m.act(root, Call::Yield, &[]);
        m.act(stale, Call::Exit, &[]);
        let heir = m.spawn(BARE, 1001, 6);
        assert_eq!((heir.slot(), heir == stale), (stale.slot(), false));
        m.turn_to(root);
        m.act(root, Call::Sleep, &[u64::MAX]);
        for pid in [lender, sleeper] {
            m.turn_to(pid);
            m.write(USER_DATA, MARK).expect("it has data");
        }
        m.act(sleeper, Call::Sleep, &[u64::MAX]);
        m.act(lender, Call::Call, &[PORT, 1, 2, USER_DATA, PAGE_SIZE]);
        m.act(server, Call::Receive, &[PORT]);
        let fool = m.spawn(PLAIN, 1002, 4);
        m.schedule();
        m.write(USER_DATA, !MARK).expect("it has data");
        assert_eq!((m.running(), m.state(lender)), (fool, Some(State::AwaitingReply)));

        let others = [server, root, lender, sleeper, kernel, heir].to_vec();
        let mut words = [&ODD[..], &BAD, &LENGTHS, &NUMBERS].concat();
        words.extend([PORT, PRIVILEGED, PORT_KEYS, 7, 3000, 65_535, 65_536]);
        let pids = others.iter().copied().chain([fool, stale]).map(|pid| u64::from(pid.0)).chain([zombie]);
        words.extend(pids.flat_map(|pid| [pid, pid + (1 << 16), pid | 1 << 32]));
        Self { m, fool, others, words }
    }

    /// The fool makes a call. If it goes on at once, it has a known answer.
    fn call(&mut self, number: u64, arguments: &[u64]) {
        let (refusals, traced) = (self.m.counters().refusals, self.m.traced(Kind::Refused).len());
        self.m.call(number, arguments);
        if self.m.running() != self.fool {
            return;
        }
        let status = self.m.status(self.fool);
        let error = Error::from_raw(status);
        assert!(status == 0 || error.is_some(), "{status:#x} is no answer");
        let refused = u64::from(error.is_some());
        assert_eq!(self.m.counters().refusals, refusals + refused, "refusals are counted");
        assert_eq!(self.m.traced(Kind::Refused).len() as u64, traced as u64 + refused);
        if let Some(error) = error {
            let record = self.m.last(Kind::Refused);
            assert_eq!(
                (record.pid, record.a, record.b),
                (self.fool, number as u32, error as u64),
                "{number:#x} {arguments:x?}"
            );
        }
    }

    /// Nobody else has lost anything, and the fool has gained nothing.
    fn check(&mut self) {
        let rights = [(0, 2), (0, 3), (1001, 3), (1001, 3), (0, 7), (1001, 6)];
        for (pid, (uid, priority)) in self.others.clone().into_iter().zip(rights) {
            assert!(self.m.alive(pid), "{pid} was ended");
            let d = &self.m.process(pid).d;
            assert_eq!((d.uid, d.priority, d.keys), (uid, priority, 0), "{pid}");
        }
        for pid in &self.others[2..4] {
            assert_eq!(self.m.peek(*pid, USER_DATA), Some(MARK), "the memory of {pid}");
        }
        if self.m.alive(self.fool) {
            let d = &self.m.process(self.fool).d;
            assert_eq!((d.uid, d.priority, d.keys), (1002, 4, 0));
        }
    }
}

/// Calls that take an address and a length, as they are made with both.
fn with_buffer(call: Call, at: u64, bytes: u64, other: u64) -> Vec<[u64; 6]> {
    match call {
        Call::Call => [[PORT, 1, 2, at, bytes, 1]].to_vec(),
        Call::Post => [[PORT, at, bytes, 1, 0, 0]].to_vec(),
        Call::Collect => [[PORT + 1, at, bytes, 1, 0, 0]].to_vec(),
        Call::Examine => [[other, at, USER_DATA, bytes, 0, 0], [other, USER_DATA, at, bytes, 0, 0]].to_vec(),
        _ => unreachable!("it takes no buffer"),
    }
}

#[test]
fn no_call_takes_an_address_that_is_bad_whatever_the_length() {
    let mut world = Fools::new();
    let (fool, sleeper) = (world.fool, u64::from(world.others[3].0));
    // As root it may examine; what is wrong with the address is all that is wrong.
    world.m.ok(fool, Call::Bind, &[PORT + 1]);
    world.m.process(fool).d.uid = 0;
    // One that waits to be collected.
    world.m.ok(fool, Call::Post, &[PORT + 1, USER_DATA, 240]);
    let memory = world.m.peek(fool, USER_DATA);
    for call in [Call::Call, Call::Post, Call::Collect, Call::Examine] {
        for (at, bytes) in BAD.into_iter().flat_map(|at| LENGTHS.map(|bytes| (at, bytes))) {
            for arguments in with_buffer(call, at, bytes, sleeper) {
                world.call(call as u64, &arguments);
                let error = world.m.error(fool);
                let due = matches!(error, Some(Error::Invalid | Error::BadAddress));
                assert!(due && world.m.running() == fool, "{call:?} {arguments:x?} came to {error:?}");
            }
        }
    }
    // The word at the top of a return stack lies below it.
    for top in BAD.into_iter().chain([USER_TEXT]).map(|at| at.wrapping_add(16)) {
        world.call(Call::Handle as u64, &[USER_TEXT, top, USER_TEXT]);
        assert!(matches!(world.m.error(fool), Some(Error::Invalid | Error::BadAddress)), "{top:#x}");
    }
    assert_eq!((world.m.peek(fool, USER_DATA), world.m.counters().loans), (memory, 1));
    world.m.process(fool).d.uid = 1002;
    world.check();
}

#[test]
fn no_call_takes_a_length_that_is_huge_or_negative_whatever_the_address() {
    let mut world = Fools::new();
    let (fool, sleeper) = (world.fool, u64::from(world.others[3].0));
    world.m.ok(fool, Call::Bind, &[PORT + 1]);
    world.m.process(fool).d.uid = 0;
    let huge = LENGTHS.into_iter().filter(|bytes| *bytes > 4 * PAGE_SIZE);
    for (bytes, at) in huge.flat_map(|bytes| ODD.map(|at| (bytes, at))) {
        // Collect says how much room there is: more than a datagram needs does no harm.
        for call in [Call::Call, Call::Post, Call::Examine] {
            for arguments in with_buffer(call, at, bytes, sleeper) {
                world.call(call as u64, &arguments);
                assert_eq!(world.m.error(fool), Some(Error::Invalid), "{call:?} {arguments:x?}");
            }
        }
        world.call(Call::Print as u64, &[bytes]);
        assert_eq!(world.m.error(fool), Some(Error::Invalid), "a line of {bytes:#x} bytes");
        if bytes > USER_HEAP_END - USER_HEAP {
            world.call(Call::Grow as u64, &[bytes]);
            assert_eq!(world.m.error(fool), Some(Error::Invalid), "a heap of {bytes:#x} bytes");
        }
    }
    world.m.process(fool).d.uid = 1002;
    world.check();
}

#[test]
fn numbers_of_no_call_are_refused() {
    let mut world = Fools::new();
    let last = Call::ALL.len() as u64;
    let none = (last..last + 40).chain([1 << 16, 1 << 32, 1 << 63, u64::MAX, u64::MAX - 1]);
    let none = none.filter(|number| Call::from_raw(*number).is_none());
    for number in none {
        world.call(number, &[PORT, USER_DATA, 8]);
        assert_eq!(world.m.error(world.fool), Some(Error::Invalid), "{number:#x}");
    }
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nonsense_gets_a_known_answer_is_counted_and_costs_nobody_anything(
        calls in prop::collection::vec(
            (0usize..1 + Call::ALL.len(), prop::array::uniform6((any::<prop::sample::Index>(), any::<Option<u64>>()))),
            1..30,
        )
    ) {
        let mut world = Fools::new();
        for (nth, arguments) in calls {
            let number = Call::ALL.get(nth).map_or(0x3000, |call| *call as u64);
            let arguments = arguments.map(|(nth, raw)| match raw {
                Some(raw) if raw & 3 == 0 => raw,
                _ => *nth.get(&world.words),
            });
            world.call(number, &arguments);
            world.check();
            // It may wait, or be gone: of its own choice.
            if world.m.running() != world.fool {
                break;
            }
        }
    }
}

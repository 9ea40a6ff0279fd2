//! Tests the kernel from where its users stand: started as root with its own place in the boot module as the argument, it
//! starts instances of itself that each play a part, watches what becomes of them, and prints a line for each test.
//!
//! Besides it the tests need the three Agents, and an instance with the part [`SERVICE`] among the services, which a
//! monitor starts again when it has crashed. The last thing it does is to set the watchdog going.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::Pid;
use abi::agents::{Class, Heuristic};
use abi::layout::{
    DIRECT_MAP, KERNEL_BASE, PAGE_SIZE, USER_END, USER_HEAP, USER_HEAP_END, USER_STACK, USER_TEXT,
    USER_WINDOWS,
};
use abi::process::State;
use abi::syscall::{Call, DATAGRAM_BYTES, Error, Keys, Query, SIGNAL_END};
use guest_kernel::shims::{V1_BRK, V1_EXIT, V1_NICE, V1_SLEEP, V2_EXIT, V2_POST_WORD, V2_STAT, V2_YIELD};
use guest_kernel::user::{
    Lend, NOTHING, SYSTEM, privilege, read_word, restorer, stop, system_call, write_word,
};

guest_kernel::program!(run);

/// Ports: of the one that tests, of the server that is tested, of the service, and one that is nobody's.
const TESTER: u64 = 7000;
const SERVER_PORT: u64 = 7100;
const SERVICE_PORT: u64 = 1500;
const NOBODY: u64 = 7999;
/// Uids: people's, and the system's.
const PERSON: u64 = 1000;
const SYSTEM_UID: u64 = 500;
/// Priority of the parts that are played. The tester is more urgent.
const PRIORITY: u64 = 5;
/// Ticks after which nothing will come any more.
const LATE: u64 = 250;
/// Statuses of those that did not end by themselves: by a fault, by others, by an Agent.
const PAGE_FAULT: u64 = 512 + 14;
const PROTECTION_FAULT: u64 = 512 + 13;
const NO_INSTRUCTION: u64 = 512 + 6;
const KILLED: u64 = 256;
const TAGGED: u64 = 320;
/// What is asked of the server, in the first word.
const ADD: u64 = 1;
const INVERT: u64 = 2;
const IGNORE: u64 = 3;
const LEAVE: u64 = 4;
const CRASH: u64 = 5;
/// Datagrams sent in a row: more than fit in the queue of a port.
const DATAGRAMS: u64 = 20;
const QUEUE: u64 = 8;

/// The parts, in the upper half of the argument; the lower one is the part's own.
const SERVICE: u64 = 1;
const SERVER: u64 = 2;
const SLEEPER: u64 = 3;
const EXITER: u64 = 4;
const STRANGER: u64 = 5;
const POSTER: u64 = 6;
const TRAINED: u64 = 7;
const READER: u64 = 8;
const WRITER: u64 = 9;
const FILLER: u64 = 10;
const HOARDER: u64 = 11;
const DEEP: u64 = 12;
const BYSTANDER: u64 = 13;
const CRASHER: u64 = 14;
const RUNS_HEAP: u64 = 15;
const WANTS_KEYS: u64 = 16;
const WANTS_POWER: u64 = 17;
const WANTS_OFFICE: u64 = 18;
const SHOWS: u64 = 19;
const SCANNER: u64 = 20;
const FORGER: u64 = 21;
const PROBER: u64 = 22;
const HONEST: u64 = 23;
const PHONES: u64 = 24;
const SIGNALLED: u64 = 25;
const COUNTS: u64 = 26;
const WAITS: u64 = 27;
const BUSY_HANDLER: u64 = 28;
const OLD_1: u64 = 29;
const OLD_2: u64 = 30;
const SEEDED: u64 = 31;

/// Signals that came, and the sum of their numbers.
static COUNT: AtomicU64 = AtomicU64::new(0);
static SUM: AtomicU64 = AtomicU64::new(0);

fn run(argument: u64, seed: u64, me: u64) -> ! {
    match argument >> 32 {
        0 => Tests::new(argument, seed, me).all(),
        part => SYSTEM.exit(play(part, argument & 0xffff_ffff, seed, me)),
    }
}

/// Plays a part to its end; gives the status, which is 0 if all was right, and else says what was not.
fn play(part: u64, own: u64, seed: u64, me: u64) -> u64 {
    match part {
        SERVICE => service(own, me),
        SERVER => serve(),
        SLEEPER => sleep(own),
        EXITER => own,
        STRANGER => stranger(),
        POSTER => poster(),
        TRAINED => trained(own),
        READER => reader(own),
        WRITER => writer(),
        FILLER => filler(seed),
        HOARDER => hoarder(own),
        DEEP => deep(own),
        BYSTANDER => bystander(seed),
        CRASHER => stop(),
        RUNS_HEAP => runs_heap(me),
        WANTS_KEYS => u64::from(SYSTEM.ask_for_keys(Keys::WATCHDOG | Keys::PHONE | Keys::AGENT)),
        WANTS_POWER => wants_power(own),
        WANTS_OFFICE => wants_office(own),
        SHOWS => shows(seed),
        SCANNER => scanner(),
        FORGER => forger(),
        PROBER => prober(own),
        HONEST => honest(),
        PHONES => phones(own, me),
        SIGNALLED => signalled_once(own, me),
        COUNTS => counts(),
        WAITS => waits(),
        BUSY_HANDLER => busy_handler(),
        OLD_1 => old_1(own),
        OLD_2 => old_2(own),
        SEEDED => seeded(seed),
        _ => u64::MAX,
    }
}

/// The number of the first check that failed, from 1; 0 if none did.
fn first_wrong(checks: &[bool]) -> u64 {
    checks.iter().position(|right| !right).map_or(0, |nth| nth as u64 + 1)
}

fn pid_of(number: u64) -> Pid {
    Pid(number as u32)
}

/// What `Error` a raw call came to.
fn refusal(call: Call, arguments: [u64; 6]) -> Option<Error> {
    Error::from_raw(system_call(call as u64, arguments).0)
}

fn sleep(ticks: u64) -> u64 {
    SYSTEM.sleep(ticks);
    0
}

// Messages.

fn service(port: u64, me: u64) -> u64 {
    if SYSTEM.bind(port).is_err() {
        return 1;
    }
    loop {
        let Ok(message) = SYSTEM.receive(port) else { return 2 };
        if message.words[0] == CRASH {
            stop();
        }
        let _ = SYSTEM.reply(message.sender, [me, message.words[1]]);
    }
}

fn serve() -> u64 {
    if SYSTEM.bind(SERVER_PORT).is_err() {
        return 1;
    }
    loop {
        let Ok(message) = SYSTEM.receive(SERVER_PORT) else { return 2 };
        let answer = match message.words[0] {
            ADD => [message.words[1] + 1, u64::from(message.uid)],
            INVERT => {
                for at in (message.window..message.window + message.bytes).step_by(8) {
                    write_word(at, !read_word(at));
                }
                [message.bytes, 0]
            }
            IGNORE => continue,
            _ => return 0,
        };
        let _ = SYSTEM.reply(message.sender, answer);
    }
}

fn stranger() -> u64 {
    let Ok(heap) = SYSTEM.grow(1) else { return 100 };
    let room = Lend { at: heap, bytes: 64 };
    first_wrong(&[
        SYSTEM.receive_within(TESTER, 1).err() == Some(Error::Denied),
        SYSTEM.collect(TESTER, room, 1).err() == Some(Error::Denied),
        SYSTEM.bind(TESTER) == Err(Error::Invalid),
        SYSTEM.receive_within(NOBODY, 1).err() == Some(Error::NotFound),
        SYSTEM.bind(80) == Err(Error::Denied),
        SYSTEM.bind(1023) == Err(Error::Denied),
        SYSTEM.bind(1024) == Ok(()),
    ])
}

// Datagrams.

fn datagram_bytes(nth: u64) -> u64 {
    1 + nth * 12 % DATAGRAM_BYTES
}

fn datagram_word(nth: u64, word: u64) -> u64 {
    (nth << 32 | word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn poster() -> u64 {
    let Ok(heap) = SYSTEM.grow(1) else { return 100 };
    for nth in 0..DATAGRAMS {
        for word in 0..DATAGRAM_BYTES / 8 {
            write_word(heap + word * 8, datagram_word(nth, word));
        }
        if SYSTEM.post(TESTER, Lend { at: heap, bytes: datagram_bytes(nth) }, 0).is_err() {
            return 1 + nth;
        }
    }
    0
}

// Scheduling.

/// Has bursts of so many entries, then waits to be told to go.
fn trained(entries: u64) -> u64 {
    let port = SERVER_PORT + 1 + entries;
    if SYSTEM.bind(port).is_err() {
        return 1;
    }
    for _ in 0..8 {
        for _ in 1..entries {
            SYSTEM.rest();
        }
        SYSTEM.sleep(1);
    }
    for _ in 1..entries {
        SYSTEM.rest();
    }
    u64::from(SYSTEM.receive(port).is_err())
}

// Memory.

/// Places that are not its own.
const WILD: [u64; 9] = [
    0,
    USER_TEXT - 8,
    USER_HEAP,
    USER_WINDOWS,
    USER_END,
    DIRECT_MAP,
    DIRECT_MAP + 0x10_0000,
    KERNEL_BASE + 0x10_0000,
    0x8000_0000_0000,
];

fn reader(which: u64) -> u64 {
    let _ = read_word(WILD[which as usize]);
    0
}

fn writer() -> u64 {
    let at = USER_TEXT;
    write_word(at, !read_word(at));
    0
}

fn filler(seed: u64) -> u64 {
    const PAGES: u64 = 32;
    let Ok(heap) = SYSTEM.grow(PAGES) else { return 100 };
    let words = || (heap..heap + PAGES * PAGE_SIZE).step_by(8);
    if words().any(|at| read_word(at) != 0) {
        return 1;
    }
    words().for_each(|at| write_word(at, seed ^ at));
    if words().any(|at| read_word(at) != seed ^ at) {
        return 2;
    }
    0
}

/// Takes all the heap there is; with `beyond` other than 0 it touches what comes after.
fn hoarder(beyond: u64) -> u64 {
    let most = (USER_HEAP_END - USER_HEAP) / PAGE_SIZE;
    let (first, second) = (SYSTEM.grow(1), SYSTEM.grow(2));
    let wrong = first_wrong(&[
        first == Ok(USER_HEAP),
        second == Ok(USER_HEAP + PAGE_SIZE),
        SYSTEM.grow(0) == Err(Error::Invalid),
        SYSTEM.grow(most) == Err(Error::Invalid),
        refusal(Call::Grow, [u64::MAX, 0, 0, 0, 0, 0]) == Some(Error::Invalid),
        SYSTEM.grow(most - 3) == Ok(USER_HEAP + 3 * PAGE_SIZE),
        SYSTEM.grow(1) == Err(Error::Invalid),
        read_word(USER_HEAP_END - 8) == 0,
    ]);
    if beyond != 0 {
        write_word(USER_HEAP_END, 1);
    }
    wrong
}

/// Uses all of its stack; with `beyond` other than 0 more than that.
fn deep(beyond: u64) -> u64 {
    if nested(40) != 40 * 41 / 2 {
        return 1;
    }
    // Where nothing has been called so far.
    if read_word(USER_STACK) != 0 {
        return 2;
    }
    write_word(USER_STACK, beyond);
    if beyond != 0 {
        write_word(USER_STACK - 8, beyond);
    }
    u64::from(read_word(USER_STACK) != beyond)
}

/// The sum up to `depth`, with a kilobyte of stack for each number.
fn nested(depth: u64) -> u64 {
    let mut room = [0u64; 128];
    room[(depth % 128) as usize] = depth;
    let room = black_box(&mut room);
    let below = if depth == 0 { 0 } else { nested(depth - 1) };
    below + room[(depth % 128) as usize]
}

/// Works with all it has while others come to grief: until it is sent something.
fn bystander(seed: u64) -> u64 {
    let Ok(heap) = SYSTEM.grow(4) else { return 100 };
    if SYSTEM.bind(SERVER_PORT).is_err() {
        return 101;
    }
    let words = || (heap..heap + 4 * PAGE_SIZE).step_by(64);
    let text = text_sum();
    words().for_each(|at| write_word(at, seed ^ at));
    loop {
        if words().any(|at| read_word(at) != seed ^ at) {
            return 1;
        }
        if text_sum() != text {
            return 2;
        }
        match SYSTEM.receive_within(SERVER_PORT, 1) {
            Ok(message) => return u64::from(SYSTEM.reply(message.sender, [0; 2]).is_err()),
            Err(Error::TimedOut) => {}
            Err(_) => return 3,
        }
    }
}

/// A sum over the first page of program text.
fn text_sum() -> u64 {
    let words = (USER_TEXT..USER_TEXT + PAGE_SIZE).step_by(8);
    words.fold(0u64, |sum, at| sum.rotate_left(1).wrapping_add(read_word(at)))
}

fn runs_heap(me: u64) -> u64 {
    let Ok(heap) = SYSTEM.grow(2) else { return 100 };
    // A return instruction.
    write_word(heap, 0xc3c3_c3c3_c3c3_c3c3);
    let arguments = [heap, heap + 2 * PAGE_SIZE, restorer(), 0, 0, 0];
    if system_call(Call::Handle as u64, arguments).0 != 0 {
        return 1;
    }
    let _ = SYSTEM.signal(pid_of(me), 20);
    0
}

// Credentials.

/// What only root may do, tried on the tester by somebody who is not.
fn wants_power(tester: u64) -> u64 {
    let Ok(heap) = SYSTEM.grow(1) else { return 100 };
    write_word(heap, 7);
    first_wrong(&[
        SYSTEM.spawn(0, 1000, 4, 0).err() == Some(Error::Denied),
        SYSTEM.kill(pid_of(tester)) == Err(Error::Denied),
        SYSTEM.examine(pid_of(tester), USER_TEXT, heap, 64) == Err(Error::Denied),
        SYSTEM.signal(pid_of(tester), SIGNAL_END) == Err(Error::Denied),
        SYSTEM.pet(0) == Err(Error::Denied),
        read_word(heap) == 7,
    ])
}

/// What only Agents and kernel processes may do.
fn wants_office(tester: u64) -> u64 {
    let tester = pid_of(tester);
    first_wrong(&[
        SYSTEM.attach(Class::Ports).err() == Some(Error::Denied),
        SYSTEM.tag(tester, Heuristic::PortScan, 99) == Err(Error::Denied),
        SYSTEM.grant(tester, 7, 7) == Err(Error::Denied),
        SYSTEM.acknowledge() == Err(Error::Denied),
        SYSTEM.phone(in_ring, 0) == Err(Error::Denied),
        refusal(Call::HangUp, [0; 6]) == Some(Error::Invalid),
        refusal(Call::Return, [0; 6]) == Some(Error::Invalid),
    ])
}

/// Has something in its memory for others to look at.
fn shows(seed: u64) -> u64 {
    let Ok(heap) = SYSTEM.grow(1) else { return 100 };
    (0..8).for_each(|word| write_word(heap + word * 8, seed ^ word));
    if SYSTEM.call(TESTER, [seed, heap], NOTHING, LATE).is_err() {
        return 1;
    }
    0
}

// Violators.

fn scanner() -> u64 {
    for port in 3000..3200 {
        let _ = SYSTEM.call(port, [0; 2], NOTHING, 1);
        SYSTEM.sleep(1);
    }
    0
}

fn forger() -> u64 {
    for _ in 0..200 {
        let _ = SYSTEM.reply(Pid::new(250, 9), [0; 2]);
        SYSTEM.sleep(1);
    }
    0
}

fn prober(tester: u64) -> u64 {
    for _ in 0..200 {
        let _ = SYSTEM.kill(pid_of(tester));
        SYSTEM.sleep(1);
    }
    0
}

/// Asks one server that is not there, as often as a scanner asks many; lets nothing but time-outs and mistakes of its own
/// be counted.
fn honest() -> u64 {
    for _ in 0..40 {
        let asked = SYSTEM.call(NOBODY, [0; 2], NOTHING, 1).err() == Some(Error::NotFound);
        let odd = refusal(Call::Reply, [0, 0, 0, NOBODY, 0, 0]) == Some(Error::NotFound);
        if !asked || !odd || SYSTEM.signal(Pid::new(250, 9), 20) != Err(Error::Dead) {
            return 1;
        }
        SYSTEM.sleep(1);
    }
    0
}

// Phones and signals.

extern "C" fn in_ring(word: u64) -> u64 {
    word * 10 + privilege()
}

extern "C" fn signalled(number: u64) {
    COUNT.store(COUNT.load(Relaxed) + 1, Relaxed);
    SUM.store(SUM.load(Relaxed) + number, Relaxed);
}

extern "C" fn signalled_slowly(number: u64) {
    signalled(number);
    if COUNT.load(Relaxed) == 1 {
        SYSTEM.sleep(20);
    }
}

/// Is ready for signals from here on.
fn listens(handler: extern "C" fn(u64)) -> bool {
    SYSTEM.grow(1).is_ok_and(|stack| SYSTEM.handle(handler, stack + PAGE_SIZE).is_ok())
}

/// Phones; with `signal` other than 0 it then gets a signal of its own.
fn phones(signal: u64, me: u64) -> u64 {
    let early =
        SYSTEM.ask_for_keys(Keys::PHONE) == Keys::PHONE && SYSTEM.phone(in_ring, 1) == Err(Error::Invalid);
    let wrong = first_wrong(&[
        early,
        listens(signalled),
        in_ring(4) == 43,
        SYSTEM.phone(in_ring, 4) == Ok(40),
        SYSTEM.phone(in_ring, 5) == Ok(50),
        refusal(Call::Phone, [USER_HEAP, 0, 0, 0, 0, 0]) == Some(Error::Invalid),
        refusal(Call::Phone, [KERNEL_BASE + 0x10_0000, 0, 0, 0, 0, 0]) == Some(Error::Invalid),
    ]);
    if wrong == 0 && signal != 0 {
        let _ = SYSTEM.signal(pid_of(me), signal);
    }
    wrong
}

/// The same without the phone.
fn signalled_once(signal: u64, me: u64) -> u64 {
    first_wrong(&[
        SYSTEM.ask_for_keys(Keys::PHONE) == Keys::PHONE,
        listens(signalled),
        SYSTEM.signal(pid_of(me), signal) == Ok(()),
        (COUNT.load(Relaxed), SUM.load(Relaxed)) == (1, signal),
    ])
}

/// Signals that are sent to somebody who works.
const SIGNALS: u64 = 6;

/// Works in its registers until all signals have come.
fn counts() -> u64 {
    if !listens(signalled) || SYSTEM.call(TESTER, [0; 2], NOTHING, LATE).is_err() {
        return 1;
    }
    let (mut count, mut sum, mut squares) = (0u64, 0u64, 0u64);
    while COUNT.load(Relaxed) < SIGNALS {
        for _ in 0..1000 {
            count += 1;
            sum = black_box(sum + count);
            squares = black_box(squares.wrapping_add(count.wrapping_mul(count)));
        }
        SYSTEM.rest();
    }
    let pyramid = u128::from(count) * u128::from(count + 1) * u128::from(2 * count + 1) / 6;
    first_wrong(&[
        sum == count * (count + 1) / 2,
        squares == pyramid as u64,
        SUM.load(Relaxed) == (1..=SIGNALS).map(|nth| 20 + nth).sum(),
    ])
}

/// Waits in several ways; each wait is to end by a signal.
fn waits() -> u64 {
    if !listens(signalled) || SYSTEM.bind(SERVER_PORT).is_err() {
        return 100;
    }
    let Ok(room) = SYSTEM.grow(1) else { return 101 };
    let interrupted = Some(Error::Interrupted);
    first_wrong(&[
        SYSTEM.receive(SERVER_PORT).err() == interrupted,
        SYSTEM.collect(SERVER_PORT, Lend { at: room, bytes: 64 }, 0).err() == interrupted,
        refusal(Call::Sleep, [LATE, 0, 0, 0, 0, 0]) == interrupted,
        SYSTEM.call(TESTER, [0; 2], Lend { at: room, bytes: PAGE_SIZE }, 0).err() == interrupted,
        COUNT.load(Relaxed) == 4,
    ])
}

/// Takes its time over the first signal.
fn busy_handler() -> u64 {
    if !listens(signalled_slowly) || SYSTEM.bind(SERVER_PORT).is_err() {
        return 100;
    }
    first_wrong(&[
        SYSTEM.receive(SERVER_PORT).err() == Some(Error::Interrupted),
        (COUNT.load(Relaxed), SUM.load(Relaxed)) == (2, 20 + 21),
    ])
}

// Old programs.

fn old_1(status: u64) -> u64 {
    let tick = SYSTEM.query(Query::Tick);
    let old = |number, argument| SYSTEM.old(number, [argument, 0]);
    let end = USER_HEAP + 2 * PAGE_SIZE;
    let wrong = first_wrong(&[
        old(V1_NICE, 1).is_ok(),
        matches!(old(V1_BRK, 0), Ok([USER_HEAP, ..])),
        old(V1_BRK, end).is_ok(),
        matches!(old(V1_BRK, 0), Ok([at, ..]) if at == end),
        old(V1_BRK, USER_HEAP).err() == Some(Error::Invalid),
        old(V1_BRK, USER_HEAP_END + 1).err() == Some(Error::Invalid),
        read_word(end - 8) == 0,
        old(V1_SLEEP, 3).is_ok(),
        SYSTEM.query(Query::Tick) >= tick + 3,
        old(V1_NICE + 1, 0).err() == Some(Error::Invalid),
    ]);
    let _ = old(V1_EXIT, if wrong == 0 { status } else { wrong });
    u64::MAX
}

fn old_2(tester: u64) -> u64 {
    let old = |number, arguments| SYSTEM.old(number, arguments);
    let wrong = first_wrong(&[
        old(V2_YIELD, [0; 2]).is_ok(),
        matches!(old(V2_STAT, [tester, 0]), Ok([state, entries, 0]) if state == State::Receiving as u64 && entries > 0),
        old(V2_STAT, [u64::from(Pid::new(250, 9).0), 0]).err() == Some(Error::Dead),
        old(V2_POST_WORD, [tester, 1234]).is_ok(),
        old(V2_STAT + 1, [0; 2]).err() == Some(Error::Invalid),
    ]);
    let _ = old(V2_EXIT, [if wrong == 0 { 34 } else { wrong }, 0]);
    u64::MAX
}

fn seeded(seed: u64) -> u64 {
    u64::from(SYSTEM.call(TESTER, [seed, 0], NOTHING, LATE).is_err())
}

/// Children that ended before they were asked for.
const EARLY: usize = 16;

/// The one that tests.
struct Tests {
    program: u64,
    seed: u64,
    me: u64,
    heap: u64,
    done: u64,
    early: [(Pid, u64); EARLY],
}

impl Tests {
    fn new(program: u64, seed: u64, me: u64) -> Self {
        let (Ok(()), Ok(heap)) = (SYSTEM.bind(TESTER), SYSTEM.grow(4)) else { SYSTEM.exit(1) };
        Self { program, seed, me, heap, done: 0, early: [(Pid::NONE, 0); EARLY] }
    }

    fn all(mut self) -> ! {
        self.messages();
        self.datagrams();
        self.wild_pointers();
        self.scheduling();
        self.memory();
        self.processes();
        self.credentials();
        self.agents();
        self.phones();
        self.signals();
        self.old_programs();
        self.seeds();
        self.watchdog();
        print("all", self.done, "done");
        SYSTEM.exit(0)
    }

    /// Prints what came of a test.
    fn check(&mut self, name: &str, right: bool) {
        let mut line = Line::default();
        line.add(if right { "ok " } else { "FAILED " });
        line.add(name);
        line.print();
        self.done += 1;
    }

    fn start_as(&mut self, part: u64, own: u64, uid: u64, priority: u64) -> Pid {
        SYSTEM.spawn(self.program, uid, priority, part << 32 | own).unwrap_or(Pid::NONE)
    }

    fn start(&mut self, part: u64, own: u64) -> Pid {
        self.start_as(part, own, PERSON, PRIORITY)
    }

    /// The status of a child, when it has ended.
    fn status(&mut self, child: Pid) -> Option<u64> {
        if let Some(place) = self.early.iter().position(|(pid, _)| *pid == child && child != Pid::NONE) {
            return Some(core::mem::replace(&mut self.early[place], (Pid::NONE, 0)).1);
        }
        loop {
            let (pid, status) = SYSTEM.wait(LATE).ok()?;
            if pid == child {
                return Some(status);
            }
            if let Some(free) = self.early.iter_mut().find(|(pid, _)| *pid == Pid::NONE) {
                *free = (pid, status);
            }
        }
    }

    /// A test that a part plays by itself.
    fn plays(&mut self, name: &str, part: u64, own: u64, uid: u64, wanted: u64) {
        let child = self.start_as(part, own, uid, PRIORITY);
        self.ends(name, child, wanted);
    }

    /// A test that is right if a child ends with this status.
    fn ends(&mut self, name: &str, child: Pid, wanted: u64) {
        let status = self.status(child);
        self.check(name, status == Some(wanted));
        if status != Some(wanted) {
            print("status", status.unwrap_or(u64::MAX), "");
        }
    }

    /// Waits until a child is in a state.
    fn until(&mut self, child: Pid, state: State) -> bool {
        for _ in 0..LATE {
            match SYSTEM.old(V2_STAT, [u64::from(child.0), 0]) {
                Ok([now, ..]) if now == state as u64 => return true,
                Ok(_) => SYSTEM.sleep(1),
                Err(_) => return false,
            }
        }
        false
    }

    fn messages(&mut self) {
        let server = self.start(SERVER, 0);
        let there = self.until(server, State::Receiving);
        let answer = SYSTEM.call(SERVER_PORT, [ADD, 41], NOTHING, LATE);
        self.check("a call brings an answer", there && answer == Ok([42, 0]));

        let (first, last) = (self.heap, self.heap + 3 * PAGE_SIZE);
        for at in (first..last + PAGE_SIZE).step_by(8) {
            write_word(at, at);
        }
        let loan = Lend { at: first + PAGE_SIZE, bytes: 2 * PAGE_SIZE };
        let answer = SYSTEM.call(SERVER_PORT, [INVERT, 0], loan, LATE);
        let inverted = (loan.at..last).step_by(8).all(|at| read_word(at) == !at);
        let spared = (first..loan.at).chain(last..last + PAGE_SIZE).step_by(8).all(|at| read_word(at) == at);
        self.check("a loan is answered in place", answer == Ok([loan.bytes, 0]) && inverted && spared);

        let before = SYSTEM.query(Query::Tick);
        let unanswered = SYSTEM.call(SERVER_PORT, [IGNORE, 0], loan, 5);
        let waited = SYSTEM.query(Query::Tick) - before;
        self.check("a call times out", unanswered == Err(Error::TimedOut) && waited >= 5);
        let late = SYSTEM.call(SERVER_PORT, [ADD, 1], NOTHING, LATE);
        self.check("the server goes on after it", late == Ok([2, 0]));
        let left = SYSTEM.call(SERVER_PORT, [LEAVE, 0], NOTHING, LATE);
        self.check("who asks a dying server is told", left == Err(Error::Dead));
        self.ends("the server is gone", server, 0);
        let gone = SYSTEM.call(SERVER_PORT, [ADD, 0], NOTHING, LATE);
        self.check("a port closes with its owner", gone == Err(Error::NotFound));

        self.plays("foreign and low ports are refused", STRANGER, 0, PERSON, 0);
        let low = SYSTEM.bind(900);
        self.check("root has a privileged port", low == Ok(()));
        let me = pid_of(self.me);
        let refused = [
            SYSTEM.reply(Pid::new(250, 9), [0; 2]) == Err(Error::Dead),
            SYSTEM.reply(me, [0; 2]) == Err(Error::Dead),
            SYSTEM.call(TESTER, [0; 2], NOTHING, 1) == Err(Error::Invalid),
        ];
        self.check("answers without a question are not", refused == [true; 3]);
    }

    fn datagrams(&mut self) {
        let at = self.heap;
        let room = Lend { at, bytes: DATAGRAM_BYTES };
        let poster = self.start(POSTER, 0);
        // All that fit are there before the first is collected.
        let gated = self.until(poster, State::Gated);
        let (mut right, mut ordered, mut last) = (true, true, 0);
        for nth in 0..DATAGRAMS {
            let bytes = datagram_bytes(nth);
            match SYSTEM.collect(TESTER, room, LATE) {
                Ok(got) => {
                    right &= got.sender == poster && u64::from(got.uid) == PERSON;
                    right &= got.bytes == bytes && !got.damaged;
                    right &= (0..bytes / 8).all(|word| read_word(at + word * 8) == datagram_word(nth, word));
                    ordered &= got.sequence > last;
                    last = got.sequence;
                }
                Err(_) => right = false,
            }
        }
        self.check("a sender waits at a full port", gated);
        self.check("datagrams come whole and in order", right);
        self.check("their numbers rise", ordered);
        self.ends("the sender has sent them all", poster, 0);

        (0..32).for_each(|word| write_word(at + word * 8, word));
        let sent = SYSTEM.post(TESTER, Lend { at, bytes: 64 }, 1);
        (0..32).for_each(|word| write_word(at + word * 8, u64::MAX));
        let got = SYSTEM.collect(TESTER, Lend { at, bytes: 20 }, 1);
        let cut = got.is_ok_and(|got| got.bytes == 20) && read_word(at + 8) == 1;
        // Of the third word only the lower half was there to be written.
        let spared = read_word(at + 16) == u64::MAX << 32 | 2
            && (3..32).all(|word| read_word(at + word * 8) == u64::MAX);
        self.check("what has no room is cut off", sent.is_ok() && cut && spared);

        let posted = (0..QUEUE).all(|_| SYSTEM.post(TESTER, Lend { at, bytes: 8 }, 1).is_ok());
        let full = SYSTEM.post(TESTER, Lend { at, bytes: 8 }, 3);
        let taken = (0..QUEUE).all(|_| SYSTEM.collect(TESTER, room, 1).is_ok());
        let empty = SYSTEM.collect(TESTER, room, 3).err();
        self.check("a full port times out", posted && full == Err(Error::TimedOut));
        self.check("an empty port times out", taken && empty == Some(Error::TimedOut));
        let refused = [
            SYSTEM.post(TESTER, Lend { at, bytes: DATAGRAM_BYTES + 1 }, 1).err() == Some(Error::Invalid),
            SYSTEM.post(TESTER, Lend { at: at + 1, bytes: 8 }, 1).err() == Some(Error::Invalid),
            SYSTEM.post(TESTER, Lend { at, bytes: u64::MAX }, 1).err() == Some(Error::Invalid),
            SYSTEM.post(NOBODY, Lend { at, bytes: 8 }, 1).err() == Some(Error::NotFound),
        ];
        self.check("odd datagrams are refused", refused == [true; 4]);
    }

    /// Places where this process has nothing: no memory, no right to it, or the kernel's.
    fn wild_pointers(&mut self) {
        let text = text_sum();
        let wild = [
            0,
            USER_TEXT - PAGE_SIZE,
            USER_WINDOWS,
            self.heap + 64 * PAGE_SIZE,
            USER_END,
            DIRECT_MAP,
            KERNEL_BASE + 0x10_0000,
            0x8000_0000_0000,
            !(PAGE_SIZE - 1),
        ];
        let bad = Some(Error::BadAddress);
        let lend = |at| Lend { at, bytes: 64 };
        let post = wild.iter().all(|at| SYSTEM.post(TESTER, lend(*at), 1).err() == bad);
        self.check("no datagram from a wild pointer", post);
        // One that waits, and is not lost to a collector that has nowhere to put it.
        write_word(self.heap, 77);
        let sent = SYSTEM.post(TESTER, lend(self.heap), 1).is_ok();
        let collect = wild.iter().all(|at| SYSTEM.collect(TESTER, lend(*at), 1).err() == bad);
        let read_only = SYSTEM.collect(TESTER, lend(USER_TEXT), 1).err() == bad;
        let behind = lend(self.heap + 1024);
        let there = SYSTEM.collect(TESTER, behind, 1).is_ok() && read_word(behind.at) == 77;
        self.check("none to a wild pointer either", sent && collect && there);
        self.check("nor into program text", read_only && text_sum() == text);

        let server = self.start(SERVER, 0);
        let ready = self.until(server, State::Receiving);
        let places = wild.iter().chain(&[USER_TEXT]);
        let loans = places.clone().all(|at| SYSTEM.call(SERVER_PORT, [INVERT, 0], lend(*at), 5).err() == bad);
        let alive = SYSTEM.call(SERVER_PORT, [ADD, 1], NOTHING, LATE) == Ok([2, 0]);
        self.check("nothing wild is lent", ready && loans && alive && text_sum() == text);

        let from = wild.iter().all(|at| SYSTEM.examine(server, *at, self.heap, 64).err() == bad);
        let to = places.clone().all(|at| SYSTEM.examine(server, USER_TEXT, *at, 64).err() == bad);
        self.check("nothing wild is examined", from && to && text_sum() == text);
        // The word that would be written there ends 8 bytes further on.
        let tops = places.clone().all(|at| SYSTEM.handle(signalled, at + 16).err() == bad);
        self.check("no return stack is wild", tops && text_sum() == text);
        let _ = SYSTEM.kill(server);
        self.ends("the server was not harmed", server, KILLED);

        let mut faults = [false; WILD.len()];
        for (which, right) in faults.iter_mut().enumerate() {
            let child = self.start(READER, which as u64);
            // An address that cannot be is a fault of another kind; a window that is not there gets a spare page.
            let wanted = match WILD[which] {
                USER_WINDOWS => 0,
                0x8000_0000_0000 => PROTECTION_FAULT,
                _ => PAGE_FAULT,
            };
            *right = self.status(child) == Some(wanted);
        }
        self.check("a wild read is its reader's end", faults == [true; WILD.len()]);
    }

    /// Who of them ends first, and so on.
    fn ends_in_order<const N: usize>(&mut self, children: [Pid; N]) -> bool {
        let mut order = [Pid::NONE; N];
        for place in &mut order {
            if let Ok((pid, 0)) = SYSTEM.wait(LATE) {
                *place = pid;
            }
        }
        order == children
    }

    fn scheduling(&mut self) {
        let [last, third, second, first] =
            [7, 6, 5, 4].map(|priority| self.start_as(EXITER, 0, PERSON, priority));
        let right = self.ends_in_order([first, second, third, last]);
        self.check("the urgent run first", right);

        let [late, early, middle] = [60, 20, 40].map(|ticks| self.start(SLEEPER, ticks));
        let right = self.ends_in_order([early, middle, late]);
        self.check("sleepers wake in their order", right);
        let before = SYSTEM.query(Query::Tick);
        SYSTEM.sleep(7);
        self.check("sleep lasts as long as asked", SYSTEM.query(Query::Tick) >= before + 7);

        let (long, short) = (self.start(TRAINED, 30), self.start(TRAINED, 1));
        let ready = self.until(long, State::Receiving) && self.until(short, State::Receiving);
        let posted = [long, short].map(|child| SYSTEM.old(V2_POST_WORD, [u64::from(child.0), 0]).is_ok());
        let right = self.ends_in_order([short, long]);
        self.check("short bursts run before long ones", ready && posted == [true; 2] && right);
    }

    fn memory(&mut self) {
        self.plays("fresh pages are zero", FILLER, 0, PERSON, 0);
        self.plays("so are pages of the dead", FILLER, 0, PERSON, 0);
        self.plays("the heap grows to its limit", HOARDER, 0, PERSON, 0);
        self.plays("and not beyond", HOARDER, 1, PERSON, PAGE_FAULT);
        self.plays("the stack grows to its limit", DEEP, 0, PERSON, 0);
        self.plays("and no further", DEEP, 1, PERSON, PAGE_FAULT);
        self.plays("the heap cannot be run", RUNS_HEAP, 0, PERSON, PAGE_FAULT);

        let text = text_sum();
        let other = self.start(BYSTANDER, 0);
        self.until(other, State::Receiving);
        self.plays("program text cannot be written", WRITER, 0, PERSON, PAGE_FAULT);
        self.plays("not by root either", WRITER, 0, 0, PAGE_FAULT);
        let asked = SYSTEM.call(SERVER_PORT, [0; 2], NOTHING, LATE).is_ok();
        self.check("the text that all share is whole", asked && text_sum() == text);
        self.ends("who shares it was not harmed", other, 0);
    }

    fn processes(&mut self) {
        self.plays("a parent learns the status", EXITER, 77, PERSON, 77);
        let alone = (SYSTEM.wait(0).err(), SYSTEM.wait(2).err());
        self.check("no child, no wait", alone == (Some(Error::NotFound), Some(Error::TimedOut)));
        let odd = [
            SYSTEM.spawn(1 << 20, PERSON, 4, 0).err() == Some(Error::NotFound),
            SYSTEM.spawn(self.program, PERSON, 8, 0).err() == Some(Error::Invalid),
            SYSTEM.spawn(self.program, 1 << 32, 4, 0).err() == Some(Error::Invalid),
        ];
        self.check("an odd start is refused", odd == [true; 3]);

        let old = self.start(SLEEPER, 100_000);
        let asleep = self.until(old, State::Sleeping);
        let killed = SYSTEM.kill(old) == Ok(()) && SYSTEM.kill(old) == Err(Error::Dead);
        self.check("a kill is for once", asleep && killed);
        self.ends("the killed one has its status", old, KILLED);
        let mut heir = Pid::NONE;
        for _ in 0..64 {
            heir = self.start(SLEEPER, 20);
            if heir.slot() == old.slot() {
                break;
            }
            let _ = SYSTEM.kill(heir);
            let _ = self.status(heir);
        }
        let gone = SYSTEM.kill(old) == Err(Error::Dead)
            && SYSTEM.signal(old, SIGNAL_END) == Err(Error::Dead)
            && SYSTEM.examine(old, USER_TEXT, self.heap, 8) == Err(Error::Dead);
        self.check("an old pid is nobody's", heir.slot() == old.slot() && heir != old && gone);
        self.ends("who has its place lives on", heir, 0);

        let crashes = SYSTEM.query(Query::Crashes);
        let other = self.start(BYSTANDER, 0);
        self.until(other, State::Receiving);
        self.plays("a crash is told by its vector", CRASHER, 0, PERSON, NO_INSTRUCTION);
        self.check("and counted", SYSTEM.query(Query::Crashes) == crashes + 1);
        let asked = SYSTEM.call(SERVER_PORT, [0; 2], NOTHING, LATE).is_ok();
        self.check("others go on", asked);
        self.ends("others are not harmed", other, 0);

        let first = self.ask_service();
        let told = SYSTEM.call(SERVICE_PORT, [CRASH, 0], NOTHING, LATE) == Err(Error::Dead);
        let second = self.ask_service();
        let again = first.is_some() && second.is_some() && first != second;
        self.check("a crashed service is started again", told && again);
    }

    /// The pid of the service, when it answers.
    fn ask_service(&mut self) -> Option<u64> {
        for _ in 0..LATE {
            match SYSTEM.call(SERVICE_PORT, [ADD, 5], NOTHING, LATE) {
                Ok([pid, 5]) => return Some(pid),
                Err(Error::NotFound) => SYSTEM.sleep(1),
                _ => return None,
            }
        }
        None
    }

    fn credentials(&mut self) {
        let me = self.me;
        let without = SYSTEM.pet(0);
        self.check("root, too, needs a key to pet", without == Err(Error::Denied));
        let all = u64::from(Keys::WATCHDOG | Keys::PHONE | Keys::AGENT);
        self.plays("root gets all keys", WANTS_KEYS, 0, 0, all);
        self.plays("the system gets the phone's", WANTS_KEYS, 0, SYSTEM_UID, u64::from(Keys::PHONE));
        self.plays("people get none", WANTS_KEYS, 0, PERSON, 0);
        self.plays("people have no power over others", WANTS_POWER, me, PERSON, 0);
        self.plays("nor has the system", WANTS_POWER, me, SYSTEM_UID, 0);
        self.plays("people hold no office", WANTS_OFFICE, me, PERSON, 0);
        self.plays("root holds none without a key", WANTS_OFFICE, me, 0, 0);

        let child = self.start(SHOWS, 0);
        let seen = match SYSTEM.receive_within(TESTER, LATE) {
            Ok(message) => {
                let [seed, at] = message.words;
                let read = SYSTEM.examine(message.sender, at, self.heap, 64);
                let right = (0..8).all(|word| read_word(self.heap + word * 8) == seed ^ word);
                let _ = SYSTEM.reply(message.sender, [0; 2]);
                read.is_ok() && right && message.sender == child && u64::from(message.uid) == PERSON
            }
            Err(_) => false,
        };
        self.check("root reads what others have", seen);
        self.ends("they do not notice", child, 0);
    }

    fn agents(&mut self) {
        let me = self.me;
        let honest = self.start(HONEST, 0);
        self.plays("a scanner is tagged", SCANNER, 0, PERSON, TAGGED);
        self.plays("a forger is tagged", FORGER, 0, PERSON, TAGGED);
        self.plays("a prober is tagged", PROBER, me, PERSON, TAGGED);
        self.ends("an honest one is not", honest, 0);
    }

    fn phones(&mut self) {
        self.plays("a phone call runs in ring 0", PHONES, 0, SYSTEM_UID, 0);
        self.plays("root may phone as well", PHONES, 0, 0, 0);
        self.plays("the next signal is a caller's end", PHONES, 20, SYSTEM_UID, PAGE_FAULT);
        self.plays("who does not phone survives it", SIGNALLED, 20, SYSTEM_UID, 0);
    }

    fn signals(&mut self) {
        let child = self.start(COUNTS, 0);
        let met = match SYSTEM.receive_within(TESTER, LATE) {
            Ok(message) => SYSTEM.reply(message.sender, [0; 2]).is_ok(),
            Err(_) => false,
        };
        let mut sent = 0;
        for _ in 0..LATE {
            if sent < SIGNALS && SYSTEM.signal(child, 20 + sent + 1).is_ok() {
                sent += 1;
            }
            SYSTEM.sleep(1);
            if sent == SIGNALS {
                break;
            }
        }
        self.check("signals are taken", met && sent == SIGNALS);
        self.ends("handlers run and registers are kept", child, 0);

        let child = self.start(WAITS, 0);
        let waits = [State::Receiving, State::Collecting, State::Sleeping, State::Sending];
        let sent = waits.map(|state| self.until(child, state) && SYSTEM.signal(child, 20).is_ok());
        self.check("a signal finds who waits", sent == [true; 4]);
        self.ends("and interrupts the wait", child, 0);

        let child = self.start(BUSY_HANDLER, 0);
        self.until(child, State::Receiving);
        let first = SYSTEM.signal(child, 20);
        let busy = self.until(child, State::Sleeping);
        let (second, third) = (SYSTEM.signal(child, 21), SYSTEM.signal(child, 22));
        let right = (first, second, third) == (Ok(()), Ok(()), Err(Error::Exhausted));
        self.check("one signal waits, a third is refused", busy && right);
        self.ends("each is handled once", child, 0);

        let child = self.start(SLEEPER, 30);
        self.until(child, State::Sleeping);
        let forgotten = SYSTEM.signal(child, 20);
        let odd = [0, 64, u64::MAX].map(|number| SYSTEM.signal(child, number));
        self.check("odd signals are refused", odd == [Err(Error::Invalid); 3]);
        self.check("who has no handler may be sent one", forgotten == Ok(()));
        self.ends("and does not notice", child, 0);
        let child = self.start(SLEEPER, 100_000);
        self.until(child, State::Sleeping);
        let sent = SYSTEM.signal(child, SIGNAL_END);
        self.check("the last signal can be sent", sent == Ok(()));
        self.ends("it ends who does not handle it", child, KILLED);
    }

    fn old_programs(&mut self) {
        self.plays("version 1 works", OLD_1, 33, PERSON, 33);
        let child = self.start(OLD_2, self.me);
        let word = SYSTEM.receive_within(TESTER, LATE);
        let right = word.is_ok_and(|word| word.sender == child && word.words[0] == 1234);
        self.check("a word of version 2 arrives", right);
        self.ends("version 2 works", child, 34);
    }

    fn seeds(&mut self) {
        let mut seeds = [self.seed; 9];
        for place in seeds.iter_mut().skip(1) {
            let child = self.start(SEEDED, 0);
            if let Ok(message) = SYSTEM.receive_within(TESTER, LATE) {
                *place = message.words[0];
                let _ = SYSTEM.reply(message.sender, [0; 2]);
            }
            let _ = self.status(child);
        }
        let different = (1..seeds.len()).all(|nth| !seeds[..nth].contains(&seeds[nth]));
        self.check("everybody has a seed of his own", different);
    }

    fn watchdog(&mut self) {
        let keys = SYSTEM.ask_for_keys(Keys::WATCHDOG);
        let pet = SYSTEM.pet(0);
        self.check("with a key the watchdog is petted", keys == Keys::WATCHDOG && pet == Ok(()));
    }
}

/// A line on the console.
struct Line {
    text: [u8; 40],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { text: [0; 40], length: 0 }
    }
}

impl Line {
    fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            if let Some(place) = self.text.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
    }

    fn add_number(&mut self, number: u64) {
        if number >= 10 {
            self.add_number(number / 10);
        }
        let digit = [b'0' + (number % 10) as u8];
        self.add(core::str::from_utf8(&digit).unwrap_or("?"));
    }

    fn print(&self) {
        SYSTEM.print(core::str::from_utf8(&self.text[..self.length]).unwrap_or("?"));
    }
}

/// A line of a word, a number, and perhaps another word.
fn print(word: &str, number: u64, after: &str) {
    let mut line = Line::default();
    line.add(word);
    line.add(" ");
    line.add_number(number);
    if !after.is_empty() {
        line.add(" ");
        line.add(after);
    }
    line.print();
}

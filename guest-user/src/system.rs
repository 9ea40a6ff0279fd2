//! One function for each system call, and a generator of choices for programs.

use abi::Pid;
use abi::agents::{Class, Heuristic};
use abi::layout::PAGE_SIZE;
use abi::syscall::{Call, DAMAGED, Error, Load, PORT_KEYS, Query};

pub use crate::arch::{privilege, read_word, remedy, restorer, stop, system_call, write_word};

/// How a system call is made.
type Gate = fn(u64, [u64; 6]) -> crate::arch::Results;

/// The system calls, made through one gate.
#[derive(Clone, Copy)]
pub struct System(Gate);

/// The system calls of ring 3.
pub const SYSTEM: System = System(system_call);

/// A message that a server received.
#[derive(Clone, Copy)]
pub struct Received {
    /// The sender, which waits for the reply.
    pub sender: Pid,
    /// Its words.
    pub words: [u64; 2],
    /// Address of the window that maps the frames on loan; 0 without a loan.
    pub window: u64,
    /// Bytes on loan.
    pub bytes: u64,
    /// The sender's uid.
    pub uid: u32,
}

/// A datagram that a program collected.
#[derive(Clone, Copy)]
pub struct Collected {
    /// The sender.
    pub sender: Pid,
    /// Bytes received: those that the buffer had room for.
    pub bytes: u64,
    /// Its sequence number among all datagrams.
    pub sequence: u64,
    /// Its checksum differs from the one it was sent with.
    pub damaged: bool,
    /// The sender's uid.
    pub uid: u32,
}

/// A buffer. A loan must begin at a page, a datagram at a word.
#[derive(Clone, Copy)]
pub struct Lend {
    /// Address.
    pub at: u64,
    /// Length in bytes; 0 lends nothing.
    pub bytes: u64,
}

/// No loan.
pub const NOTHING: Lend = Lend { at: 0, bytes: 0 };

impl System {
    fn make(self, call: Call, arguments: [u64; 6]) -> Result<[u64; 6], Error> {
        let (status, results) = (self.0)(call as u64, arguments);
        match status {
            0 => Ok(results),
            _ => Err(Error::from_raw(status).unwrap_or(Error::Invalid)),
        }
    }

    /// Ends the caller.
    pub fn exit(self, status: u64) -> ! {
        let _ = self.make(Call::Exit, [status, 0, 0, 0, 0, 0]);
        stop()
    }

    /// Yields the CPU.
    pub fn rest(self) {
        let _ = self.make(Call::Yield, [0; 6]);
    }

    /// Sleeps for `ticks`, at least one.
    pub fn sleep(self, ticks: u64) {
        let _ = self.make(Call::Sleep, [ticks, 0, 0, 0, 0, 0]);
    }

    /// Sends a message and waits for the reply, at most `timeout` ticks (0: without limit).
    pub fn call(self, port: u64, words: [u64; 2], lend: Lend, timeout: u64) -> Result<[u64; 2], Error> {
        self.make(Call::Call, [port, words[0], words[1], lend.at, lend.bytes, timeout]).map(|r| [r[0], r[1]])
    }

    /// Waits for a message.
    pub fn receive(self, port: u64) -> Result<Received, Error> {
        self.make(Call::Receive, [port, 0, 0, 0, 0, 0]).map(received)
    }

    /// Waits for a message, at most `timeout` ticks.
    pub fn receive_within(self, port: u64, timeout: u64) -> Result<Received, Error> {
        self.make(Call::Receive, [port, timeout, 0, 0, 0, 0]).map(received)
    }

    /// Replies to a message.
    pub fn reply(self, to: Pid, words: [u64; 2]) -> Result<(), Error> {
        self.make(Call::Reply, [u64::from(to.0), words[0], words[1], 0, 0, 0]).map(drop)
    }

    /// Sends a datagram from `data`, waiting for room at most `timeout` ticks (0: without limit).
    pub fn post(self, port: u64, data: Lend, timeout: u64) -> Result<(), Error> {
        self.make(Call::Post, [port, data.at, data.bytes, timeout, 0, 0]).map(drop)
    }

    /// Waits for a datagram, at most `timeout` ticks (0: without limit), which the kernel writes to `data`.
    pub fn collect(self, port: u64, data: Lend, timeout: u64) -> Result<Collected, Error> {
        self.make(Call::Collect, [port, data.at, data.bytes, timeout, 0, 0]).map(|results| Collected {
            sender: Pid(results[0] as u32),
            bytes: results[1],
            sequence: results[2] & !DAMAGED,
            damaged: results[2] & DAMAGED != 0,
            uid: results[3] as u32,
        })
    }

    /// Replies, then waits for the next message.
    pub fn reply_receive(self, to: Pid, words: [u64; 2], port: u64) -> Result<Received, Error> {
        self.make(Call::Reply, [u64::from(to.0), words[0], words[1], port, 0, 0]).map(received)
    }

    /// Replies, then waits for the next message, at most `timeout` ticks.
    pub fn reply_receive_within(
        self,
        to: Pid,
        words: [u64; 2],
        port: u64,
        timeout: u64,
    ) -> Result<Received, Error> {
        self.make(Call::Reply, [u64::from(to.0), words[0], words[1], port, timeout, 0]).map(received)
    }

    /// Binds a port to the caller.
    pub fn bind(self, port: u64) -> Result<(), Error> {
        self.make(Call::Bind, [port, 0, 0, 0, 0, 0]).map(drop)
    }

    /// Grows the heap by whole pages and returns the first new address.
    pub fn grow(self, pages: u64) -> Result<u64, Error> {
        self.make(Call::Grow, [pages * PAGE_SIZE, 0, 0, 0, 0, 0]).map(|r| r[0])
    }

    /// Pets the watchdog.
    pub fn pet(self, code: u64) -> Result<(), Error> {
        self.make(Call::Pet, [code, 0, 0, 0, 0, 0]).map(drop)
    }

    /// Writes a line of up to 40 bytes to the console.
    pub fn print(self, text: &str) {
        let mut words = [0u64; 5];
        let length = text.len().min(40);
        for (at, byte) in text.bytes().take(length).enumerate() {
            words[at / 8] |= u64::from(byte) << (at % 8 * 8);
        }
        let [a, b, c, d, e] = words;
        let _ = self.make(Call::Print, [length as u64, a, b, c, d, e]);
    }

    /// Writes a line of up to 31 bytes of text and a number in hexadecimal.
    pub fn print_with(self, text: &str, number: u32) {
        let mut line = [b' '; 40];
        let text = &text.as_bytes()[..text.len().min(31)];
        let (words, digits) = line.split_at_mut(text.len() + 1);
        words[..text.len()].copy_from_slice(text);
        for (nth, place) in digits.iter_mut().take(8).enumerate() {
            *place = b"0123456789abcdef"[(number >> (28 - 4 * nth) & 15) as usize];
        }
        self.print(core::str::from_utf8(&line[..text.len() + 9]).unwrap_or("?"));
    }

    /// Starts a program.
    pub fn spawn(self, program: u64, uid: u64, priority: u64, argument: u64) -> Result<Pid, Error> {
        self.make(Call::Spawn, [program, uid, priority, argument, 0, 0]).map(|r| Pid(r[0] as u32))
    }

    /// Waits for a child to end, at most `timeout` ticks (0: without limit); returns its pid and status.
    pub fn wait(self, timeout: u64) -> Result<(Pid, u64), Error> {
        self.make(Call::Wait, [timeout, 0, 0, 0, 0, 0]).map(|r| (Pid(r[0] as u32), r[1]))
    }

    /// Ends another process.
    pub fn kill(self, victim: Pid) -> Result<(), Error> {
        self.make(Call::Kill, [u64::from(victim.0), 0, 0, 0, 0, 0]).map(drop)
    }

    /// Queries a number.
    pub fn query(self, what: Query) -> u64 {
        self.make(Call::Query, [what as u64, 0, 0, 0, 0, 0]).map_or(0, |r| r[0])
    }

    /// Queries a load parameter.
    pub fn load(self, which: Load) -> u64 {
        self.make(Call::Query, [Query::Load as u64, which as u64, 0, 0, 0, 0]).map_or(0, |r| r[0])
    }

    /// Returns the process in a slot of the process table, if there is one.
    pub fn who(self, slot: u64) -> Option<Pid> {
        let pid = self.make(Call::Query, [Query::Slot as u64, slot, 0, 0, 0, 0]).map_or(0, |r| r[0]);
        (pid != 0).then_some(Pid(pid as u32))
    }

    /// Spreads the arrival of the caller and its like over [`Load::Ramp`]: sleeps until a tick chosen from
    /// its second half, which may have passed already.
    pub fn arrive(self, choices: &mut Choices) {
        let last = self.load(Load::Ramp);
        let turn = last / 2 + choices.below(last / 2);
        if let Some(rest) = turn.checked_sub(self.query(Query::Tick)).filter(|rest| *rest > 0) {
            self.sleep(rest);
        }
    }

    /// Acknowledges the timer's interrupt. Only the scheduler's process may; others are refused.
    pub fn acknowledge(self) -> Result<(), Error> {
        self.make(Call::Acknowledge, [0; 6]).map(drop)
    }

    /// Grants keys. Only kernel processes may; others are refused.
    pub fn grant(self, to: Pid, wanted: u32, keys: u32) -> Result<(), Error> {
        self.make(Call::Grant, [u64::from(to.0), u64::from(wanted), u64::from(keys), 0, 0, 0]).map(drop)
    }

    /// Asks the privilege subsystem for keys and returns those that it granted.
    pub fn ask_for_keys(self, wanted: u32) -> u32 {
        self.call(PORT_KEYS, [u64::from(wanted), 0], NOTHING, 0).map_or(0, |[granted, _]| granted as u32)
    }

    /// Installs a signal handler, which receives the signal's number and runs on the return stack that ends
    /// at `top`.
    pub fn handle(self, handler: extern "C" fn(u64), top: u64) -> Result<(), Error> {
        let handler = handler as *const () as u64;
        self.make(Call::Handle, [handler, top, restorer(), 0, 0, 0]).map(drop)
    }

    /// Sends a signal.
    pub fn signal(self, to: Pid, number: u64) -> Result<(), Error> {
        self.make(Call::Signal, [u64::from(to.0), number, 0, 0, 0, 0]).map(drop)
    }

    /// Runs a function of the caller's in kernel context. Every page that it touches must have been touched
    /// before.
    pub fn phone(self, function: extern "C" fn(u64) -> u64, argument: u64) -> Result<u64, Error> {
        let function = function as *const () as u64;
        self.make(Call::Phone, [function, argument, 0, 0, 0, 0]).map(|r| r[0])
    }

    /// Makes a system call of an older version, see [`abi::compat`].
    pub fn old(self, number: u64, arguments: [u64; 2]) -> Result<[u64; 3], Error> {
        let (status, r) = (self.0)(number, [arguments[0], arguments[1], 0, 0, 0, 0]);
        match status {
            0 => Ok([r[0], r[1], r[2]]),
            _ => Err(Error::from_raw(status).unwrap_or(Error::Invalid)),
        }
    }

    /// Reads another process's memory into the caller's; for root.
    pub fn examine(self, subject: Pid, at: u64, buffer: u64, bytes: u64) -> Result<(), Error> {
        self.make(Call::Examine, [u64::from(subject.0), at, buffer, bytes, 0, 0]).map(drop)
    }

    /// Attaches the caller as the Agent of a class and returns the address of its state page. Processes that
    /// it tags continue at page `remedy` of its image.
    pub fn attach(self, class: Class, remedy: u64) -> Result<u64, Error> {
        self.make(Call::Attach, [class as u64, remedy, 0, 0, 0, 0]).map(|r| r[0])
    }

    /// Tags a violator; for Agents.
    pub fn tag(self, violator: Pid, heuristic: Heuristic, score: u32) -> Result<(), Error> {
        let arguments = [u64::from(violator.0), heuristic as u64, u64::from(score), 0, 0, 0];
        self.make(Call::Tag, arguments).map(drop)
    }
}

fn received(results: [u64; 6]) -> Received {
    Received {
        sender: Pid(results[0] as u32),
        words: [results[1], results[2]],
        window: results[3],
        bytes: results[4],
        uid: results[5] as u32,
    }
}

/// A small random number generator (xorshift64*, Vigna 2016), seeded by the kernel.
pub struct Choices(u64);

impl Choices {
    /// Creates a generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Returns any number.
    pub fn any(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.any()) * u128::from(bound)) >> 64) as u64
    }
}

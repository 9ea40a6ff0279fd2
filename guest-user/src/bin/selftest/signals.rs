//! Phone calls and signals: other ways into a process, all but one of which it survives.

use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::layout::{KERNEL_BASE, PAGE_SIZE, USER_HEAP};
use abi::process::State;
use abi::syscall::{Call, Error, Keys, SIGNAL_END};
use guest_user::system::{Lend, NOTHING, SYSTEM, privilege};

use super::parts::{BUSY_HANDLER, COUNTS, PHONES, SIGNALLED, SLEEPER, WAITS};
use super::{KILLED, LATE, PAGE_FAULT, SERVER_PORT, SYSTEM_UID, TESTER, Tests, first_wrong, pid_of, refusal};

/// Signals received, and the sum of their numbers.
static COUNT: AtomicU64 = AtomicU64::new(0);
static SUM: AtomicU64 = AtomicU64::new(0);

/// Signals that are sent to the working process.
const SIGNALS: u64 = 6;

pub(super) extern "C" fn in_ring(word: u64) -> u64 {
    word * 10 + privilege()
}

pub(super) extern "C" fn signalled(number: u64) {
    COUNT.store(COUNT.load(Relaxed) + 1, Relaxed);
    SUM.store(SUM.load(Relaxed) + number, Relaxed);
}

extern "C" fn signalled_slowly(number: u64) {
    signalled(number);
    if COUNT.load(Relaxed) == 1 {
        SYSTEM.sleep(20);
    }
}

/// Handles signals from here on.
fn listens(handler: extern "C" fn(u64)) -> bool {
    SYSTEM.grow(1).is_ok_and(|stack| SYSTEM.handle(handler, stack + PAGE_SIZE).is_ok())
}

/// Phones; with `signal` other than 0 it then gets a signal of its own.
pub(super) fn phones(signal: u64, me: u64) -> u64 {
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
pub(super) fn signalled_once(signal: u64, me: u64) -> u64 {
    first_wrong(&[
        SYSTEM.ask_for_keys(Keys::PHONE) == Keys::PHONE,
        listens(signalled),
        SYSTEM.signal(pid_of(me), signal) == Ok(()),
        (COUNT.load(Relaxed), SUM.load(Relaxed)) == (1, signal),
    ])
}

/// Works in its registers until all signals have come.
pub(super) fn counts() -> u64 {
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

/// Waits in several ways; a signal must end each wait.
pub(super) fn waits() -> u64 {
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
pub(super) fn busy_handler() -> u64 {
    if !listens(signalled_slowly) || SYSTEM.bind(SERVER_PORT).is_err() {
        return 100;
    }
    first_wrong(&[
        SYSTEM.receive(SERVER_PORT).err() == Some(Error::Interrupted),
        (COUNT.load(Relaxed), SUM.load(Relaxed)) == (2, 20 + 21),
    ])
}

impl Tests {
    pub(super) fn phones(&mut self) {
        self.plays("a phone call runs in ring 0", PHONES, 0, SYSTEM_UID, 0);
        self.plays("root may phone as well", PHONES, 0, 0, 0);
        self.plays("the next signal is a caller's end", PHONES, 20, SYSTEM_UID, PAGE_FAULT);
        self.plays("who does not phone survives it", SIGNALLED, 20, SYSTEM_UID, 0);
    }

    pub(super) fn signals(&mut self) {
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
}

//! A benchmark of the kernel's paths: the same operation many times over, between two marks on the console,
//! so that a counter of instructions outside the guest knows what they were spent on.
#![no_std]
#![no_main]

use abi::layout::PAGE_SIZE;
use abi::syscall::Query;
use guest_user::system::{Lend, NOTHING, SYSTEM, read_word, stop, write_word};

guest_user::program!(run);

/// Where the second instance answers.
const PORT: u64 = 3001;
/// How often each operation is done.
const TIMES: u64 = 64;
/// Bytes of a datagram.
const DATAGRAM: u64 = 64;

/// `argument` is 3000 for the instance that measures and 3001 for the one that answers.
fn run(argument: u64, _seed: u64, _me: u64) -> ! {
    if argument == PORT {
        answer();
    }
    while SYSTEM.call(PORT, [0; 2], NOTHING, 0).is_err() {
        SYSTEM.sleep(1);
    }
    let Ok(heap) = SYSTEM.grow(TIMES + 1) else { stop() };
    write_word(heap + TIMES * PAGE_SIZE, 1);
    if SYSTEM.bind(argument).is_err() {
        stop();
    }
    let page = Lend { at: heap + TIMES * PAGE_SIZE, bytes: PAGE_SIZE };
    repeat("mark nothing", |_| {});
    repeat("mark system-call", |_| {
        SYSTEM.query(Query::Me);
    });
    repeat("mark switch", |_| SYSTEM.rest());
    repeat("mark message-round-trip", |_| {
        let _ = SYSTEM.call(PORT, [1, 2], NOTHING, 0);
    });
    repeat("mark loan-round-trip", |_| {
        let _ = SYSTEM.call(PORT, [1, 2], page, 0);
    });
    let data = Lend { at: page.at, bytes: DATAGRAM };
    repeat("mark datagram", |_| {
        let _ = SYSTEM.post(argument, data, 0);
        let _ = SYSTEM.collect(argument, data, 0);
    });
    repeat("mark page-fault", |nth| {
        read_word(heap + nth * PAGE_SIZE);
    });
    SYSTEM.print("mark end");
    SYSTEM.exit(0)
}

fn repeat(mark: &str, operation: impl Fn(u64)) {
    SYSTEM.print(mark);
    for nth in 0..TIMES {
        operation(nth);
    }
}

fn answer() -> ! {
    if SYSTEM.bind(PORT).is_err() {
        stop();
    }
    let Ok(mut message) = SYSTEM.receive(PORT) else { stop() };
    loop {
        match SYSTEM.reply_receive(message.sender, message.words, PORT) {
            Ok(next) => message = next,
            Err(_) => stop(),
        }
    }
}

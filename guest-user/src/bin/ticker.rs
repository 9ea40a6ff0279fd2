//! Shows that time passes. With an argument other than 0 it sleeps for that many ticks, prints the tick, and
//! repeats. With 0 it computes without a pause and hardly ever enters the kernel: other processes run then
//! only if the clock interrupts. It checks that its registers stay intact.
#![no_std]
#![no_main]

use abi::syscall::Query;
use guest_user::system::SYSTEM;

guest_user::program!(run);

/// Rounds of work between two lines on the console.
const ROUNDS: u64 = 1 << 27;

fn run(argument: u64, _seed: u64, _me: u64) -> ! {
    if argument == 0 {
        work();
    }
    loop {
        SYSTEM.sleep(argument);
        print("tick", SYSTEM.query(Query::Tick));
    }
}

fn work() -> ! {
    let (mut count, mut sum) = (0u64, 0u64);
    loop {
        for _ in 0..ROUNDS {
            count += 1;
            sum = core::hint::black_box(sum.wrapping_add(count));
        }
        // Gauss's sum, taken apart so that nothing is lost to the multiplication.
        let (even, odd) = if count % 2 == 0 { (count / 2, count + 1) } else { (count, count.div_ceil(2)) };
        if sum != even.wrapping_mul(odd) {
            SYSTEM.print("my sum is not what I added");
            SYSTEM.exit(1);
        }
        print("rounds", count);
    }
}

/// A line of a word and a number.
fn print(word: &str, number: u64) {
    let mut text = [b' '; 20];
    let mut rest = number;
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    for (place, byte) in text.iter_mut().zip(word.bytes()) {
        *place = byte;
    }
    SYSTEM.print(core::str::from_utf8(&text).unwrap_or(word));
}

//! Runs the fuzz targets on generated inputs, where no fuzzer can be built: `FUZZ_CASES` inputs per target,
//! the same ones every time.

/// Pseudo-random numbers: xorshift.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn replay(target: fn(&[u8])) {
    let cases =
        std::env::var("FUZZ_CASES").map_or(2000, |cases| cases.parse().expect("FUZZ_CASES is a number"));
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for _ in 0..cases {
        let length = numbers.next() % 600;
        // One byte in four repeats the previous one, so that equal values meet.
        let mut input = Vec::new();
        for _ in 0..length {
            let number = numbers.next();
            let byte = if number & 0x300 == 0 { input.last().copied().unwrap_or(0) } else { number as u8 };
            input.push(byte);
        }
        target(&input);
    }
}

#[test]
fn walker() {
    replay(fuzz::walker);
}

#[test]
fn roots() {
    replay(fuzz::roots);
}

#[test]
fn core() {
    replay(fuzz::core);
}

#[test]
fn follow() {
    replay(fuzz::follow);
}

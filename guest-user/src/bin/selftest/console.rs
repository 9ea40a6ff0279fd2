//! Console lines made of words and numbers.

use guest_user::system::SYSTEM;

/// A line on the console.
pub(super) struct Line {
    text: [u8; 40],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { text: [0; 40], length: 0 }
    }
}

impl Line {
    pub(super) fn add(&mut self, text: &str) {
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

    pub(super) fn print(&self) {
        SYSTEM.print(core::str::from_utf8(&self.text[..self.length]).unwrap_or("?"));
    }
}

/// A line of a word, a number, and perhaps another word.
pub(super) fn print(word: &str, number: u64, after: &str) {
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

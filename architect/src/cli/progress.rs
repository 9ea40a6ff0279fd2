//! Progress of long work on standard error: a bar on a terminal, a line now and then elsewhere.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// Time until rate and time left mean something.
const WARM_UP: Duration = Duration::from_secs(2);

/// Counts runs as they end.
pub(super) struct Progress {
    bar: ProgressBar,
    /// When to write the next line; `None` on a terminal.
    next_line: Option<Cell<Instant>>,
    begin: Cell<Instant>,
    total: Cell<usize>,
    before: Cell<usize>,
    made: Cell<usize>,
}

impl Progress {
    /// Nothing is shown before [`Progress::begin`].
    pub(super) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let now = Instant::now();
        Self {
            bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            next_line: (!terminal).then(|| Cell::new(now + LINE_EVERY)),
            begin: Cell::new(now),
            total: Cell::new(0),
            before: Cell::new(0),
            made: Cell::new(0),
        }
    }

    /// Work begins: of `total` runs, `before` are done already.
    pub(super) fn begin(&self, total: usize, before: usize) {
        self.begin.set(Instant::now());
        self.total.set(total);
        self.before.set(before);
        let style = ProgressStyle::with_template("{bar:30} {pos} of {len} runs{msg}");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.bar.set_length(total as u64);
        self.bar.set_position(before as u64);
    }

    /// One more run has ended.
    pub(super) fn step(&self) {
        self.made.set(self.made.get() + 1);
        self.bar.set_message(self.rate());
        self.bar.inc(1);
        let done = self.before.get() + self.made.get();
        if let Some(next) = &self.next_line
            && Instant::now() >= next.get()
            && done < self.total.get()
        {
            next.set(Instant::now() + LINE_EVERY);
            eprintln!("{done} of {} runs{}", self.total.get(), self.rate());
        }
    }

    /// Rate and time left of the runs made now; empty until there is enough to tell.
    fn rate(&self) -> String {
        let (made, elapsed) = (self.made.get(), self.begin.get().elapsed());
        if elapsed < WARM_UP {
            return String::new();
        }
        let per_second = made as f64 / elapsed.as_secs_f64();
        let left = self.total.get().saturating_sub(self.before.get() + made);
        let left = Duration::try_from_secs_f64(left as f64 / per_second).unwrap_or_default();
        format!(", {per_second:.1} per second, {} left", HumanDuration(left))
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

//! How far a campaign is, on standard error: a bar on a terminal, a line now and then elsewhere.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Counts runs as they are stored.
pub(super) struct Progress {
    bar: ProgressBar,
    /// When to write the next line; `None` on a terminal.
    next_line: Option<Cell<Instant>>,
    begin: Instant,
    total: usize,
    before: usize,
    made: Cell<usize>,
}

impl Progress {
    /// Of `total` runs, `before` were there already.
    pub(super) fn new(total: usize, before: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
        let template = "{bar:30} {pos} of {len} runs, {per_sec}, {eta} left";
        // The template is ours and right.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_position(before as u64);
        // Rate and time left are those of what is made now.
        bar.reset_eta();
        let now = Instant::now();
        Self {
            bar,
            next_line: (!terminal).then(|| Cell::new(now + LINE_EVERY)),
            begin: now,
            total,
            before,
            made: Cell::new(0),
        }
    }

    /// One more.
    pub(super) fn step(&self) {
        self.bar.inc(1);
        self.made.set(self.made.get() + 1);
        if let Some(next) = &self.next_line
            && Instant::now() >= next.get()
            && self.before + self.made.get() < self.total
        {
            next.set(Instant::now() + LINE_EVERY);
            eprintln!("{}", self.line());
        }
    }

    fn line(&self) -> String {
        let (made, seconds) = (self.made.get(), self.begin.elapsed().as_secs_f64());
        let left = self.total - self.before - made;
        let eta = seconds / made as f64 * left as f64;
        format!(
            "{} of {} runs, {:.1} a second, {} left",
            self.before + made,
            self.total,
            made as f64 / seconds,
            HumanDuration(Duration::try_from_secs_f64(eta).unwrap_or_default())
        )
    }

    /// Takes the bar away. Gives how many were made.
    pub(super) fn finish(self) -> usize {
        self.bar.finish_and_clear();
        self.made.get()
    }
}

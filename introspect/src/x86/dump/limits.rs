//! Bounds on what a core may contain.

/// Largest accepted number of program headers.
pub const MOST_SEGMENTS: usize = 1 << 20;
/// Largest number of CPUs of a core; further ones are left out.
pub const MOST_CPUS: usize = 1 << 12;

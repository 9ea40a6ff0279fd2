//! Bounds on what a core may contain.

/// Most program headers of a core.
pub const MOST_SEGMENTS: usize = 1 << 20;
/// Most processors of a core; more are left out.
pub const MOST_CPUS: usize = 1 << 12;

//! The kernel processes: ring 0, a stack of their own, the kernel's address space. They make the same system
//! calls as programs, through the kernel's gate ([`super::gate`]). They contain no `unsafe` code.

mod calls;
pub(crate) mod keymaster;
pub(crate) mod oracle;

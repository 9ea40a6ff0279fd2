//! Kernel images: any ELF kernel with a PVH entry point, checked before a byte of it is loaded.
//!
//! Owns [`Image`] (the bytes, and what the checks found), the layout of what a kernel is started with, and
//! the errors of both. An image can be loaded any number of times, into any guest with enough memory. The
//! checks are ours, because the user must be told in words what is wrong; the copying is `linux-loader`'s.
//! May use guest memory; called by `Machine`.

pub mod error;
mod image;
mod layout;
pub mod pvh;

pub use error::{ImageError, Problem};
pub use image::{Blob, Image, ImageSource, MAX_FILE, Segment};

#[cfg(test)]
mod tests;

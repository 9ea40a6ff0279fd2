//! The Matrix as a guest: its image and programs, its symbols, its core files.

pub mod core_file;
pub mod image;
pub mod programs;

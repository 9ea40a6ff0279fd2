//! The Matrix's image. Everything is in the library; the entry point is `arch/boot.rs`.
#![no_std]
#![no_main]

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    guest_kernel::arch::panic::panic(info)
}

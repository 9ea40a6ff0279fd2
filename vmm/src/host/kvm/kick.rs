//! Kicks: a signal makes `KVM_RUN` return, and does nothing else.
#![allow(unsafe_code)]

use std::io;
use std::time::Duration;

use vmm_sys_util::errno;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

/// A thread that runs a guest, as the target of kicks.
#[derive(Debug)]
pub struct KickTarget {
    process: libc::pid_t,
    thread: libc::pid_t,
}

impl KickTarget {
    /// The calling thread. Installs a handler for the kick signal that does nothing, so that the signal's
    /// only effect is that `KVM_RUN` returns.
    pub fn this_thread() -> Result<Self, errno::Error> {
        register_signal_handler(SIGRTMIN(), on_kick)?;
        let (process, thread) = (rustix::process::getpid(), rustix::thread::gettid());
        Ok(Self { process: process.as_raw_pid(), thread: thread.as_raw_pid() })
    }

    /// The thread's number.
    pub fn thread(&self) -> i32 {
        self.thread
    }

    /// Sends the signal at this interval until the alarm is dropped: a signal that arrives a moment before
    /// `KVM_RUN` begins is lost.
    pub fn signal_every(&self, time: Duration) -> io::Result<Alarm> {
        Alarm::new(self, time)
    }

    /// Sends the signal. A thread that has ended gets none.
    pub fn signal(&self) {
        // SAFETY: the call takes three numbers and touches no memory of ours. Its target is named by process
        // *and* thread, so a number that was used again can at worst name another thread of this process, in
        // which the signal does nothing either.
        unsafe { libc::syscall(libc::SYS_tgkill, self.process, self.thread, SIGRTMIN()) };
    }
}

/// Kicks a thread at an interval, without a second thread.
#[derive(Debug)]
pub struct Alarm(libc::timer_t);

impl Alarm {
    fn new(target: &KickTarget, every: Duration) -> io::Result<Self> {
        // SAFETY: numbers and pointers, of which all zeros is a value.
        let mut notice: libc::sigevent = unsafe { std::mem::zeroed() };
        notice.sigev_notify = libc::SIGEV_THREAD_ID;
        notice.sigev_signo = SIGRTMIN();
        notice.sigev_notify_thread_id = target.thread;
        let mut timer = std::ptr::null_mut();
        // SAFETY: the kernel reads one of the structures and writes the other, and both outlive the call.
        if unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut notice, &raw mut timer) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let alarm = Self(timer);
        let every = libc::timespec {
            tv_sec: every.as_secs() as _,
            tv_nsec: libc::c_long::from(every.subsec_nanos()),
        };
        let times = libc::itimerspec { it_interval: every, it_value: every };
        // SAFETY: the timer was just made; the kernel reads the structure and is given nothing to write to.
        match unsafe { libc::timer_settime(alarm.0, 0, &raw const times, std::ptr::null_mut()) } {
            0 => Ok(alarm),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: nothing else uses the timer. A signal that is under way does nothing when it comes.
        unsafe { libc::timer_delete(self.0) };
    }
}

extern "C" fn on_kick(_signal: i32, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {}

//! The arguments of system calls, read from the caller's registers into one struct for each call.

use abi::process::Context;

macro_rules! arguments {
    ($($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $about:literal])* $field:ident: $register:ident,)+ })+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy)]
            pub(crate) struct $name {
                $($(#[doc = $about])* pub(crate) $field: u64,)+
            }

            impl From<&Context> for $name {
                #[inline(always)]
                fn from(context: &Context) -> Self {
                    Self { $($field: context.$register,)+ }
                }
            }
        )+
    };
}

arguments! {
    /// Arguments of [`abi::syscall::Call::Exit`].
    ExitArguments {
        status: rdi,
    }
    /// Arguments of [`abi::syscall::Call::Sleep`].
    SleepArguments {
        ticks: rdi,
    }
    /// Arguments of [`abi::syscall::Call::Call`]. They stay in the sender's registers until a receiver takes
    /// the message.
    CallArguments {
        port: rdi,
        word0: rsi,
        word1: rdx,
        /// Address of the loan, a multiple of the page size.
        lent_at: r10,
        /// Bytes of the loan; 0 lends nothing.
        lent_bytes: r8,
        /// Ticks to wait for the reply; 0 waits without limit.
        timeout: r9,
    }
    /// Arguments of [`abi::syscall::Call::Receive`].
    ReceiveArguments {
        port: rdi,
        /// Ticks to wait; 0 waits without limit.
        timeout: rsi,
    }
    /// Arguments of [`abi::syscall::Call::Reply`].
    ReplyArguments {
        to: rdi,
        word0: rsi,
        word1: rdx,
        /// The port to wait at next; 0 for none.
        next_port: r10,
        /// Ticks to wait there; 0 waits without limit.
        timeout: r8,
    }
    /// Arguments of [`abi::syscall::Call::Bind`].
    BindArguments {
        port: rdi,
    }
    /// Arguments of [`abi::syscall::Call::Grow`].
    GrowArguments {
        bytes: rdi,
    }
    /// Arguments of [`abi::syscall::Call::Pet`].
    PetArguments {
        /// The timeout code of the watchdog's port.
        code: rdi,
    }
    /// Arguments of [`abi::syscall::Call::Print`].
    PrintArguments {
        length: rdi,
        text0: rsi,
        text1: rdx,
        text2: r10,
        text3: r8,
        text4: r9,
    }
    /// Arguments of [`abi::syscall::Call::Spawn`].
    SpawnArguments {
        program: rdi,
        uid: rsi,
        priority: rdx,
        argument: r10,
    }
    /// Arguments of [`abi::syscall::Call::Wait`].
    WaitArguments {
        /// Ticks to wait; 0 waits as long as there are children.
        timeout: rdi,
    }
    /// Arguments of [`abi::syscall::Call::Kill`].
    KillArguments {
        pid: rdi,
    }
    /// Arguments of [`abi::syscall::Call::Query`].
    QueryArguments {
        what: rdi,
        which: rsi,
    }
    /// Arguments of [`abi::syscall::Call::Grant`].
    GrantArguments {
        to: rdi,
        wanted: rsi,
        granted: rdx,
    }
    /// Arguments of [`abi::syscall::Call::Post`].
    PostArguments {
        port: rdi,
        at: rsi,
        bytes: rdx,
        /// Ticks to wait for room; 0 waits without limit.
        timeout: r10,
    }
    /// Arguments of [`abi::syscall::Call::Collect`].
    CollectArguments {
        port: rdi,
        at: rsi,
        capacity: rdx,
        /// Ticks to wait; 0 waits without limit.
        timeout: r10,
    }
    /// Arguments of [`abi::syscall::Call::Handle`].
    HandleArguments {
        handler: rdi,
        /// One past the return stack's highest byte.
        top: rsi,
        /// The address that the handler returns to.
        back: rdx,
    }
    /// Arguments of [`abi::syscall::Call::Signal`].
    SignalArguments {
        pid: rdi,
        number: rsi,
    }
    /// Arguments of [`abi::syscall::Call::Phone`].
    PhoneArguments {
        function: rdi,
        argument: rsi,
    }
    /// Arguments of [`abi::syscall::Call::HangUp`].
    HangUpArguments {
        result: rdi,
    }
    /// Arguments of [`abi::syscall::Call::Examine`].
    ExamineArguments {
        pid: rdi,
        /// Where to read in the other process.
        at: rsi,
        /// Where to write in the caller.
        buffer: rdx,
        bytes: r10,
    }
    /// Arguments of [`abi::syscall::Call::Attach`].
    AttachArguments {
        class: rdi,
        /// Page of the caller's image at which tagged processes continue.
        remedy: rsi,
    }
    /// Arguments of [`abi::syscall::Call::Tag`].
    TagArguments {
        pid: rdi,
        heuristic: rsi,
        score: rdx,
    }
    /// Arguments of [`abi::compat::V1_EXIT`] and the other calls of older versions.
    OldArguments {
        first: rdi,
        second: rsi,
    }
}

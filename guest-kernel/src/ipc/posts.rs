//! The posts of Agents: which process inspects which class of events, and where its state page is.

use abi::agents::Class;
use abi::{Frame, Pid};

/// The Agents that are attached, by class.
#[derive(Clone, Copy, Default)]
pub(super) struct Posts {
    posts: [Post; Class::ALL.len()],
    /// Whether there is any.
    attached: bool,
}

/// The Agent of a class; none while `pid` is [`Pid::NONE`].
#[derive(Clone, Copy, Default)]
struct Post {
    pid: Pid,
    frame: u32,
}

impl Posts {
    /// Whether an Agent is attached.
    #[inline(always)]
    pub(super) fn any(&self) -> bool {
        self.attached
    }

    /// The state page of a class's Agent, if it has one.
    pub(super) fn page(&self, class: Class) -> Option<Frame> {
        let Post { pid, frame } = self.posts[class as usize];
        (pid != Pid::NONE).then_some(Frame(u64::from(frame)))
    }

    /// Whether a process is an Agent.
    pub(super) fn has(&self, pid: Pid) -> bool {
        self.posts.iter().any(|post| post.pid == pid)
    }

    /// Makes a process the Agent of a class.
    pub(super) fn attach(&mut self, class: Class, pid: Pid, frame: Frame) {
        self.posts[class as usize] = Post { pid, frame: frame.0 as u32 };
        self.attached = true;
    }

    /// Frees the posts of a process.
    pub(super) fn detach(&mut self, pid: Pid) {
        for post in &mut self.posts {
            if post.pid == pid {
                *post = Post::default();
            }
        }
        self.attached = self.posts.iter().any(|post| post.pid != Pid::NONE);
    }
}

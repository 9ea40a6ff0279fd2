//! The gateway: the one way by which data passes between the memory of user processes and that of the kernel. (In the
//! story: the Trainman.)

//! The kernel on the host: a machine made of plain memory, a test in the place of the programs, and what must
//! hold after every kernel entry, whatever the programs do.
//!
//! | file | subject |
//! |---|---|
//! | `machine` | a [`Hardware`](crate::hardware::Hardware) of plain memory, with a translation cache that is never forgiving |
//! | `matrix` | a kernel on it, and a test that acts as the program that runs |
//! | `invariants` | what must hold after every kernel entry, read from the tables and page tables themselves |
//! | `messages`, `lending` | calls, replies, time-outs; loans, windows, late accesses |
//! | `network`, `gateway` | datagrams and their buffers; copies, and who waits for room |
//! | `lives`, `faults` | birth, death, waiting for children; faults, the stack, the heap |
//! | `paging` | demand paging, the low-water mark, the end of memory |
//! | `signals`, `phones`, `shims` | handlers and return stacks; user code in ring 0; calls of older versions |
//! | `hiding` | a process that the process table does not name |
//! | `rights` | what is refused to whom |
//! | `quarantine` | epochs, pressure, the pager's fix and the bug without it |
//! | `agents` | taps, tags, state pages, reads of others' memory |
//! | `services` | the service table, restarts, the host's commands |
//! | `broken` | hardware that does wrong by the host's orders |
//! | `keys` | who is entitled to what, and the grant log |
//! | `clock` | ticks, timers, idle time, the trace ring |
//! | `oracle` | who attends to the timer, missed ticks, order and accounts, lent priorities, age |
//! | `nonsense` | calls with arguments of every wrong kind: known answers, counted, and harmless to others |
//! | `random` | whatever programs do: no panic, and the invariants |

mod agents;
mod broken;
mod clock;
mod faults;
mod gateway;
mod hiding;
mod invariants;
mod keys;
mod lending;
mod lives;
mod machine;
mod matrix;
mod messages;
mod network;
mod nonsense;
mod oracle;
mod paging;
mod phones;
mod quarantine;
mod random;
mod rights;
mod services;
mod shims;
mod signals;

//! Faults under load: what was acknowledged is never lost, however the processes die.

mod crash;
mod freeze;
mod history;

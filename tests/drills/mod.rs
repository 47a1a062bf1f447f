//! Faults under load: what was acknowledged is never lost, however the processes die, and no gateway
//! accepts it for longer than was promised.

mod allowances;
mod clocks;
mod crash;
mod delegation;
mod disks;
mod drill;
mod failover;
mod fleet;
mod freeze;
mod gateway;
mod history;
mod kills;
mod ledger;
mod load;
mod logs;
mod network;
mod outage;
mod pauses;
mod replicas;
mod restores;
mod soak;
mod targets;

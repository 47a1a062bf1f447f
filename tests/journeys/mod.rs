//! Whole stories, told through real processes.

mod dev;
mod outages;
mod replicas;
mod rolling;
mod rotation;
mod shutdown;
mod start;
mod story;
mod workload;

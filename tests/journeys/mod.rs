//! Whole stories, told through real processes.

mod apply;
mod dev;
mod files;
mod flood;
mod keys;
mod outages;
mod quota;
mod rates;
mod receipts;
mod replicas;
mod restores;
mod rolling;
mod rotation;
mod shutdown;
mod stampede;
mod start;
mod story;
mod tokens;
mod webhooks;
mod workload;

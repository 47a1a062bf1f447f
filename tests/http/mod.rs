//! The API as somebody on the network sees it: status, headers, whole body. Each file is named after the one
//! of `src/` that it tests, and speaks to the built service.

mod admin;
mod api;
mod bodies;
mod caller;
mod canary;
mod feed;
mod heartbeat;
mod introspect;
mod limits;
mod mint;
mod ops;
mod prices;
mod publish;
mod quotas;
mod rates;
mod raw;
mod receipts;
mod recorder;
mod retention;
mod revoke;
mod selectors;
mod serve;
mod slow;
mod tenants;
mod tls;
mod usage;

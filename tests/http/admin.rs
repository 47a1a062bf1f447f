//! Administration, one file for each noun; the keys' are in `publish.rs`, with what they publish.

mod audit;
mod clients;
mod lifecycle;
mod operators;
mod policies;
mod tokens;

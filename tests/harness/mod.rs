//! Real servers for the tests.

pub(crate) mod postgres;

//! `openapi.yaml` and the running service, held against each other in both directions.

pub mod document;
mod replies;
mod routes;
mod session;
mod writing;

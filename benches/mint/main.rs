//! What a token costs. `make bench` runs all but the long form of `memory`; `cargo bench --bench mint
//! -- whole peer` parts, and a number after them sets the rounds (for `memory`, the seconds).
//!
//! The service is the built binary in a process of its own, with two workers, on SQLite and on
//! Postgres, durable. Whatever it is compared with has a process and two workers too, and gets the
//! same load: 64 connections that are kept, from one thread of this process, on the same machine.

mod bare;
mod field;
#[path = "../feed/figures.rs"]
mod figures;
mod group;
mod growth;
#[allow(dead_code, unreachable_pub, reason = "the tests' harness; little of it is needed here")]
#[path = "../../tests/harness/mod.rs"]
mod harness;
mod load;
mod memory;
mod peer;
mod proc;
mod side;
mod whole;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let [first, token] = &arguments[..]
        && first == bare::COMMAND
    {
        return bare::serve(token).await;
    }
    let number = arguments.iter().find_map(|argument| argument.parse().ok());
    let names: Vec<&String> =
        arguments.iter().filter(|argument| argument.parse::<u64>().is_err()).collect();
    let is_asked = |name: &str| names.is_empty() || names.iter().any(|asked| *asked == name);
    if is_asked("whole") {
        whole::run(number.unwrap_or(10)).await;
    }
    if is_asked("group") {
        group::run(number.unwrap_or(10)).await;
    }
    if is_asked("growth") {
        growth::run(number.unwrap_or(10)).await;
    }
    if is_asked("peer") {
        peer::run(number.unwrap_or(5)).await;
    }
    if is_asked("memory") {
        memory::run(number.unwrap_or(60)).await;
    }
}

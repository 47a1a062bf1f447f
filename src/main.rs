//! Parses the command line and dispatches.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use scrip::cli::Cli;

/// A mint is hundreds of small allocations on threads that hand them to each other, which glibc's
/// allocator pays for with a sixth of the time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    Cli::parse().run().await
}

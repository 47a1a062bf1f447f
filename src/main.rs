//! Parses the command line and dispatches.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mimalloc::MiMalloc;
use scrip::cli::Cli;
use tokio::runtime::Runtime;

/// A mint is hundreds of small allocations on threads that hand them to each other, which glibc's
/// allocator pays for with a sixth of the time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How long the end waits for a disk that hangs: what is written there is whole, or not there.
const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("scrip: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(Cli::parse().run());
    runtime.shutdown_timeout(PATIENCE);
    code
}

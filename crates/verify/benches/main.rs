//! What verification costs, as ratios to baselines of the same run. `make bench` runs all;
//! `cargo bench -p scrip-verify -- warm` a part.

mod cold;
mod deny;
mod fixture;
mod rounds;
mod warm;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, run) in [("deny", deny::run as fn()), ("cold", cold::run), ("warm", warm::run)] {
        if asked.is_empty() || asked.iter().any(|part| part == name) {
            run();
        }
    }
}

//! Writes `crates/token/golden/golden.json`. Run by hand after a change of its table:
//! `cargo run -p scrip-verify --example golden`.

mod set;

fn main() -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../token/golden/golden.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    std::fs::write(path, set::text(&committed))
}

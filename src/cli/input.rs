//! Files that are named on the command line.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::failure::Failure;

/// Reads a text of at most `most` bytes; `-` is standard input.
pub(super) fn read(path: &Path, most: usize) -> Result<String, Failure> {
    let refuse = |why: &dyn std::fmt::Display| Failure::Usage(format!("{}: {why}", path.display()));
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => Box::new(File::open(path).map_err(|error| refuse(&error))?),
    };
    let mut text = String::new();
    source.take(most as u64 + 1).read_to_string(&mut text).map_err(|error| refuse(&error))?;
    if text.len() > most {
        return Err(refuse(&format_args!("longer than {most} bytes")));
    }
    Ok(text)
}

/// What is wrong with a text in TOML, and where.
pub(super) fn at(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(start).filter(|&b| b == b'\n').count() + 1;
    format!("line {line}: {}", error.message().replace('\n', ", "))
}

//! One file that holds a token that lives, or is not there.
//!
//! A token that has ended is removed, because a file that is not there says more than a 401. Only a
//! token is ever replaced by a token. The next one is written beside it under a fixed name, which a
//! killed process leaves for the next one to remove.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use scrip_token::limits::MAX_TOKEN_BYTES;

use super::super::failure::Failure;
use super::super::verify::unproved;

/// A place for tokens, its owner's alone. Whoever reads it finds one whole token, without a line
/// break at its end.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    folder: PathBuf,
    /// In the same folder, hence on the same file system.
    next: PathBuf,
}

impl TokenFile {
    /// A place that is free, or holds a token that a process before this one left; and when that
    /// one ends, in seconds since the epoch.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a symbolic link, a folder, and a file with something else in it:
    /// nobody's key is replaced by mistake.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<u64>), Failure> {
        let refuse =
            |why: &dyn std::fmt::Display| Failure::Usage(format!("{}: {why}", path.display()));
        let name = path.file_name().ok_or_else(|| refuse(&"is no file's name"))?;
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        if !fs::metadata(&folder)
            .map_err(|error| refuse(&format_args!("its folder: {error}")))?
            .is_dir()
        {
            return Err(refuse(&"its folder is none"));
        }
        let next = folder.join([OsStr::new("."), name, OsStr::new(".next")].join(OsStr::new("")));
        let file = Self { path: path.to_owned(), folder, next };
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((file, None)),
            Err(error) => return Err(refuse(&error)),
        };
        if metadata.is_symlink() {
            return Err(refuse(&"is a symbolic link; name the file itself"));
        }
        if !metadata.is_file() {
            return Err(refuse(&"is there, and is no file"));
        }
        let mut there = Vec::new();
        let reading = File::open(path)
            .and_then(|file| file.take(MAX_TOKEN_BYTES as u64 + 1).read_to_end(&mut there));
        reading.map_err(|error| refuse(&error))?;
        match unproved(there.trim_ascii_end()) {
            Some(claims) => Ok((file, Some(claims.exp))),
            None => Err(refuse(&"is there, and holds no token; it is not replaced")),
        }
    }

    /// Puts a token in the place of the one before. Whoever reads meanwhile finds either; a crash
    /// leaves either.
    pub(super) fn put(&self, token: &str) -> io::Result<()> {
        // Left by a process that was killed: never written to, for it may be somebody else's by now.
        absent(fs::remove_file(&self.next))?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.next)?;
        file.write_all(token.as_bytes())?;
        file.sync_all()?;
        fs::rename(&self.next, &self.path)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Takes away what is there.
    pub(super) fn remove(&self) -> io::Result<()> {
        absent(fs::remove_file(&self.path))
    }
}

impl std::fmt::Display for TokenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.display().fmt(f)
    }
}

fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Runs a shell script when it is dropped, or when this process ends without dropping it: by returning from
/// `main` (statics are never dropped), by `abort`, by `kill -9`.
///
/// The script waits in a shell for the end of its standard input, which the kernel closes with this process.
pub struct AtExit {
    shell: Child,
}

impl AtExit {
    /// `arguments` are the script's `$1`, `$2`, ...
    pub fn run(script: &str, arguments: &[&str]) -> Self {
        let shell = Command::new("sh")
            .args(["-c", &format!("read -r cancelled || {{ {script}; }}"), "at-exit"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Away from the terminal's group: Ctrl-C must not end the shell before its work.
            .process_group(0)
            .spawn()
            .expect("a POSIX shell starts");
        Self { shell }
    }

    /// Forgets the script.
    pub fn cancel(mut self) {
        let _ = self.shell.stdin.take().expect("only drop closes it").write_all(b"cancelled\n");
    }
}

impl Drop for AtExit {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

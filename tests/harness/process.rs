use super::at_exit::AtExit;
use super::until::within;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The longest that a process may take to say something, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A child process. What it writes is kept; it ends with this value, or with the test binary.
pub struct Process {
    program: String,
    child: Child,
    output: TempDir,
    /// Bytes of standard output that [`Process::unread`] has returned.
    read: u64,
    end: Option<AtExit>,
}

impl Process {
    /// Starts `command`; to be ended by `SIGKILL`.
    pub fn start(command: Command) -> Self {
        Self::start_in(&std::env::temp_dir(), command, Signal::Kill)
    }

    /// Starts `command` with its output kept below `folder`; to be ended by `last`.
    pub fn start_in(folder: &Path, mut command: Command, last: Signal) -> Self {
        let output = TempDir::new_in(folder).expect("a folder for the output");
        let file = |name| File::create(output.path().join(name)).expect("a file for the output");
        let child = command
            .stdin(Stdio::piped())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let end = AtExit::run(
            "kill -s \"$2\" \"$1\"; kill -s CONT \"$1\"",
            &[&child.id().to_string(), last.name()],
        );
        let program = command.get_program().to_string_lossy().into_owned();
        Self { program, child, output, read: 0, end: Some(end) }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything written to standard output so far.
    pub fn stdout(&self) -> String {
        self.written("stdout")
    }

    /// Everything written to standard error so far.
    pub fn stderr(&self) -> String {
        self.written("stderr")
    }

    /// Writes one line to its standard input.
    pub fn write_line(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped at the start");
        writeln!(stdin, "{line}").unwrap_or_else(|error| panic!("{}: {error}", self.program));
    }

    /// Waits for the first complete line of standard output that `wanted` accepts.
    pub async fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        self.written_lines(|lines| lines.iter().find(|line| wanted(line)).cloned()).await
    }

    /// Waits for complete lines of standard output, counted from 0.
    pub async fn lines(&mut self, which: Range<usize>) -> Vec<String> {
        self.written_lines(|lines| lines.get(which.clone()).map(<[_]>::to_vec)).await
    }

    /// The lines of standard output that were completed since this was called last.
    pub fn unread(&mut self) -> Vec<String> {
        let mut stdout =
            File::open(self.output.path().join("stdout")).expect("it was created at the start");
        stdout.seek(SeekFrom::Start(self.read)).expect("it is a file");
        let mut written = String::new();
        stdout.read_to_string(&mut written).expect("it writes text");
        let complete = written.rfind('\n').map_or(0, |last| last + 1);
        self.read += complete as u64;
        written[..complete].lines().map(str::to_owned).collect()
    }

    async fn written_lines<T>(&mut self, pick: impl Fn(&[String]) -> Option<T>) -> T {
        let found = within(PATIENCE, async || {
            // Asked first: what it wrote before its end is all there when it is read afterwards.
            let ended = self.ended();
            let stdout = self.stdout();
            let lines = stdout.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            let lines: Vec<String> = lines.map(str::to_owned).collect();
            pick(&lines).map(Ok).or(ended.map(Err))
        })
        .await;
        self.expect(found)
    }

    /// Waits until `probe` answers, as long as the process runs.
    pub async fn until<T>(&mut self, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
        let found = within(PATIENCE, async || match self.ended() {
            Some(status) => Some(Err(status)),
            None => probe().await.map(Ok),
        })
        .await;
        self.expect(found)
    }

    pub fn signal(&self, signal: Signal) {
        // Reaped: its process id may already be somebody else's.
        if self.end.is_some() {
            send(signal, self.pid());
        }
    }

    /// `kill -9`, with no shell in between: what is done in the meantime would be lost to the test.
    pub async fn kill(&mut self) {
        self.child.kill().expect("it is a child of this process");
        self.exit().await;
    }

    /// Waits for its end.
    pub async fn exit(&mut self) -> ExitStatus {
        let found = within(PATIENCE, async || self.ended().map(Ok)).await;
        self.expect(found)
    }

    /// Its status, as soon as it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("it is a child of this process")?;
        if let Some(end) = self.end.take() {
            end.cancel();
        }
        Some(status)
    }

    fn expect<T>(&self, found: Option<Result<T, ExitStatus>>) -> T {
        match found {
            Some(Ok(found)) => found,
            Some(Err(status)) => panic!("ended too early, with {status}\n{self}"),
            None => panic!("waited {PATIENCE:?}\n{self}"),
        }
    }

    fn written(&self, name: &str) -> String {
        let bytes = fs::read(self.output.path().join(name)).expect("it was created at the start");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--- {} stdout\n{}--- stderr\n{}---", self.program, self.stdout(), self.stderr())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.child.wait();
    }
}

#[derive(Clone, Copy)]
pub enum Signal {
    Continue,
    Kill,
    Quit,
    Stop,
    Terminate,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Continue => "CONT",
            Self::Kill => "KILL",
            Self::Quit => "QUIT",
            Self::Stop => "STOP",
            Self::Terminate => "TERM",
        }
    }
}

/// Sends `signal`, if there is still such a process. By the shell's own `kill`: the machine may have no other.
pub fn send(signal: Signal, pid: u32) {
    Command::new("sh")
        .args(["-c", "kill -s \"$2\" \"$1\" 2>/dev/null", "kill", &pid.to_string(), signal.name()])
        .status()
        .expect("a POSIX shell starts");
}

/// A port that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

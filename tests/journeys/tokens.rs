//! Workloads that are not Rust: a token in a file that is kept fresh, and in a command's environment.

use crate::harness::acme::Acme;
use crate::harness::cli::Cli;
use crate::harness::front::front;
use crate::harness::http::Http;
use crate::harness::process::{Process, Signal};
use crate::harness::service::Installation;
use crate::harness::until::until;
use scrip_token::compact::Compact;
use scrip_token::limits::MAX_TOKEN_BYTES;
use scrip_token::{Claims, Jti};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_holds_one_whole_token_that_lives_or_is_not_there() {
    let mut field = Field::found().await;
    let reader = Reader::of(&field.file);
    let mut watch = field.watch(&[]);
    reader.tokens(3).await;
    let mode = fs::metadata(&field.file).expect("a token is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let first = field.read().expect("a token is there");
    assert!(
        Http::new(&field.acme.installation).give_up(&field.billing, &first).await.status == 200
    );

    // The service is away: what is there is there until its end, and no longer.
    field.acme.kill().await;
    until("the file is gone", PATIENCE, async || field.read().is_none().then_some(())).await;
    until("it is said why", PATIENCE, async || {
        let said = watch.stderr();
        (said.contains("no new token: Scrip is away") && said.contains("has ended")).then_some(())
    })
    .await;
    field.acme.start().await;
    let seen = reader.seen();
    reader.tokens(seen + 2).await;

    watch.signal(Signal::Terminate);
    assert!(watch.exit().await.success(), "{watch}");
    assert!(watch.stderr().contains("renewed no more"), "{watch}");
    assert_eq!(field.leftovers(), 0);
    reader.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_keeps_a_file_is_killed_and_nobody_reads_half_a_token() {
    let field = Field::found().await;
    let reader = Reader::of(&field.file);
    for round in 0..12 {
        let mut watch = field.watch(&[]);
        // At another moment each time, before the first token, while it is written, after it.
        let seen = reader.seen();
        if round % 3 > 0 {
            reader.tokens(seen + 1).await;
        }
        watch.kill().await;
    }
    // What the killed ones left is in nobody's way.
    fs::write(field.next(), "eyJ").expect("the folder is the test's own");
    let mut watch = field.watch(&[]);
    reader.tokens(reader.seen() + 2).await;
    watch.signal(Signal::Terminate);
    assert!(watch.exit().await.success(), "{watch}");
    assert_eq!(field.leftovers(), 0);
    reader.end();
}

#[tokio::test]
async fn a_file_is_not_replaced_that_holds_something_else() {
    let field = Field::found().await;
    let folder = field.acme.installation.folder.path();
    let (key, link) = (folder.join("id_ed25519"), folder.join("link"));
    fs::write(&key, "somebody's key").expect("the folder is the test's own");
    symlink(&key, &link).expect("the folder is the test's own");
    let nowhere = folder.join("absent").join("token");
    for (path, why) in [
        (&key, "holds no token"),
        (&link, "symbolic link"),
        (&folder.to_owned(), "no file"),
        (&nowhere, "its folder"),
    ] {
        let path = path.to_str().expect("a plain name");
        let refused = field.outcome(&["token", "get", "--watch", "--file", path]).await;
        assert_eq!(refused.0, Some(2), "{refused:?}");
        assert!(refused.1.contains(why), "{refused:?}");
    }
    assert_eq!(fs::read_to_string(&key).expect("it is still there"), "somebody's key");

    // Whoever has the wrong secret, or asks for too much, is not kept waiting.
    let wrong = Cli::new(&field.acme.installation, "acme/billing", "scrip_mc_acme_x");
    let file = field.file.to_str().expect("a plain name");
    let refused = field.end(field.as_client(&wrong, &["token", "get", "--watch", "--file", file]));
    let refused = refused.await;
    assert_eq!(refused.0, Some(1), "{refused:?}");
    assert!(refused.1.contains("invalid_client"), "{refused:?}");
    assert_eq!(field.read(), None);
}

#[tokio::test]
async fn systemd_is_told_when_there_is_a_token_and_that_somebody_looks_after_it() {
    let mut field = Field::found().await;
    let socket = field.acme.installation.folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("the folder is the test's own");
    manager.set_read_timeout(Some(PATIENCE)).expect("a time");
    let heard = async |wanted: &'static str| {
        let manager = manager.try_clone().expect("a socket");
        let listening = tokio::task::spawn_blocking(move || {
            let mut before = Vec::new();
            loop {
                let mut datagram = [0; 1024];
                let read = manager.recv(&mut datagram).expect(wanted);
                let text = String::from_utf8_lossy(&datagram[..read]).into_owned();
                before.push(text.clone());
                if text.contains(wanted) {
                    return before;
                }
            }
        });
        listening.await.expect("it does not panic")
    };

    field.acme.kill().await;
    let environment =
        [("NOTIFY_SOCKET", socket.to_str().expect("a plain name")), ("WATCHDOG_USEC", "1000000")];
    let mut watch = field.watch(&environment);
    let early = heard("STATUS=no new token: Scrip is away").await;
    assert!(!early.iter().any(|text| text.contains("READY=1")), "{early:?}");
    assert_eq!(field.read(), None);
    field.acme.start().await;
    heard("READY=1").await;
    assert!(field.read().is_some(), "ready, and a token is there");
    heard("WATCHDOG=1").await;
    heard("WATCHDOG=1").await;
    watch.signal(Signal::Terminate);
    heard("STOPPING=1").await;
    assert!(watch.exit().await.success(), "{watch}");
}

#[tokio::test]
async fn a_command_has_a_token_at_hand_and_ends_as_it_would_alone() {
    let field = Field::found().await;
    let runtime = field.acme.installation.folder.path().join("run");
    fs::create_dir(&runtime).expect("the folder is the test's own");
    let exec = |script: &str| {
        let words = ["token", "exec", "--env", "OPENAI_API_KEY", "--env", "ANTHROPIC_AUTH_TOKEN"];
        let mut command = field.as_client(&field.billing, &[&words[..], &["--"]].concat());
        command.args(["sh", "-c", script]).env("XDG_RUNTIME_DIR", &runtime);
        command
    };

    let script = r#"echo "$OPENAI_API_KEY"; echo "$ANTHROPIC_AUTH_TOKEN"; cat "$SCRIP_TOKEN_FILE"; echo
        stat -c %a "$SCRIP_TOKEN_FILE" "$(dirname "$SCRIP_TOKEN_FILE")"
        echo "${SCRIP_CLIENT_SECRET-none}"; echo "${SCRIP_CLIENT_SECRET_FILE-none}"; exit 7"#;
    let secret = field.acme.installation.folder.path().join("secret");
    fs::write(&secret, &field.billing.secret).expect("the folder is the test's own");
    let mut by_file = exec(script);
    by_file.env_remove("SCRIP_CLIENT_SECRET").env("SCRIP_CLIENT_SECRET_FILE", &secret);
    let mut command = Process::start(by_file);
    assert_eq!(command.exit().await.code(), Some(7), "{command}");
    let printed = command.stdout();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 7, "{printed}");
    assert!(lines[0] == lines[1] && lines[1] == lines[2], "{printed}");
    jti(lines[0]).expect("a token");
    assert_eq!(&lines[3..], ["600", "700", "none", "none"]);
    assert_eq!(fs::read_dir(&runtime).expect("it is there").count(), 0, "the token is gone");

    // Signals reach it, and it decides what they mean.
    let script = r#"trap 'echo told; exit 3' TERM; echo "$SCRIP_TOKEN_FILE"
        while :; do sleep 0.05; done"#;
    let mut command = Process::start(exec(script));
    let file = PathBuf::from(command.line(|_| true).await);
    let reader = Reader::of(&file);
    reader.tokens(2).await;
    command.signal(Signal::Terminate);
    assert_eq!(command.exit().await.code(), Some(3), "{command}");
    assert!(command.stdout().ends_with("told\n"), "{command}");
    reader.end();
    assert_eq!(fs::read_dir(&runtime).expect("it is there").count(), 0, "the token is gone");

    for (program, code) in [("/nowhere/at/all", 127), ("/", 126)] {
        let words = ["token", "exec", "--", program];
        let refused = field.end(field.as_client(&field.billing, &words)).await;
        assert_eq!(refused.0, Some(code), "{refused:?}");
    }
    let mut killed = Process::start(exec("kill -KILL $$"));
    assert_eq!(killed.exit().await.code(), Some(128 + 9), "{killed}");
}

#[tokio::test]
async fn the_keys_of_a_terminal_reach_a_command_once() {
    let field = Field::found().await;
    let work = r#"trap 'echo told' INT; trap 'echo done; exit 0' QUIT; echo ready
        while :; do sleep 0.05; done"#;
    // At a terminal, with its input from elsewhere.
    let alone = field.as_client(&field.billing, &[]);
    let mut command = Command::new("script");
    let line = r#"exec "$SCRIP" token exec -- sh -c "$WORK" < /dev/null"#;
    command.args(["--quiet", "--return", "--command", line, "/dev/null"]).env_clear();
    command.envs(alone.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("SHELL", "/bin/sh").env("SCRIP", alone.get_program()).env("WORK", work);
    let mut terminal = Process::start(command);
    terminal.line(|line| line.contains("ready")).await;
    terminal.write_line("\x03");
    terminal.line(|line| line.contains("told")).await;
    terminal.write_line("\x1c");
    assert_eq!(terminal.exit().await.code(), Some(0), "{terminal}");
    let printed = terminal.stdout();
    assert_eq!((printed.matches("told").count(), printed.matches("done").count()), (1, 1));
}

#[tokio::test]
async fn whoever_has_no_quota_left_is_told_so_at_once() {
    let acme = Acme::found(Installation::on_sqlite()).await;
    let policy = acme.installation.folder.path().join("little.toml");
    fs::write(&policy, LITTLE).expect("the folder is the test's own");
    acme.operator.run(&["policy", "apply", policy.to_str().expect("a plain name")]).await;
    let create = ["client", "create", "acme/little", "--policy", "acme/little"];
    let made = acme.operator.json(&[&create[..], &["--source", "embedded"]].concat()).await;
    let secret = made["secret"].as_str().expect("shown this once");
    let little = Cli::new(&acme.installation, "acme/little", secret);
    little.token(&[]).await;
    let exec = little.command(&["token", "exec", "--", "/bin/true"]);
    let mut refused = Process::start(exec);
    let ended = tokio::time::timeout(Duration::from_secs(8), refused.exit()).await;
    assert_eq!(ended.expect("it does not wait").code(), Some(1), "{refused}");
    assert!(
        refused.stderr().contains("0 of the quota of 1000 tokens per day are left"),
        "{refused}"
    );
}

/// A token takes all that there is.
const LITTLE: &str = r#"
name      = "acme/little"
audiences = ["llm-gateway"]
scopes    = ["llm:chat"]
env       = "prod"
budget    = { tokens = 1000 }
quota     = { tokens = 1000, window = "day" }
"#;

/// A service behind a front that tells of shorter lives than its tokens have.
struct Field {
    acme: Acme,
    billing: Cli,
    front: String,
    file: PathBuf,
}

impl Field {
    async fn found() -> Self {
        let installation = Installation::on_sqlite();
        let front = front(installation.url()).await;
        let acme = Acme::found(installation.set("SCRIP_ISSUER", &front)).await;
        let billing = acme.embedded("acme/billing").await;
        let folder = acme.installation.folder.path().join("tokens");
        fs::create_dir(&folder).expect("the folder is the test's own");
        Self { file: folder.join("billing"), acme, billing, front }
    }

    fn as_client(&self, client: &Cli, arguments: &[&str]) -> Command {
        let mut command = client.command(arguments);
        command.env("SCRIP_URL", &self.front).env("PATH", "/usr/bin:/bin");
        command
    }

    fn watch(&self, environment: &[(&str, &str)]) -> Process {
        let file = self.file.to_str().expect("a plain name");
        let mut command =
            self.as_client(&self.billing, &["token", "get", "--watch", "--file", file]);
        command.envs(environment.iter().copied());
        Process::start(command)
    }

    async fn outcome(&self, arguments: &[&str]) -> (Option<i32>, String) {
        self.end(self.as_client(&self.billing, arguments)).await
    }

    /// How a command ends, and what it says.
    async fn end(&self, command: Command) -> (Option<i32>, String) {
        let mut process = Process::start(command);
        (process.exit().await.code(), process.stderr())
    }

    fn read(&self) -> Option<String> {
        read(&self.file)
    }

    /// Where the next token is written before it takes its place.
    fn next(&self) -> PathBuf {
        self.file.with_file_name(".billing.next")
    }

    /// Files beside the one that there should be.
    fn leftovers(&self) -> usize {
        let folder = self.file.parent().expect("a folder");
        let files = fs::read_dir(folder).expect("the folder is the test's own").flatten();
        files.filter(|file| file.path() != self.file).count()
    }
}

/// Reads a file again and again, as fast as it can.
struct Reader {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<BTreeSet<Jti>>>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn of(file: &Path) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let seen = Arc::<Mutex<BTreeSet<Jti>>>::default();
        let thread = std::thread::spawn({
            let (file, stop, seen) = (file.to_owned(), stop.clone(), seen.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Some(token) = read(&file) {
                        let jti = jti(&token).unwrap_or_else(|| panic!("not a token: {token:?}"));
                        seen.lock().expect("nobody panics with it").insert(jti);
                    }
                    std::thread::yield_now();
                }
            }
        });
        Self { stop, seen, thread }
    }

    /// How many tokens have been there.
    fn seen(&self) -> usize {
        self.seen.lock().expect("nobody panics with it").len()
    }

    /// Waits until so many have been there.
    async fn tokens(&self, wanted: usize) {
        until("so many tokens", PATIENCE, async || {
            assert!(!self.thread.is_finished(), "what was read is no token");
            (self.seen() >= wanted).then_some(())
        })
        .await;
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("all that was read were whole tokens");
    }
}

/// What a file holds, if it is there.
fn read(file: &Path) -> Option<String> {
    match fs::read_to_string(file) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{error}"),
    }
}

fn jti(token: &str) -> Option<Jti> {
    let payload = Compact::parse(token.as_bytes(), MAX_TOKEN_BYTES).ok()?.payload;
    Some(Claims::parse(&payload).ok()?.jti)
}

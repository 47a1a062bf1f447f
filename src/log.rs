//! The log, on standard error. Nobody waits for whoever reads it: lines go to a thread of their own,
//! and are lost where that gets rid of them too slowly or not at all (a pipe that nobody reads, a
//! full disk, nobody left at the other end).
//!
//! The audit log is another thing: it is in the database, in the transaction of what it tells of.
//!
//! Written where they arise, as tracing does by itself, lines stop every request with a pipe that
//! nobody reads; with a full disk the complaint about a failed write went to the same place, and
//! panicked. tracing-appender counts lines where this counts bytes, keeps silent about errors, and
//! prints to standard output where it cannot end.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// What may wait to be written, in bytes: thousands of lines.
const MOST_WAITING: usize = 4 << 20;
/// Longest wait for what is left at the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where lines are handed over, one with each write.
#[derive(Clone)]
pub struct Lines {
    queue: Sender<Message>,
    shared: Arc<Shared>,
}

/// When it is dropped, what is waiting is written, unless that takes too long.
#[must_use]
pub struct Rest(Sender<Message>);

enum Message {
    Line(Vec<u8>),
    /// Everything before it has been dealt with.
    End(Sender<()>),
}

#[derive(Default)]
struct Shared {
    /// Bytes in the queue.
    waiting: AtomicUsize,
    /// Lines that were lost since a line told of it.
    lost: AtomicU64,
}

impl Lines {
    /// Starts to write to `out`.
    ///
    /// # Errors
    /// Where the system has no thread left.
    pub fn to(out: impl Write + Send + 'static) -> io::Result<(Self, Rest)> {
        let (queue, messages) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let writer = shared.clone();
        let thread = std::thread::Builder::new().name("log".to_owned());
        thread.spawn(move || writer.write(out, &messages))?;
        Ok((Self { queue: queue.clone(), shared }, Rest(queue)))
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let size = line.len();
        let before = self.shared.waiting.fetch_add(size, Ordering::Relaxed);
        if before + size > MOST_WAITING || self.queue.send(Message::Line(line.to_vec())).is_err() {
            self.shared.waiting.fetch_sub(size, Ordering::Relaxed);
            self.shared.lose();
        }
        Ok(size)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Shared {
    fn write(&self, mut out: impl Write, messages: &Receiver<Message>) {
        for message in messages {
            let line = match message {
                Message::Line(line) => line,
                Message::End(done) => {
                    let _ = done.send(());
                    continue;
                }
            };
            let written = out.write_all(&line);
            self.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            if written.is_err() {
                self.lose();
                continue;
            }
            // Said once lines get through again, through the queue like any other line.
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::warn!(lost, "lines of this log were lost");
            }
        }
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("scrip_log_lines_lost_total").increment(1);
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let (done, is_done) = mpsc::channel();
        if self.0.send(Message::End(done)).is_ok() {
            let _ = is_done.recv_timeout(PATIENCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_left_is_written_by_the_end() {
        let paper = Paper::default();
        let (mut lines, rest) = Lines::to(paper.clone()).unwrap();
        for number in 0..1000 {
            writeln!(lines, "{number:03}").unwrap();
        }
        drop(rest);
        let written = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        let expected: String = (0..1000).map(|number| format!("{number:03}\n")).collect();
        assert_eq!(written, expected);
    }

    #[test]
    fn nobody_waits_for_a_writer_that_hangs_and_what_waits_is_bounded() {
        let paper = Paper::default();
        let (mut lines, rest) = Lines::to(paper.clone()).unwrap();
        let held = paper.0.lock().unwrap();
        let line = [b'x'; 1 << 10];
        for _ in 0..2 * MOST_WAITING / line.len() {
            lines.write_all(&line).unwrap();
        }
        assert!(lines.shared.waiting.load(Ordering::Relaxed) <= MOST_WAITING);
        let lost = lines.shared.lost.load(Ordering::Relaxed) as usize;
        assert_eq!(lost, MOST_WAITING / line.len());
        drop(held);
        drop(rest);
        assert_eq!(paper.0.lock().unwrap().len(), MOST_WAITING);
    }
}

//! Server-sent events (WHATWG HTML, section 9.2.6), bounded.

/// Takes a stream of bytes apart into events. An event that the stream's end cuts off is never
/// returned.
#[derive(Debug)]
pub(crate) struct Events {
    buffer: Vec<u8>,
    /// How far `buffer` has been looked at without finding the end of a line.
    scanned: usize,
    kind: String,
    data: String,
    most: usize,
}

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its type, `message` where none was given.
    pub(crate) kind: String,
    /// Its lines, joined by newlines.
    pub(crate) data: String,
}

/// Why a stream is no stream of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EventError {
    /// More than the most bytes without the end of an event.
    #[error("an event is too long")]
    TooLong,
    /// A line is not UTF-8.
    #[error("a line is not UTF-8")]
    NotText,
}

impl Events {
    /// `most` bounds a line and the data of one event, in bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self { buffer: Vec::new(), scanned: 0, kind: String::new(), data: String::new(), most }
    }

    /// Adds what was received.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, EventError> {
        while let Some(line) = self.line()? {
            if line.is_empty() {
                if let Some(event) = self.dispatch() {
                    return Ok(Some(event));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.kind),
                "data" if self.data.len() + value.len() >= self.most => {
                    return Err(EventError::TooLong);
                }
                "data" => {
                    self.data.push_str(value);
                    self.data.push('\n');
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// A line without its end; lines end in LF or CRLF. A lone CR, which the standard allows, is
    /// not ours to send, and waiting to tell it from a CRLF would delay every event.
    fn line(&mut self) -> Result<Option<String>, EventError> {
        let rest = self.buffer.get(self.scanned..).unwrap_or_default();
        let Some(found) = rest.iter().position(|&b| b == b'\n') else {
            self.scanned = self.buffer.len();
            return if self.scanned > self.most { Err(EventError::TooLong) } else { Ok(None) };
        };
        let end = self.scanned + found;
        self.scanned = 0;
        let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if line.len() > self.most {
            return Err(EventError::TooLong);
        }
        String::from_utf8(line).map(Some).map_err(|_| EventError::NotText)
    }

    fn dispatch(&mut self) -> Option<Event> {
        let (kind, mut data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        data.pop()?;
        Some(Event { kind: if kind.is_empty() { "message".to_owned() } else { kind }, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(events: &mut Events) -> Vec<(String, String)> {
        std::iter::from_fn(|| events.next().unwrap()).map(|e| (e.kind, e.data)).collect()
    }

    const STREAM: &str = ": hello\r\n\r\nevent: heartbeat\r\ndata: a.b.c\r\nid: e:7\r\n\r\n\
        event:batch\ndata:d.e\ndata:\u{e9}\n\nretry: 5\ndata\n\nevent: lost\n\ndata: x\n\n";

    #[test]
    fn events_are_the_same_however_the_bytes_arrive() {
        let expected =
            [("heartbeat", "a.b.c"), ("batch", "d.e\n\u{e9}"), ("message", ""), ("message", "x")]
                .map(|(kind, data)| (kind.to_owned(), data.to_owned()));
        for size in 1..=STREAM.len() {
            let mut events = Events::new(64);
            let mut seen = Vec::new();
            for chunk in STREAM.as_bytes().chunks(size) {
                events.push(chunk);
                seen.extend(all(&mut events));
            }
            assert_eq!(seen, expected, "{size}");
        }
    }

    #[test]
    fn n88_a_cut_event_is_never_returned() {
        let whole = "event: batch\ndata: a.b.c\n\n";
        for cut in 0..whole.len() {
            let mut events = Events::new(64);
            events.push(&whole.as_bytes()[..cut]);
            assert_eq!(events.next(), Ok(None), "{cut}");
        }
        let mut events = Events::new(64);
        events.push(b"data: \xc3");
        assert_eq!(events.next(), Ok(None));
        events.push(b"\n");
        assert_eq!(events.next(), Err(EventError::NotText));
    }

    #[test]
    fn n79_neither_a_line_nor_an_event_grows_without_end() {
        let mut events = Events::new(64);
        events.push(&[b'x'; 65]);
        assert_eq!(events.next(), Err(EventError::TooLong));
        let mut events = Events::new(64);
        let line = b"data: 1234567890\n";
        let refused = (0..10).position(|_| {
            events.push(line);
            events.next().is_err()
        });
        assert_eq!(refused, Some(5));
    }
}

//! What is asked of the operating system, so that ten thousand followers cost little and none of
//! them can hold anything up.

use std::io;
use std::net::TcpListener;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;

/// Connections that wait to be accepted: after a restart all who follow come back at once.
const BACKLOG: i32 = 4096;

/// Bytes that the kernel keeps for a connection and has not sent yet.
pub(super) const UNSENT: u32 = 64 * 1024;

/// Sets what accepted connections inherit from their listener.
pub(super) fn prepare(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    socket.listen(BACKLOG)?;
    // A batch does not wait until the one before it has been acknowledged (RFC 9293 section 3.7.4).
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(STALL))?;
        socket.set_tcp_notsent_lowat(UNSENT)?;
    }
    Ok(())
}

/// Time after which a connection is broken whose peer acknowledges nothing, or takes nothing
/// because it does not read (RFC 5482): three heartbeats. The kernel knows of a closed window from
/// the first byte that does not fit through it, where writes would succeed for megabytes more; it
/// finds peers that vanished, too.
#[cfg(target_os = "linux")]
const STALL: std::time::Duration = std::time::Duration::from_secs(15);

/// Raises the number of open files to what this process may have; says how many that is.
pub(super) fn descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    // Where raising is refused, the system has a lower limit than the one that it names.
    let limit = if raised.is_ok() { maximum } else { current };
    limit.unwrap_or(u64::MAX)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn n87_accepted_connections_are_impatient() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        prepare(&listener).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(STALL));
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), UNSENT);
        assert!(accepted.tcp_nodelay().unwrap());
    }
}

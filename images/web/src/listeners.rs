//! nginx's listening sockets, opened here and inherited by nginx, so that a stop loses no connection.
//!
//! When nginx stops, it closes its listening sockets, and the kernel resets every connection that it had completed but
//! nginx had not accepted yet: clients that believe to be connected, some with a request already sent. So before nginx
//! hears of the stop, the sockets are bound to the loopback device: the kernel refuses new connections from outside at
//! once, nginx accepts what is in the queue, and only then it stops.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

/// The kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// How long the queues must be seen empty: longer than the way of a handshake's last packet.
const QUIET: Duration = Duration::from_millis(100);
/// How long a stop waits for that at most.
const PATIENCE: Duration = Duration::from_secs(1);

/// Open listening sockets, which child processes inherit.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Vec<Socket>);

impl Listeners {
    /// Opens one socket for each address.
    ///
    /// # Errors
    /// The first address that cannot be listened on.
    pub(crate) fn open(addresses: &[SocketAddr]) -> io::Result<Self> {
        let open = |&address: &SocketAddr| {
            listener(address)
                .map_err(|error| io::Error::new(error.kind(), format!("it cannot listen on {address}: {error}")))
        };
        addresses.iter().map(open).collect::<io::Result<_>>().map(Self)
    }

    /// The value of the variable NGINX, by which nginx takes over sockets that are already open; `None` without any.
    pub(crate) fn as_variable(&self) -> Option<String> {
        let numbers = self.0.iter().map(|socket| format!("{};", socket.as_raw_fd()));
        (!self.0.is_empty()).then(|| numbers.collect())
    }

    /// Lets no new connection in from outside, waits until all that came before are accepted, and closes the sockets of
    /// this process (nginx has its own copies).
    pub(crate) fn close_the_door(self) {
        // A kernel before 5.7 does not allow it to users: then the stop is as good as nginx's own.
        if self.0.is_empty() || self.0.iter().any(|socket| socket.bind_device(Some(b"lo")).is_err()) {
            return;
        }
        let begin = Instant::now();
        let mut busy = begin;
        while busy.elapsed() < QUIET && begin.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
            if self.0.iter().any(waiting) {
                busy = Instant::now();
            }
        }
    }
}

fn listener(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    // As nginx would make it.
    socket.set_nonblocking(true)?;
    socket.set_cloexec(false)?;
    Ok(socket)
}

/// Whether a connection waits to be accepted.
fn waiting(socket: &Socket) -> bool {
    let mut polled = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn opened() -> (Listeners, SocketAddr) {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        (Listeners::open(&[free]).unwrap(), free)
    }

    #[test]
    fn a_closing_door_waits_for_who_is_in_the_queue() {
        let (listeners, address) = opened();
        let accepting = listeners.0[0].try_clone().unwrap();
        let begin = Instant::now();
        let _inside = TcpStream::connect(address).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| listeners.close_the_door());
            thread::sleep(QUIET * 2);
            assert!(accepting.accept().is_ok());
        });
        assert!((QUIET * 5 / 2..PATIENCE).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        drop(accepting);
        assert!(TcpStream::connect(address).is_err(), "all copies are closed");
    }

    #[test]
    fn nginx_hears_of_the_sockets_by_number() {
        let (listeners, _) = opened();
        assert_eq!(listeners.as_variable().unwrap(), format!("{};", listeners.0[0].as_raw_fd()));
        assert_eq!(Listeners::default().as_variable(), None);
    }

    #[test]
    fn an_address_in_use_is_named() {
        let (_listeners, address) = opened();
        let error = Listeners::open(&[address]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("it cannot listen on {address}: Address")), "{error}");
    }
}

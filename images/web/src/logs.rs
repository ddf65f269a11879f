//! The container's output, whatever it is: a pipe of another user, a terminal, a socket.
//!
//! A program that opens `/dev/stdout` by name (nginx must, supervisor does) opens the container's pipe anew, and the
//! kernel refuses that to a user who does not own it. So the first process makes two FIFOs of its own, everyone writes
//! to those, and a thread each copies them to the real output, inside the kernel (splice) where it can.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use nix::sys::stat::Mode;

/// One FIFO that is being copied to an output.
#[derive(Debug)]
pub(crate) struct Log {
    /// Keeps the FIFO open between its other writers.
    writer: File,
    finished: Receiver<()>,
}

impl Log {
    /// Makes the FIFO and starts to copy it to `output`.
    ///
    /// # Errors
    /// The FIFO cannot be made or opened.
    pub(crate) fn start(fifo: &Path, mut output: impl Write + Send + 'static) -> io::Result<Self> {
        nix::unistd::mkfifo(fifo, Mode::S_IRUSR | Mode::S_IWUSR)?;
        // Opened for both, so that neither of the next two waits for the other side.
        let both = OpenOptions::new().read(true).write(true).open(fifo)?;
        let mut reader = File::open(fifo)?;
        let writer = OpenOptions::new().write(true).open(fifo)?;
        drop(both);
        let (done, finished) = channel();
        thread::spawn(move || {
            // When nobody takes the output any more, the programs must go on: what they say is read and dropped.
            if io::copy(&mut reader, &mut output).is_err() {
                let _ = io::copy(&mut reader, &mut io::sink());
            }
            let _ = done.send(());
        });
        Ok(Self { writer, finished })
    }

    /// A handle to write to, for a program's output.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub(crate) fn writer(&self) -> io::Result<File> {
        self.writer.try_clone()
    }

    /// Copies what is left; at most until `end`, since a program that outlived its parent may still hold the FIFO.
    pub(crate) fn finish(self, end: Instant) {
        drop(self.writer);
        let _ = self.finished.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    #[derive(Clone, Default)]
    struct Taken(Arc<Mutex<Vec<u8>>>);

    impl Write for Taken {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_that_was_written_is_copied_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (fifo, taken) = (folder.path().join("stdout"), Taken::default());
        let log = Log::start(&fifo, taken.clone()).unwrap();
        std::fs::write(&fifo, "by name\n").unwrap();
        log.writer().unwrap().write_all(b"by handle\n").unwrap();
        log.finish(Instant::now() + Duration::from_secs(5));
        assert_eq!(taken.0.lock().unwrap().as_slice(), b"by name\nby handle\n");
    }

    #[test]
    fn a_closed_output_does_not_block_the_writers() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let log = Log::start(&folder.path().join("stdout"), Closed).unwrap();
        // More than a pipe holds.
        log.writer().unwrap().write_all(&vec![b'x'; 1 << 20]).unwrap();
        log.finish(Instant::now() + Duration::from_secs(5));
    }
}

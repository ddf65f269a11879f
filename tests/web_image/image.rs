//! The image under test, with a stand-in for its application, and a client of its port.

use std::net::SocketAddr;
use std::ops::Deref;

use tandem_tests::docker::{Container, Run, wait_for};
use tandem_tests::http::{self, Answer};

/// Docker switches IPv6 off in its default networks.
pub(crate) const IPV6: &str = "--sysctl=net.ipv6.conf.all.disable_ipv6=0";

/// The image under test, or the end of the test.
macro_rules! image_or_skip {
    () => {
        match tandem_tests::docker::image("TEST_WEB_IMAGE") {
            Some(image) => image,
            None => return,
        }
    };
}
pub(crate) use image_or_skip;

/// A container whose port 8080 is published.
pub(crate) struct Web {
    container: Container,
    /// Where it serves, asked once: the docker command takes long on a busy machine, and tests count in seconds.
    address: Option<SocketAddr>,
}

impl Deref for Web {
    type Target = Container;

    fn deref(&self) -> &Container {
        &self.container
    }
}

/// Starts the image as strictly as the project promises: read-only root, no capability, no new privileges.
pub(crate) fn strict(image: &str, options: &[&str]) -> Web {
    started(Run::of(image).strict(), image, options, &[])
}

/// Starts the image with whatever Docker allows by default.
pub(crate) fn start(image: &str, options: &[&str], command: &[&str]) -> Web {
    started(Run::of(image), image, options, command)
}

/// Puts the stand-in application in place, unless the test brings one of its own.
fn started(run: Run, image: &str, options: &[&str], command: &[&str]) -> Web {
    let standin = concat!(env!("CARGO_MANIFEST_DIR"), "/web_image/standin.py:/standin.py:ro");
    let mut run = run.publish(8080).option("--volume").option(standin);
    let own_command = options.iter().any(|option| option.starts_with("APP_COMMAND=")) || image.contains("flask");
    if !own_command {
        run = run.env("APP_COMMAND", "python3 -S /standin.py");
    }
    let run = options.iter().fold(run, |run, &option| run.option(option));
    Web { container: run.command(command).start(), address: None }
}

impl Web {
    /// Waits until the application answers through nginx.
    pub(crate) fn serving(mut self) -> Self {
        // Each start has another one.
        self.address = None;
        let serves = || {
            let address = self.address();
            http::get(address, "/healthz").filter(|answer| answer.status == 200).map(|_| address)
        };
        self.address = Some(wait_for("the container serves", 30, serves));
        self
    }

    /// Where its port is published.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.unwrap_or_else(|| self.container.address(8080))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        http::get(self.address(), path).unwrap_or_else(|| panic!("no answer to {path}"))
    }

    /// The answer to a GET with more header lines.
    pub(crate) fn get_with(&self, path: &str, headers: &str) -> Answer {
        http::get_with(self.address(), path, &format!("Host: example.org\r\n{headers}")).unwrap()
    }

    /// Sends the text as it is and reads one answer.
    pub(crate) fn request(&self, text: &str) -> Option<Answer> {
        http::request(self.address(), text)
    }
}

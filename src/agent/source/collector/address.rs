//! Where a request on loopback goes: a port of 127.0.0.1 or ::1, or a socket of the file system. There is no way to say another machine.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::rules;

/// Where a server of this node listens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Address {
    /// `127.0.0.1:PORT` or `[::1]:PORT`.
    Port(SocketAddr),
    /// `unix:/path/of/a.sock`.
    Socket(PathBuf),
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            if !rules::is_socket(path) {
                let most = rules::SOCKET;
                return Err(format!(
                    "`{text}`: a socket's path must be absolute, without `..`, and at most {most} bytes"
                ));
            }
            return Ok(Self::Socket(path.to_owned()));
        }
        let plain = |at: &SocketAddr| ["127.0.0.1", "::1"].contains(&at.ip().to_string().as_str()) && at.port() > 0;
        match text.parse().ok().filter(plain) {
            Some(at) => Ok(Self::Port(at)),
            None => Err(format!("`{text}` must be 127.0.0.1:PORT, [::1]:PORT or unix:/PATH: only this node is asked")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(at) => at.fmt(f),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_node_can_be_meant() {
        for good in ["127.0.0.1:10248", "[::1]:80", "unix:/run/docker.sock"] {
            assert_eq!(Address::try_from(good.to_owned()).map(|at| at.to_string()), Ok(good.to_owned()));
        }
        for bad in [
            "localhost:80",
            "127.0.0.1",
            "127.0.0.1:0",
            "127.0.0.1:80@evil.example",
            "10.0.0.1:80",
            "0.0.0.0:80",
            "[::]:80",
            "[::ffff:127.0.0.1]:80",
            "http://127.0.0.1:80",
            "unix:run/x.sock",
            "unix:/run/../x.sock",
            "unix:",
            "",
        ] {
            assert!(Address::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(Address::try_from(format!("unix:/{}", "a".repeat(107))).is_err());
    }
}

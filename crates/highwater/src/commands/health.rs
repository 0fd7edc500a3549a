//! `highwater health`: asks a node's HTTP listener whether it serves. For health checks of containers, where there is
//! no other program that could ask.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use clap::Args;

use crate::error::CliError;
use crate::output::print_text;

/// How long connecting, sending and each piece of the answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most of an answer that is read.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

/// Whom to ask.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// What to ask: /readyz says whether the node serves, /healthz whether it lives
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7402/readyz")]
    url: String,
}

/// Prints what the node answers; fails unless it is well.
pub(crate) fn run(args: &HealthArgs) -> Result<(), CliError> {
    let url = || args.url.clone();
    let rest = args.url.strip_prefix("http://").ok_or_else(|| CliError::BadUrl { url: url() })?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if host.rsplit_once(':').is_none() || !is_plain(rest) {
        return Err(CliError::BadUrl { url: url() });
    }
    let answer = ask(host, path).map_err(|cause| CliError::NoAnswer { url: url(), cause })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split_whitespace().nth(1) {
        Some("200") => print_text(&format!("{}\n", body.trim_end())),
        _ => Err(CliError::Unwell { url: url(), answer: body.trim_end().to_owned() }),
    }
}

/// Whether the node whose HTTP listens here serves.
pub(crate) fn is_ready(address: SocketAddr) -> bool {
    ask(&address.to_string(), "readyz").is_ok_and(|answer| answer.split_whitespace().nth(1) == Some("200"))
}

/// One request over one connection.
fn ask(host: &str, path: &str) -> io::Result<String> {
    let mut outcome = Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
    for address in host.to_socket_addrs()? {
        outcome = TcpStream::connect_timeout(&address, PATIENCE);
        if outcome.is_ok() {
            break;
        }
    }
    let mut stream = outcome?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

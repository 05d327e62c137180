//! As much of HTTP/1.1 as posting JSON takes: one connection that is kept, answers of which the status counts. No TLS.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::transport::{Carrier, connect};

/// No answer that we read is longer.
const LONGEST: u64 = 1 << 20;

/// The kind of an error that says: never this message.
const REFUSED: io::ErrorKind = io::ErrorKind::InvalidInput;

/// Whether a server refused a message for good.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    error.kind() == REFUSED
}

/// Whether nobody can have heard what was sent: the connection was closed before it.
fn is_unheard(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Posts to one address.
pub(super) struct Client {
    host: String,
    port: u16,
    path: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(super) fn new(host: String, port: u16, path: String) -> Self {
        Client { host, port, path, stream: None }
    }

    /// Posts a body; an answer other than 2xx is an error.
    pub(super) fn post(&mut self, body: &[u8]) -> io::Result<()> {
        let was_open = self.stream.is_some();
        match self.try_post(body) {
            // The other side may have closed a connection that rested.
            Err(error) if was_open && is_unheard(&error) => self.try_post(body),
            done => done,
        }
    }

    fn try_post(&mut self, body: &[u8]) -> io::Result<()> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(connect(&self.host, self.port)?),
        };
        let name = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {name}:{}\r\nUser-Agent: pipe/{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            self.path,
            self.port,
            env!("CARGO_PKG_VERSION"),
            body.len()
        );
        stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let status = line(&mut stream)?;
        let code: u16 = status.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        let (mut length, mut stays) = (None, status.starts_with("HTTP/1.1"));
        loop {
            let header = line(&mut stream)?.to_ascii_lowercase();
            let Some((name, value)) = header.split_once(':') else { break };
            match name {
                "content-length" => length = value.trim().parse::<u64>().ok(),
                "connection" if value.trim() == "close" => stays = false,
                "transfer-encoding" => stays = false,
                _ => {}
            }
        }
        let has_no_body = code == 204 || code == 304;
        let length = if has_no_body { Some(0) } else { length };
        if let Some(length) = length.filter(|length| stays && *length <= LONGEST) {
            io::copy(&mut (&mut stream).take(length), &mut io::sink())?;
            self.stream = Some(stream);
        }
        match code {
            200..300 => Ok(()),
            0 => Err(io::Error::other("it does not speak HTTP")),
            _ => {
                // To say it again would be of no use; but a server may be busy, or broken for a while.
                let is_final = (400..500).contains(&code) && ![408, 429].contains(&code);
                let kind = if is_final { REFUSED } else { io::ErrorKind::Other };
                Err(io::Error::new(
                    kind,
                    format!("it answers {}", status.get(9..).unwrap_or_default().trim()),
                ))
            }
        }
    }
}

fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.take(16 << 10).read_line(&mut line)? == 0 {
        let message = "it closes the connection without an answer";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
    }
    Ok(line.trim_end().to_owned())
}

impl Carrier for Client {
    fn limit(&self) -> usize {
        2 << 20
    }

    fn carry(&mut self, message: &[u8]) -> io::Result<()> {
        self.post(message)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Ways to a GELF input without HTTP: datagrams, in chunks where one is too small; and a stream.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

/// Takes messages away.
pub(super) trait Carrier: Send {
    /// No message may be longer.
    fn limit(&self) -> usize;
    /// Takes one message.
    fn carry(&mut self, message: &[u8]) -> io::Result<()>;
    /// Sends off what was taken.
    fn flush(&mut self) -> io::Result<()>;
}

/// A place that takes longer to be reached, or to take anything, is down.
pub(super) const LIMIT: Duration = Duration::from_secs(2);

/// The largest datagram that passes everywhere without being cut by the network.
const DATAGRAM: usize = 1420;
const CHUNK_HEAD: usize = 12;
/// GELF has no more.
const CHUNKS: usize = 128;
/// Below it, compression gains nothing.
const WORTH_COMPRESSING: usize = 512;

/// GELF over UDP: nobody knows whether it arrives.
pub(super) struct Udp {
    host: String,
    port: u16,
    socket: Option<UdpSocket>,
    /// Tells messages in chunks apart.
    number: u64,
}

impl Udp {
    pub(super) fn new(host: String, port: u16) -> Self {
        Udp { host, port, socket: None, number: 0 }
    }

    fn socket(&mut self) -> io::Result<&UdpSocket> {
        if self.socket.is_none() {
            let unknown = || io::Error::other(format!("`{}` has no address", self.host));
            let address = *resolve(&self.host, self.port)?.first().ok_or_else(unknown)?;
            let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(own)?;
            socket.connect(address)?;
            self.socket = Some(socket);
        }
        self.socket.as_ref().ok_or_else(|| io::Error::other("no socket"))
    }
}

impl Carrier for Udp {
    fn limit(&self) -> usize {
        // Even what does not shrink at all fits.
        CHUNKS * (DATAGRAM - CHUNK_HEAD) - 64
    }

    fn carry(&mut self, message: &[u8]) -> io::Result<()> {
        self.number += 1;
        let mark = format!("{} {} {}", std::process::id(), self.number, crate::time::now_ns());
        let mut id = [0; 8];
        id.copy_from_slice(&crate::hash::Digest::of(mark.as_bytes()).0[..8]);
        let packed = compressed(message);
        let datagrams = chunks(&packed, id);
        let sent =
            self.socket().and_then(|socket| datagrams.iter().try_for_each(|one| socket.send(one).map(drop)));
        if sent.is_err() {
            self.socket = None;
        }
        sent
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// zlib, which GELF inputs tell by its first byte, where it is worth it.
fn compressed(message: &[u8]) -> Vec<u8> {
    match message.len() {
        0..WORTH_COMPRESSING => message.to_vec(),
        _ => miniz_oxide::deflate::compress_to_vec_zlib(message, 6),
    }
}

/// The datagrams of a message: `1e 0f`, its id, the number of the chunk, how many there are.
fn chunks(message: &[u8], id: [u8; 8]) -> Vec<Vec<u8>> {
    if message.len() <= DATAGRAM {
        return vec![message.to_vec()];
    }
    let parts: Vec<&[u8]> = message.chunks(DATAGRAM - CHUNK_HEAD).collect();
    let count = parts.len() as u8;
    let chunk =
        |(number, part): (usize, &&[u8])| [&[0x1e, 0x0f][..], &id, &[number as u8, count], part].concat();
    parts.iter().enumerate().map(chunk).collect()
}

/// GELF over TCP: messages with a zero byte behind each.
pub(super) struct Tcp {
    host: String,
    port: u16,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Tcp {
    pub(super) fn new(host: String, port: u16) -> Self {
        Tcp { host, port, stream: None, buffer: Vec::new() }
    }
}

impl Carrier for Tcp {
    fn limit(&self) -> usize {
        // The limit of Graylog's input unless it is set.
        2 << 20
    }

    fn carry(&mut self, message: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(message);
        self.buffer.push(0);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(&self.host, self.port)?,
        };
        stream.write_all(&buffer)?;
        self.stream = Some(stream);
        Ok(())
    }
}

pub(super) fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = None;
    // A name may have several addresses, and somebody listen at one of them only.
    let reached = resolve(host, port)?.into_iter().find_map(|address| {
        TcpStream::connect_timeout(&address, LIMIT).map_err(|error| last = Some(error)).ok()
    });
    let Some(stream) = reached else {
        return Err(last.unwrap_or_else(|| io::Error::other(format!("`{host}` has no address"))));
    };
    stream.set_write_timeout(Some(LIMIT))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The addresses of a name, those of IPv4 first: of a datagram nobody says that it did not arrive.
fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_fits_is_one_datagram() {
        assert_eq!(chunks(b"{}", [7; 8]), [b"{}".to_vec()]);
        assert_eq!(chunks(&[9; DATAGRAM], [7; 8]).len(), 1);
    }

    #[test]
    fn chunks_have_the_head_that_gelf_asks_for() {
        let message: Vec<u8> = (0..3000u32).map(|n| n as u8).collect();
        let found = chunks(&message, [7; 8]);
        assert_eq!(found.len(), 3);
        assert_eq!(found[2][..12], [0x1e, 0x0f, 7, 7, 7, 7, 7, 7, 7, 7, 2, 3]);
        assert!(found.iter().all(|chunk| chunk.len() <= DATAGRAM));
        let whole: Vec<u8> = found.iter().flat_map(|chunk| chunk[12..].to_vec()).collect();
        assert_eq!(whole, message);
    }

    #[test]
    fn what_is_compressed_comes_back() {
        let message = b"{\"short_message\":\"the same and the same\"}".repeat(40);
        let packed = compressed(&message);
        assert!(packed.len() < message.len() / 4 && packed[0] == 0x78);
        assert_eq!(miniz_oxide::inflate::decompress_to_vec_zlib(&packed).unwrap(), message);
    }
}

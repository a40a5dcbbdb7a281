//! A small HTTP/1.1 client: POST, a body of known length, connections that are kept.

use std::io;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;

/// An answer that takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(30);
/// An answer is no longer than this.
const LONGEST: usize = 1 << 20;
/// So many connections are kept.
const KEPT: usize = 16;

/// What the server counted for one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) found: u64,
    pub(super) changed: u64,
}

/// An answer.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

pub(super) struct Client {
    host: String,
    port: u16,
    idle: Mutex<Vec<BufStream<TcpStream>>>,
}

impl Client {
    pub(super) const fn new(host: String, port: u16) -> Self {
        Self { host, port, idle: Mutex::new(Vec::new()) }
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> io::Result<Answered> {
        tokio::time::timeout(PATIENCE, async {
            let kept = self.idle.lock().expect("never held across a panic").pop();
            if let Some(mut stream) = kept {
                // One that was closed in the meantime took nothing: the server answers everything that it read.
                if let Ok(answered) = self.exchange(&mut stream, path, body).await {
                    self.keep(stream);
                    return Ok(answered);
                }
            }
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            let mut stream = BufStream::new(stream);
            let answered = self.exchange(&mut stream, path, body).await?;
            self.keep(stream);
            Ok(answered)
        })
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    fn keep(&self, stream: BufStream<TcpStream>) {
        let mut idle = self.idle.lock().expect("never held across a panic");
        if idle.len() < KEPT {
            idle.push(stream);
        }
    }

    async fn exchange(&self, stream: &mut BufStream<TcpStream>, path: &str, body: &str) -> io::Result<Answered> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}:{}\r\nContent-Type: text/tab-separated-values\r\nContent-Length: {}\r\n\r\n",
            self.host,
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        stream.flush().await?;
        let bad = || io::Error::from(io::ErrorKind::InvalidData);
        let status = line(stream).await?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(bad)?;
        let (mut headers, mut length) = (Vec::new(), 0);
        loop {
            let line = line(stream).await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(bad)?;
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok().filter(|n| *n <= LONGEST).ok_or_else(bad)?;
            }
            if headers.len() < 64 {
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
        }
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).await?;
        Ok(Answered { status, headers, body: String::from_utf8(bytes).map_err(|_| bad())? })
    }
}

async fn line(stream: &mut BufStream<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    let read = (&mut *stream).take(8_192).read_line(&mut line).await?;
    if read == 0 || !line.ends_with('\n') {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}

/// The rows of an answer: `found TAB changed`, one line for each person; none if they are not that many.
pub(super) fn rows(body: &str, count: usize) -> Option<Vec<Row>> {
    let read = |line: &str| {
        let (found, changed) = line.split_once('\t')?;
        Some(Row { found: found.parse().ok()?, changed: changed.parse().ok()? })
    };
    let rows: Option<Vec<Row>> = body.lines().map(read).collect();
    rows.filter(|rows| rows.len() == count)
}

//! An HTTP server that records what it is sent and answers as scripted: the other end of webhooks and vendor APIs.

use crate::process::{Port, free_port};
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// `GET`, `POST` …
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Names as sent, in their order.
    pub headers: Vec<(String, String)>,
    /// The body, without transfer coding.
    pub body: Vec<u8>,
}

impl Received {
    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One scripted answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status; 0 closes the connection without an answer.
    pub status: u16,
    /// Further headers, such as `Retry-After`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// How long the caller waits.
    pub after: Duration,
}

impl From<u16> for Answer {
    fn from(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new(), after: Duration::ZERO }
    }
}

impl Answer {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    /// Lets the caller wait first.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.after = wait;
        self
    }
}

/// An HTTP/1.1 server on its own threads, so that it also answers while the test itself blocks.
pub struct Receiver {
    port: Port,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Receiver on port {}", self.port.number())
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    closed: AtomicBool,
}

#[derive(Default)]
struct State {
    requests: Vec<Received>,
    script: VecDeque<Answer>,
    otherwise: Option<Answer>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    /// Starts one that answers 200 to everything.
    #[expect(clippy::unused_async, reason = "starts like every other server of this kit")]
    pub async fn start() -> Self {
        let (port, listener) = loop {
            let port = free_port();
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port.number())) {
                break (port, listener);
            }
        };
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.closed.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                // A caller that hangs up early is not this server's concern.
                std::thread::spawn(move || drop(serve(&stream, &shared)));
            }
        });
        Self { port, shared }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// The address of a path that starts with a slash.
    pub fn url_of(&self, path: &str) -> String {
        format!("{}{path}", self.url())
    }

    /// Answers the next requests with these statuses, one each (0 closes the connection); then as before.
    pub fn answer(&self, statuses: impl IntoIterator<Item = u16>) {
        self.shared.state().script.extend(statuses.into_iter().map(Answer::from));
    }

    /// Answers the next request with this, after those scripted before.
    pub fn answer_with(&self, answer: Answer) {
        self.shared.state().script.push_back(answer);
    }

    /// Answers with this when the script is used up; at first, 200.
    pub fn otherwise(&self, answer: impl Into<Answer>) {
        self.shared.state().otherwise = Some(answer.into());
    }

    /// Everything received so far.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.state().requests.clone()
    }

    /// Everything received, once it is at least `count` requests; panics after ten seconds.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let limit = Instant::now() + Duration::from_secs(10);
        loop {
            let requests = self.requests();
            if requests.len() >= count {
                return requests;
            }
            assert!(Instant::now() < limit, "{} of {count} requests came within 10 s", requests.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Forgets what was received and scripted.
    pub fn clear(&self) {
        *self.shared.state() = State::default();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then ends and closes the port.
        drop(TcpStream::connect(("127.0.0.1", self.port.number())));
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    let mut from = BufReader::new(stream);
    while let Some(request) = read_request(&mut from, stream)? {
        if shared.closed.load(Ordering::SeqCst) {
            return Ok(());
        }
        let answer = {
            let mut state = shared.state();
            state.requests.push(request);
            let scripted = state.script.pop_front();
            scripted.or_else(|| state.otherwise.clone()).unwrap_or_else(|| Answer::from(200))
        };
        std::thread::sleep(answer.after);
        if answer.status == 0 {
            return stream.shutdown(std::net::Shutdown::Both);
        }
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", answer.status);
        if !matches!(answer.status, 204 | 304) {
            head.push_str("Content-Length: ");
            head.push_str(&answer.body.len().to_string());
            head.push_str("\r\n");
        }
        for (name, value) in &answer.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head += "\r\n";
        let mut to = stream;
        to.write_all([head.as_bytes(), answer.body.as_bytes()].concat().as_slice())?;
    }
    Ok(())
}

fn read_request(from: &mut BufReader<&TcpStream>, mut to: &TcpStream) -> std::io::Result<Option<Received>> {
    let bad = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let line = read_line(from)?;
    if line.is_empty() {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let (method, path) = words.next().zip(words.next()).ok_or_else(bad)?;
    let mut request =
        Received { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() };
    loop {
        let line = read_line(from)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(bad)?;
        request.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    if request.header("expect").is_some() {
        to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if request.header("transfer-encoding").is_some() {
        loop {
            let line = read_line(from)?;
            let length = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16).map_err(|_| bad())?;
            let start = request.body.len();
            request.body.resize(start + length, 0);
            from.read_exact(&mut request.body[start..])?;
            read_line(from)?;
            if length == 0 {
                return Ok(Some(request));
            }
        }
    }
    let length = request.header("content-length").map_or(Ok(0), str::parse).map_err(|_| bad())?;
    request.body.resize(length, 0);
    from.read_exact(&mut request.body)?;
    Ok(Some(request))
}

fn read_line(from: &mut BufReader<&TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}

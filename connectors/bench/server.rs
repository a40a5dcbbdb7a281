//! A limited server plays a vendor: it counts calls by sliding windows, answers 429 with `Retry-After` to what is too much, and keeps
//! a journal of what it deleted.
//!
//! Everybody it is asked about has one record, until that was deleted. A key it has seen is answered as the first time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server saw.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Calls that were let through, in their order, since the start.
    pub calls: Vec<Duration>,
    /// Calls that were too much.
    pub excess: u64,
    /// Most calls at the same time.
    pub at_once: usize,
    /// Keys of deletions, in the order in which they were made.
    pub deleted: Vec<String>,
    /// Calls by path.
    pub by_path: HashMap<String, u64>,
}

#[derive(Default)]
struct State {
    seen: Seen,
    recent: VecDeque<Instant>,
    under_way: usize,
    gone: HashSet<String>,
    keys: HashMap<String, u64>,
    refuse_until: Option<Instant>,
}

struct Shared {
    windows: Vec<(usize, Duration)>,
    takes: Duration,
    began: Instant,
    state: Mutex<State>,
}

/// A vendor with limits, on a port of this machine; gone when it is dropped.
pub struct LimitedServer {
    port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl std::fmt::Debug for LimitedServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LimitedServer on port {}", self.port)
    }
}

impl LimitedServer {
    /// Starts one that allows so many calls in each of these windows; each call takes so long.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(windows: &[(usize, Duration)], takes: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (windows, began) = (windows.to_vec(), Instant::now());
        let shared = Arc::new(Shared { windows, takes, began, state: Mutex::default() });
        let serving = shared.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = serving.clone();
                // A caller that hangs up early is not this server's concern.
                tokio::spawn(async move { drop(serve(stream, &shared).await) });
            }
        });
        Ok(Self { port, shared, accepting })
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What it saw so far.
    pub fn seen(&self) -> Seen {
        self.shared.state().seen.clone()
    }

    /// Answers 429 to everything for so long, as if others had used all of the limit.
    pub fn refuse_for(&self, time: Duration) {
        self.shared.state().refuse_until = Some(Instant::now() + time);
    }
}

impl Drop for LimitedServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("never held across a panic")
    }

    /// Counts a call; how long until it would be let through, if it is too much now.
    fn arrive(&self, path: &str) -> Option<Duration> {
        let now = Instant::now();
        let mut state = self.state();
        let longest = self.windows.iter().map(|(_, window)| *window).max().unwrap_or_default();
        while state.recent.front().is_some_and(|at| now - *at >= longest) {
            state.recent.pop_front();
        }
        let mut wait = state.refuse_until.and_then(|until| until.checked_duration_since(now)).filter(|w| !w.is_zero());
        let recent = state.recent.len();
        for (limit, window) in &self.windows {
            let inside = state.recent.iter().rev().take_while(|at| now - **at < *window).count();
            if inside >= *limit {
                let oldest = state.recent[recent - limit];
                wait = wait.max(Some(window.saturating_sub(now - oldest)));
            }
        }
        if wait.is_some() {
            state.seen.excess += 1;
            return wait;
        }
        state.recent.push_back(now);
        state.under_way += 1;
        state.seen.at_once = state.seen.at_once.max(state.under_way);
        state.seen.calls.push(now - self.began);
        *state.seen.by_path.entry(path.to_owned()).or_default() += 1;
        None
    }

    fn answer(&self, path: &str, body: &str) -> String {
        let mut state = self.state();
        let mut answer = String::new();
        for line in body.lines() {
            let (key, email) = line.split_once('\t').unwrap_or((line, ""));
            let there = !state.gone.contains(email);
            let (found, changed) = match (path, state.keys.get(key)) {
                ("/erase", Some(changed)) => (*changed, *changed),
                ("/erase", None) => {
                    let changed = u64::from(there);
                    state.keys.insert(key.to_owned(), changed);
                    if there {
                        state.gone.insert(email.to_owned());
                        state.seen.deleted.push(key.to_owned());
                    }
                    (changed, changed)
                }
                _ => (u64::from(there), 0),
            };
            for part in [&found.to_string(), "\t", &changed.to_string(), "\n"] {
                answer.push_str(part);
            }
        }
        state.under_way = state.under_way.saturating_sub(1);
        answer
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufStream::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0).min(1 << 20);
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let body = String::from_utf8_lossy(&body);
        let (status, header, answer) = if path == "/check" {
            ("200 OK", String::new(), String::new())
        } else if let Some(wait) = shared.arrive(&path) {
            // Seconds, rounded up, as vendors do.
            let seconds = wait.as_millis().div_ceil(1_000);
            ("429 Too Many Requests", format!("Retry-After: {seconds}\r\n"), String::new())
        } else {
            tokio::time::sleep(shared.takes).await;
            ("200 OK", String::new(), shared.answer(&path, &body))
        };
        let head = format!("HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\n\r\n", answer.len());
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
    }
}

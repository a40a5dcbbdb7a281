//! The sweep kills the process at each system call by which SQLite writes: whatever is half written, the database is whole,
//! and what was answered 202 is there.

use crate::cells::{Cell, Ended};
use crate::load::quick;
use crate::scene::{Case, Right, Rows, Scene};
use crate::support::{Kind, PATIENCE, TestApp};
use redress_testkit::which;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How SQLite changes what is on the disk.
const CALLS: [&str; 4] = ["pwrite64", "fsync", "ftruncate", "unlink"];

/// What goes on while the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum During {
    /// One request is submitted, and nothing else happens.
    Submission,
    /// One request is submitted and worked on to its end.
    Completion,
}

pub(crate) fn cells() -> Vec<Cell> {
    vec![
        Cell::new("sqlite/killed-at-each-write-of-a-submission", || sweep(During::Submission, 1)).within(60),
        Cell::new("sqlite/killed-at-each-write-of-a-completion", || sweep(During::Completion, 1)).within(60),
        Cell::new("sqlite/killed-at-some-writes-of-a-submission", || sweep(During::Submission, 5)).only_in_slice(),
        Cell::new("sqlite/killed-at-some-writes-of-a-completion", || sweep(During::Completion, 25)).only_in_slice(),
        Cell::new("sqlite/each-202-comes-after-an-fsync", synced).in_slice(),
    ]
}

/// strace, attached to the process; what it saw is in a file.
struct Trace {
    child: Child,
    log: PathBuf,
}

impl Trace {
    /// None where this process may not trace another one.
    async fn attach(app: &TestApp, arguments: &[String]) -> Option<Self> {
        let log = app.folder().join("strace.log");
        let _ = std::fs::remove_file(&log);
        let pid = app.pid(0).expect("it runs").to_string();
        let mut command = Command::new(which("strace")?);
        command.args(["-f", "-y", "-s", "64", "-p", &pid, "-o"]).arg(&log).args(arguments);
        let errors = app.folder().join("strace.err");
        let file = std::fs::File::create(&errors).expect("it is our own folder");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().ok()?;
        let said = || std::fs::read_to_string(&errors).unwrap_or_default();
        for _ in 0..400 {
            if said().contains("attached") {
                // Every thread is attached a moment after the first one.
                tokio::time::sleep(Duration::from_millis(100)).await;
                return Some(Self { child, log });
            }
            if matches!(child.try_wait(), Ok(Some(_))) {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let _ = child.kill();
        None
    }

    /// What it saw.
    fn end(mut self) -> String {
        let pid = self.child.id().to_string();
        let _ = Command::new("sh").args(["-c", r#"kill -s INT "$1""#, "sh", &pid]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// A service on SQLite and people in one system, which is paused if nothing is to be done.
async fn scene(during: During, people: usize) -> Scene {
    let app = quick().installed().await;
    let rows = Rows::of(&app, None);
    let cases = (0..people).map(|n| Case::new(Right::Deletion, &format!("person{n}")).untold()).collect();
    let hold = |toml: &str| match during {
        During::Submission => toml.replace("\nallow =", "\npaused = true\nallow ="),
        During::Completion => toml.to_owned(),
    };
    let scene = Scene::set_with(app, rows, &[Kind::Sqlite], cases, hold).await.rough();
    scene.app.allow_errors();
    scene.app.start().await;
    scene
}

async fn sweep(during: During, step: u32) -> Ended {
    const MOST: u32 = 600;
    let scene = scene(during, 700).await;
    let mut ids: Vec<String> = Vec::new();
    let (mut killed, mut next) = (0, 0);
    for call in CALLS {
        let mut nth = 1;
        while nth < MOST {
            let inject = vec![
                "-e".into(),
                format!("trace={call}"),
                "-e".into(),
                format!("inject={call}:signal=KILL:when={nth}"),
            ];
            let Some(trace) = Trace::attach(&scene.app, &inject).await else {
                return Ended::Skipped("this needs strace, and the right to trace a process".into());
            };
            let submitted = tokio::select! {
                id = scene.submit(next) => Some(id),
                _ = scene.app.wait_for_death(PATIENCE) => None,
            };
            // What is worked on needs a moment, in which the process may die, or not if there is no such call.
            let survived = match (&submitted, during) {
                (None, _) => false,
                (Some(id), During::Completion) => {
                    let ended = tokio::select! {
                        _ = scene.api.until_view(id, |view| !view["closed_at"].is_null(), PATIENCE) => true,
                        _ = scene.app.wait_for_death(PATIENCE) => false,
                    };
                    // The last commits are made after the view says so.
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    ended && scene.app.is_running()
                }
                (Some(_), During::Submission) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    scene.app.is_running()
                }
            };
            drop(trace.end());
            scene.app.start().await;
            let whole = scene.rows.query("PRAGMA integrity_check").await.concat();
            assert_eq!(whole, ["ok"], "after a kill at {call} {nth}");
            if let Some(id) = &submitted {
                let there = format!("SELECT COUNT(*) FROM dsrs WHERE id = '{id}'");
                assert_eq!(scene.rows.number(&there).await, 1, "{id} was answered 202 before a kill at {call} {nth}");
            }
            // Whoever got no answer asks again with the same key.
            let id = match submitted {
                Some(id) => id,
                None => scene.submit(next).await,
            };
            ids.push(id);
            next += 1;
            if survived {
                break;
            }
            killed += 1;
            nth += step;
        }
    }
    println!("NOTE killed at {killed} system calls");
    assert!(killed > 3, "the calls were not met");
    let listed = scene.rows.number("SELECT COUNT(*) FROM dsrs").await;
    let lost = ids.len() as u64 - ids.len().min(usize::try_from(listed).unwrap_or(0)) as u64;
    assert_eq!(listed, ids.len() as u64, "each key made one request");
    if during == During::Completion {
        for id in &ids {
            scene.end_of(id).await;
        }
    }
    let journal = scene.journal().await;
    let duplicates = crate::checker::duplicates(&journal);
    println!("TALLY accepted={} lost={lost} duplicates={duplicates}", ids.len());
    assert_eq!(duplicates, 0);
    scene.verify("audit.ndjson", &scene.api.audit().await, &[]).await;
    Ended::Well
}

/// Between the last write of a request and its 202 the log is forced to the disk.
async fn synced() -> Ended {
    let scene = scene(During::Submission, 6).await;
    let calls = "trace=pwrite64,fsync,fdatasync,write,writev,sendto,sendmsg";
    let Some(trace) = Trace::attach(&scene.app, &["-e".into(), calls.into()]).await else {
        return Ended::Skipped("this needs strace, and the right to trace a process".into());
    };
    let mut ids = Vec::new();
    for nth in 0..6 {
        ids.push(scene.submit(nth).await);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let seen = trace.end();
    let mut answered = 0;
    // Whether something is in the log of the database that was not forced to the disk.
    let mut dirty = false;
    let mut written = 0;
    for line in seen.lines() {
        if line.contains("redress.db-wal>") {
            if line.contains("pwrite64(") {
                (dirty, written) = (true, written + 1);
            } else if line.contains("fsync(") || line.contains("fdatasync(") {
                dirty = false;
            }
        } else if line.contains("HTTP/1.1 202") {
            answered += 1;
            assert!(!dirty && written > 0, "a 202 without an fsync after what was written:\n{seen}");
            written = 0;
        }
    }
    assert_eq!(answered, ids.len(), "{seen}");
    println!("NOTE {answered} answers, each after an fsync of the log");
    println!("TALLY accepted={} lost=0 duplicates=0", ids.len());
    Ended::Well
}

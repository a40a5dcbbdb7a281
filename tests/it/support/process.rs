//! A process is one run of the real executable, in an environment that holds nothing but what the test put there.

use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The executable under test.
pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_redress");

/// A command in a clean environment.
pub(super) fn command(folder: &Path, env: &[(String, String)]) -> Command {
    command_as(folder, env, &Setup::default())
}

/// What is special about one process of an installation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    /// Further variables.
    pub(crate) env: Vec<(String, String)>,
    /// A program, with its arguments, that runs the executable.
    pub(crate) under: Vec<String>,
    /// Another executable, such as the previous version.
    pub(crate) program: Option<String>,
}

/// The same for a process that is set up in its own way.
pub(super) fn command_as(folder: &Path, env: &[(String, String)], setup: &Setup) -> Command {
    let program = setup.program.as_deref().unwrap_or(PROGRAM);
    let mut command = match setup.under.split_first() {
        None => Command::new(program),
        Some((runner, arguments)) => {
            let mut command = Command::new(redress_testkit::which(runner).unwrap_or_else(|| PathBuf::from(runner)));
            command.args(arguments).arg(program);
            command
        }
    };
    // A deliberate mistake that is switched on for everything that a suite stages.
    #[expect(clippy::disallowed_methods, reason = "a test's switch, not configuration")]
    let mutant = std::env::var("REDRESS_MUTANT").ok().map(|name| ("REDRESS_MUTANT", name));
    let all = env.iter().chain(&setup.env).map(|(k, v)| (k, v));
    command.env_clear().envs(all).envs(mutant).current_dir(folder).stdin(Stdio::null());
    command
}

/// What a command of the command line said and how it ended.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    /// The arguments.
    pub(crate) arguments: String,
    /// The exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Ran {
    /// Standard output, if it ended well.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "redress {}: {self:#?}", self.arguments);
        &self.stdout
    }

    /// Standard output as JSON, if it ended well.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.ok()).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Standard error, if it was refused or failed with this code.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(!self.stderr.trim().is_empty(), "it was refused without a word: {self:#?}");
        &self.stderr
    }
}

/// Runs a command to its end.
pub(super) fn run(mut command: Command, arguments: &[String]) -> Ran {
    let output = command.args(arguments).output().expect("the executable under test starts");
    Ran {
        arguments: arguments.join(" "),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Ends what is still running of a test whose own process was killed, and then removes the folder. Every line it reads
/// is the whole list of processes that run; at the end of its input it kills those of the last line.
const GUARD: &str = r#"
trap '' INT TERM HUP
while read -r line; do pids=$line; done
for pid in $pids; do kill -s KILL "$pid" 2>/dev/null; done
[ -e "$1/keep" ] || rm -rf -- "$1"
"#;

/// A temporary folder that goes with the test, and with it whatever was started in it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    guard: Child,
}

impl Folder {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let random = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0);
        let path = std::env::temp_dir().join(format!("redress-it-{:012x}", random & 0xffff_ffff_ffff));
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
        let guard = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(&path)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        Self { path, guard }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Says which processes run in it.
    pub(super) fn running(&mut self, pids: &[u32]) {
        let line = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ") + "\n";
        let stdin = self.guard.stdin.as_mut().expect("it is piped");
        stdin.write_all(line.as_bytes()).expect("the guard listens until this process ends");
    }

    /// Leaves the folder for a person to look at.
    pub(super) fn keep(&self) {
        let _ = std::fs::write(self.path.join("keep"), "");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// One process of the service.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) role: &'static str,
    pub(super) port: u16,
    child: Option<Child>,
    log: PathBuf,
}

impl Process {
    pub(super) fn new(folder: &Path, role: &'static str, nth: usize, port: u16) -> Self {
        Self { role, port, child: None, log: folder.join(format!("{role}-{nth}.log")) }
    }

    /// Starts it; both its outputs are appended to its log.
    pub(super) fn start(&mut self, mut command: Command) {
        assert!(self.child.is_none(), "{} is already running", self.role);
        let log = self.open_log();
        let errors = log.try_clone().expect("a file can be shared");
        let child = command
            .args(["serve", "--role", self.role])
            .env("REDRESS_LISTEN", format!("127.0.0.1:{}", self.port))
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("the executable under test starts");
        self.child = Some(child);
    }

    fn open_log(&self) -> File {
        OpenOptions::new().create(true).append(true).open(&self.log).expect("it is our own folder")
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How it ended, if it did; it can be started again then.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        self.child = None;
        Some(status)
    }

    /// Ends it at once.
    pub(super) fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to end; its exit status.
    pub(super) fn sigterm(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        let sent = Command::new("sh").args(["-c", r#"kill -s TERM "$1""#, "sh", &child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the process is there");
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("{} did not end within {} s of SIGTERM:\n{}", self.role, limit.as_secs(), self.log());
    }

    /// Everything it wrote, over all its runs.
    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

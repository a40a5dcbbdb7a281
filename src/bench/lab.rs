//! A lab is the temporary folder of one bench with the processes that run in it; all of it goes when the bench ends, however it ends.

use anyhow::{Context as _, Result, bail};
use std::fs::{self, File};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a server may take to serve.
pub(super) const START_LIMIT: Duration = Duration::from_mins(1);

/// Outlives the bench just long enough to end what it started. Every line it reads is the whole list of processes; at the
/// end of its input it ends those of the last line (at once: QUIT is what takes PostgreSQL's sessions along) and removes
/// the folder.
const GUARD: &str = r#"
trap '' INT TERM HUP
pids=
while read -r line; do pids=$line; done
for pid in $pids; do kill -s CONT "$pid"; kill -s QUIT "$pid"; done 2>/dev/null
n=0
for pid in $pids; do while kill -s 0 "$pid" 2>/dev/null && [ $n -lt 60 ]; do sleep 0.05; n=$((n+1)); done; done
for pid in $pids; do kill -s KILL "$pid"; done 2>/dev/null
rm -rf -- "$1" || { sleep 0.5; rm -rf -- "$1"; }
"#;

/// The folder and what runs in it.
#[derive(Debug)]
pub(super) struct Lab {
    path: PathBuf,
    account: Option<(u32, u32)>,
    guard: Mutex<Guard>,
}

#[derive(Debug)]
struct Guard {
    shell: Child,
    pids: Vec<u32>,
}

impl Lab {
    /// A new folder below `parent`.
    pub(super) fn new(parent: &Path) -> Result<Arc<Self>> {
        let path = parent.join(format!("redress-bench-{:012x}", random() & 0xffff_ffff_ffff));
        fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        let shell = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(&path)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("no shell can be started")?;
        let account = account()?;
        Ok(Arc::new(Self { path, account, guard: Mutex::new(Guard { shell, pids: Vec::new() }) }))
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A new folder in it.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(path)
    }

    /// Gives a file to the account that servers run under.
    pub(super) fn lend(&self, path: &Path) -> Result<()> {
        if let Some((uid, gid)) = self.account {
            chown(path, Some(uid), Some(gid)).with_context(|| format!("{} cannot be lent", path.display()))?;
        }
        Ok(())
    }

    /// A command under the account that servers run under: they refuse root.
    pub(super) fn unprivileged(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Starts a process whose output goes to `log`.
    pub(super) fn spawn(self: &Arc<Self>, mut command: Command, log: &Path) -> Result<Running> {
        let file = File::options().create(true).append(true).open(log)?;
        let program = command.get_program().display().to_string();
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{program} cannot be started"))?;
        self.change(|pids| pids.push(child.id()));
        Ok(Running { child, log: log.to_owned(), lab: self.clone() })
    }

    fn change(&self, change: impl FnOnce(&mut Vec<u32>)) {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut guard.pids);
        let line = guard.pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        if let Some(stdin) = &mut guard.shell.stdin {
            let _the_guard_may_be_gone = writeln!(stdin, "{line}");
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let guard = self.guard.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(guard.shell.stdin.take());
        let _ = guard.shell.wait();
    }
}

/// A process of the lab; ended when dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    log: PathBuf,
    lab: Arc<Lab>,
}

impl Running {
    /// Its number.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far, the end of it.
    pub(super) fn log(&self) -> String {
        let text = String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// Why it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("it ended with {status}; the end of its log:\n{}", self.log()))
    }

    /// Sends a signal.
    pub(super) fn signal(&self, name: &str) {
        signal(name, self.pid());
    }

    /// Ends it in order, or after ten seconds at once.
    pub(super) fn stop(&mut self, name: &str) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("CONT");
            self.signal(name);
            let limit = Instant::now() + Duration::from_secs(10);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < limit {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        let pid = self.pid();
        self.lab.change(|pids| pids.retain(|p| *p != pid));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop("QUIT");
    }
}

fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").args(["-s", name, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Whom servers run as if we are root; nobody else may lend an account.
fn account() -> Result<Option<(u32, u32)>> {
    let id = |what: &str, name: Option<&str>| -> Option<u32> {
        let output = Command::new("id").arg(what).args(name).stderr(Stdio::null()).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id("-u", None) != Some(0) {
        return Ok(None);
    }
    let found = ["postgres", "nobody"].iter().find_map(|name| Some((id("-u", Some(name))?, id("-g", Some(name))?)));
    match found {
        Some(found) => Ok(Some(found)),
        None => bail!("PostgreSQL does not run as root, and there is no account named postgres or nobody"),
    }
}

/// The program of this name: on `PATH`, where Debian hides servers, or in the newest PostgreSQL's folder.
pub(super) fn which(name: &str, path: &str) -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    let mut folders: Vec<PathBuf> = versions.into_iter().rev().map(|(_, folder)| folder).collect();
    folders.extend(std::env::split_paths(path));
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from));
    folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|file| fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0))
}

/// A port that is free now, below the range from which the kernel takes outgoing ports.
pub(super) fn free_port() -> Result<u16> {
    for _ in 0..2_000 {
        let number = 20_000 + u16::try_from(random() % 10_000).expect("below 10,000");
        if TcpListener::bind(("127.0.0.1", number)).is_ok() {
            return Ok(number);
        }
    }
    bail!("no port between 20000 and 30000 is free")
}

/// A number that nobody else has.
pub(super) fn random() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

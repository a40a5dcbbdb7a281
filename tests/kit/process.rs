//! What all servers share: a temporary folder with a guard, reserved ports, and a process group that is ended with them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(15);

/// The program of this name: on `PATH`, where Debian hides servers, or in the newest PostgreSQL's folder.
pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    // The newest server first: its own tools must match it, whatever wrapper is on PATH.
    folders.splice(0..0, versions.into_iter().rev().map(|(_, folder)| folder));
    folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|file| fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0))
}

/// The first of these programs that is here, or a panic that says what to install.
pub(crate) fn require(names: &[&str], package: &str) -> PathBuf {
    names.iter().find_map(|name| which(name)).unwrap_or_else(|| {
        panic!("{} is not installed, and this test needs it: apt-get install {package}", names.join(" or "))
    })
}

/// A program that `scripts/servers` prepared in the user's cache, or a panic that says so.
pub(crate) fn prepared(path: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let file = cache.unwrap_or_default().join("redress").join(path);
    assert!(file.exists(), "{} is not there, and this test needs it: run scripts/servers", file.display());
    file
}

/// A port number that no other test uses while this lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _reservation: File,
}

impl Port {
    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// A free TCP port on 127.0.0.1, below the range from which the kernel takes outgoing ports.
pub fn free_port() -> Port {
    let folder = shared_folder().join("ports");
    fs::create_dir_all(&folder).expect("the temporary folder is writable");
    for _ in 0..2000 {
        let number = 20_000 + u16::try_from(random() % 10_000).expect("below 10,000");
        let Ok(reservation) = File::create(folder.join(number.to_string())) else { continue };
        if reservation.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
            return Port { number, _reservation: reservation };
        }
    }
    panic!("no free port between 20000 and 30000");
}

pub(crate) fn random() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// Where processes of the same user meet: port reservations and the archives of initialised data folders.
fn shared_folder() -> PathBuf {
    std::env::temp_dir().join(format!("redress-testkit-{}", own_uid()))
}

fn own_uid() -> u32 {
    static UID: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *UID.get_or_init(|| id("-u", None).expect("`id -u` answers"))
}

/// Asks `id` for a number; without a name, for this process.
fn id(what: &str, name: Option<&str>) -> Option<u32> {
    let output = Command::new("id").arg(what).args(name).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Whom a server runs as. Servers refuse root, so root lends them another account; anybody else stays who they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    switch_to: Option<(u32, u32)>,
}

impl Account {
    /// The first of `names` that exists, if this process is root.
    pub(crate) fn first_of(names: &[&str]) -> Self {
        if own_uid() != 0 {
            return Self { switch_to: None };
        }
        let found = names.iter().find_map(|name| Some((id("-u", Some(name))?, id("-g", Some(name))?)));
        Self { switch_to: Some(found.unwrap_or_else(|| panic!("no account named {}", names.join(" or ")))) }
    }

    pub(crate) fn is_switched(self) -> bool {
        self.switch_to.is_some()
    }

    /// The user and group number under which the server's files are kept.
    pub(crate) fn ids(self) -> (u32, u32) {
        self.switch_to.unwrap_or_else(|| (own_uid(), id("-g", None).expect("`id -g` answers")))
    }

    pub(crate) fn own(self, path: &Path) {
        if let Some((uid, gid)) = self.switch_to {
            chown(path, Some(uid), Some(gid)).unwrap_or_else(|e| panic!("chown {}: {e}", path.display()));
        }
    }

    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.switch_to {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// Runs to the end and gives what it printed; panics with everything it printed if it fails.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> String {
    try_run(command, input).unwrap_or_else(|output| panic!("{} failed:\n{output}", command.get_program().display()))
}

/// Runs to the end: what it printed, or everything it printed if it failed.
pub(crate) fn try_run(command: &mut Command, input: &[u8]) -> Result<String, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start it: {e}"))?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let output = std::thread::scope(|scope| {
        // A program that fails early closes its input; its exit code tells that better than a write error.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output()
    })
    .map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("{}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// Runs something that blocks without holding up the test's own tasks; a panic in it is the test's panic.
pub(crate) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

/// An initialised data folder, made once per `name` (which holds the server's version), then unpacked at `to`.
pub(crate) fn unpack_template(name: &str, to: &Path, account: Account, initialise: impl FnOnce(&Path)) {
    let shared = shared_folder();
    fs::create_dir_all(&shared).expect("the temporary folder is writable");
    // An archive is there whole or not at all: a cleaner of temporary files cannot take half of it.
    let archive = shared.join(format!("{name}.tar"));
    if !archive.exists() {
        let lock = File::create(shared.join(format!("{name}.lock"))).expect("the temporary folder is writable");
        lock.lock().expect("file locks work in the temporary folder");
        if !archive.exists() {
            let folder = Folder::new(account);
            let data = folder.path().join("data");
            fs::create_dir(&data).expect("the temporary folder is writable");
            account.own(&data);
            initialise(&data);
            let unfinished = shared.join(format!("{name}.{:x}.unfinished", random()));
            run(Command::new("tar").arg("-cf").arg(&unfinished).arg("-C").arg(&data).arg("."), b"");
            fs::rename(&unfinished, &archive).expect("same folder");
        }
    }
    fs::create_dir(to).expect("the temporary folder is writable");
    account.own(to);
    run(Command::new("tar").arg("-xpf").arg(&archive).arg("-C").arg(to), b"");
}

/// A version as part of a file name.
pub(crate) fn version_of(program: &Path) -> String {
    let text = run(Command::new(program).arg("--version"), b"");
    text.trim().chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

/// A temporary folder with a guard: a small process that outlives this one just long enough to end the server and
/// remove the folder, even if this process is killed.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    guard: Child,
}

/// Every line it reads is a signal and the process group it is meant for (or nothing at all); at the end of its input
/// it sends that signal, waits three seconds, kills the group and removes the folder.
const GUARD: &str = r#"
trap '' INT TERM HUP
signal= pid=
while read -r signal_ pid_; do signal=$signal_ pid=$pid_; done
if [ -n "$pid" ]; then
  kill -s "$signal" "$pid"
  n=0
  while kill -s 0 "$pid" && [ $n -lt 60 ]; do sleep 0.05; n=$((n+1)); done
  kill -s KILL -- "-$pid"
fi
rm -rf -- "$1" || { sleep 0.5; rm -rf -- "$1"; }
"#;

impl Folder {
    pub(crate) fn new(account: Account) -> Self {
        let path = std::env::temp_dir().join(format!("rk-{:012x}", random() & 0xffff_ffff_ffff));
        fs::create_dir(&path).unwrap_or_else(|e| panic!("create {}: {e}", path.display()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is our own folder");
        account.own(&path);
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

    fn on_exit(&mut self, signal: &str, pid: Option<u32>) {
        let line = pid.map_or_else(|| "\n".to_owned(), |pid| format!("{signal} {pid}\n"));
        if let Some(stdin) = &mut self.guard.stdin {
            stdin.write_all(line.as_bytes()).expect("the guard listens until this process ends");
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

pub(crate) type WithFolderAndPorts<T> = Box<dyn Fn(&Path, &[u16]) -> T + Send + Sync>;

/// What makes one kind of server: how it is started, and how one sees that it serves.
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    /// Ends it in order.
    pub(crate) stop_signal: &'static str,
    /// Ends it at once, with all its children.
    pub(crate) kill_signal: &'static str,
    pub(crate) ports: usize,
    pub(crate) command: WithFolderAndPorts<Command>,
    /// Asked again and again until it is `Ok`.
    pub(crate) ready: WithFolderAndPorts<Result<(), String>>,
}

/// A server process with its folder and ports.
pub(crate) struct Server {
    recipe: Recipe,
    ports: Vec<Port>,
    // Dropped in this order: the process ends before its folder goes.
    running: Mutex<Running>,
}

struct Running {
    child: Option<Child>,
    folder: Folder,
}

impl Server {
    pub(crate) fn start(folder: Folder, recipe: Recipe) -> Self {
        let log = folder.path().join("log");
        let mut server = Self { ports: Vec::new(), recipe, running: Mutex::new(Running { child: None, folder }) };
        for _ in 0..5 {
            server.ports = (0..server.recipe.ports).map(|_| free_port()).collect();
            match server.launch() {
                Ok(()) => return server,
                // Somebody outside these tests took the port between our look and the server's bind.
                Err(fault) if fault.to_lowercase().contains("in use") => {
                    let _ = fs::remove_file(&log);
                }
                Err(fault) => panic!("{} did not start: {fault}", server.recipe.name),
            }
        }
        panic!("{} found no free port in five attempts:\n{}", server.recipe.name, server.log());
    }

    pub(crate) fn port(&self, index: usize) -> u16 {
        self.ports[index].number()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.running().folder.path().to_owned()
    }

    pub(crate) fn log(&self) -> String {
        let log = fs::read(self.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running().child.is_some()
    }

    pub(crate) fn stop(&self) {
        self.end(self.recipe.stop_signal);
    }

    pub(crate) fn kill9(&self) {
        self.end(self.recipe.kill_signal);
    }

    /// The same port and folder once more. What the killed one left behind may need a moment to go away.
    pub(crate) fn start_again(&self) {
        assert!(self.running().child.is_none(), "{} is already running", self.recipe.name);
        let limit = Instant::now() + START_LIMIT;
        while let Err(fault) = self.launch() {
            assert!(Instant::now() < limit, "{} did not start again: {fault}", self.recipe.name);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn launch(&self) -> Result<(), String> {
        let folder = self.path();
        let ports: Vec<u16> = self.ports.iter().map(Port::number).collect();
        let log = File::options().create(true).append(true).open(folder.join("log")).expect("it is our own folder");
        let errors = log.try_clone().expect("a file can be shared");
        let child = (self.recipe.command)(&folder, &ports)
            .current_dir(&folder)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|e| format!("{e}"))?;
        let mut running = self.running();
        running.folder.on_exit(self.recipe.kill_signal, Some(child.id()));
        running.child = Some(child);
        drop(running);

        let limit = Instant::now() + START_LIMIT;
        loop {
            let exited = self.running().child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = exited {
                self.kill9();
                return Err(format!("it ended with {status}; its log:\n{}", self.log()));
            }
            let Err(fault) = (self.recipe.ready)(&folder, &ports) else { return Ok(()) };
            if Instant::now() > limit {
                self.kill9();
                return Err(format!("it did not serve within 30 s ({fault}); its log:\n{}", self.log()));
            }
            std::thread::sleep(POLL);
        }
    }

    fn end(&self, signal: &str) {
        let Some(mut child) = self.running().child.take() else { return };
        let pid = child.id();
        if matches!(child.try_wait(), Ok(None)) {
            shell_kill(signal, &pid.to_string());
            let limit = Instant::now() + Duration::from_secs(10);
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < limit {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        shell_kill("KILL", &format!("-{pid}"));
        let _ = child.wait();
        self.running().folder.on_exit("", None);
    }
}

fn shell_kill(signal: &str, target: &str) {
    let _ = Command::new("sh")
        .args(["-c", r#"kill -s "$1" -- "$2""#, "sh", signal, target])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// The methods that every server has.
macro_rules! common {
    ($name:ident) => {
        impl $name {
            /// Where it listens.
            pub fn host(&self) -> &'static str {
                "127.0.0.1"
            }

            /// What it wrote to its log so far.
            pub fn log(&self) -> String {
                self.server.log()
            }

            /// Ends it in order; its port stays reserved and its folder stays.
            pub async fn stop(&self) {
                let server = std::sync::Arc::clone(&self.server);
                crate::process::off_thread(move || server.stop()).await;
            }

            /// Ends it at once, as a crash would.
            pub async fn kill9(&self) {
                let server = std::sync::Arc::clone(&self.server);
                crate::process::off_thread(move || server.kill9()).await;
            }

            /// Starts it again on the same port with the same folder.
            pub async fn start_again(&self) {
                let server = std::sync::Arc::clone(&self.server);
                crate::process::off_thread(move || server.start_again()).await;
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{} on port {}", stringify!($name), self.server.port(0))
            }
        }
    };
}
pub(crate) use common;

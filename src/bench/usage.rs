//! Usage is what the kernel says about a process: CPU seconds and memory. Linux only; elsewhere it is not known.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Clock ticks of a second in `/proc`: 100 on every Linux that PostgreSQL and Redis are packaged for.
const TICKS: f64 = 100.0;

/// CPU seconds of a process and its children, those that ended and were waited for included.
pub(super) fn cpu(pid: u32) -> Option<f64> {
    let mut ticks = own(pid)?;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if parent(child) == Some(pid) {
            ticks += own(child).unwrap_or(0);
        }
    }
    Some(ticks as f64 / TICKS)
}

/// The fields of `/proc/PID/stat` after the name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split_ascii_whitespace().map(str::to_owned).collect())
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

fn own(pid: u32) -> Option<u64> {
    // utime, stime, cutime, cstime.
    stat(pid)?.get(11..15)?.iter().map(|text| text.parse::<u64>().ok()).sum()
}

/// Resident memory now and at its highest, in MB.
pub(super) fn memory(pid: u32) -> Option<(f64, f64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let of = |name: &str| -> Option<f64> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_ascii_whitespace().nth(1)?.parse::<f64>().ok().map(|kb| kb / 1024.0)
    };
    Some((of("VmRSS:")?, of("VmHWM:")?))
}

/// The machine in a line: processor, cores, memory, load, and how long its disk takes to make 4 KiB durable.
pub(super) fn machine(folder: &Path) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|l| l.strip_prefix("model name")).and_then(|l| l.split_once(": ")).map(|l| l.1);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = read("/proc/meminfo")
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.split_ascii_whitespace().next()?.parse::<f64>().ok())
        .map_or_else(String::new, |kb| format!(", {:.0} GB of memory", kb / 1024.0 / 1024.0));
    let load = load().map_or_else(String::new, |load| format!(", load average {load}"));
    let fsync = fsync(folder).map_or_else(
        || "fsync not measured".to_owned(),
        |(p50, p99)| {
            format!("fsync of 4 KiB {:.2} ms (p99 {:.2} ms)", p50.as_secs_f64() * 1e3, p99.as_secs_f64() * 1e3)
        },
    );
    let model = model.unwrap_or("processor unknown").trim();
    format!("{cores} cores ({model}){memory}{load}; {fsync}")
}

/// How busy the machine was in the last minute.
pub(super) fn load() -> Option<String> {
    fs::read_to_string("/proc/loadavg").ok()?.split_ascii_whitespace().next().map(str::to_owned)
}

fn fsync(folder: &Path) -> Option<(Duration, Duration)> {
    use std::io::{Seek as _, Write as _};
    let path = folder.join("fsync");
    let mut file = fs::File::create(&path).ok()?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        file.rewind().ok()?;
        file.write_all(&[7; 4096]).ok()?;
        file.sync_data().ok()?;
        times.push(began.elapsed());
    }
    let _ = fs::remove_file(path);
    times.sort();
    Some((times[100], times[198]))
}

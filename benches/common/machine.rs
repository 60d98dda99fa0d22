//! What Linux says of this machine and of processes, from `/proc`.

use std::fs::read_to_string;
use std::time::Duration;

use super::Result;

/// Units of `/proc/stat` and `/proc/PID/stat` in a second: `USER_HZ`, 100 wherever Linux runs.
const TICKS: f64 = 100.0;

/// Descriptors that are needed beside one for each connection.
const OTHER_FILES: u64 = 200;

/// Fails where the shell allows too few open files, to this process or the natter it starts.
pub fn check_open_files(connections: u64) -> Result<()> {
    let limits = read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()).unwrap_or_default();
    let needed = connections + OTHER_FILES;
    match soft.parse::<u64>() {
        Ok(allowed) if allowed < needed => Err(format!(
            "{connections} connections need {needed} open files and {allowed} are allowed: \
             `ulimit -n {needed}` first"
        )
        .into()),
        _ => Ok(()),
    }
}

/// Load averages of 1, 5 and 15 minutes.
pub fn load_average() -> String {
    let line = read_to_string("/proc/loadavg").unwrap_or_default();
    line.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Resident memory of a process now and at most, in MiB.
pub fn memory(pid: u32) -> Option<(u64, u64)> {
    let status = read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1024)
    };
    Some((mib("VmRSS:")?, mib("VmHWM:")?))
}

/// Whose processor time is told apart.
pub const USERS: [&str; 5] = ["natter", "load tool", "mongod", "redis-server", "whole machine"];

/// Processor time used so far, by each of [`USERS`]; of the stores, by all of that name here.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    server: Option<u32>,
    ticks: [u64; USERS.len()],
}

impl Usage {
    pub fn now(server: Option<u32>) -> Self {
        let server_ticks = server.and_then(|pid| ticks_of(&pid.to_string()));
        let ticks = [
            server_ticks.unwrap_or(0),
            ticks_of("self").unwrap_or(0),
            ticks_of_all("mongod"),
            ticks_of_all("redis-server"),
            ticks_of_machine().unwrap_or(0),
        ];
        Self { server, ticks }
    }

    /// The cores that each kept busy, on average, since this was taken `elapsed` ago.
    pub fn since(&self, elapsed: Duration) -> [f64; USERS.len()] {
        let mut cores = [0.0; USERS.len()];
        for ((cores, now), before) in
            cores.iter_mut().zip(Self::now(self.server).ticks).zip(self.ticks)
        {
            let ticks = u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
            *cores = f64::from(ticks) / TICKS / elapsed.as_secs_f64();
        }
        cores
    }
}

fn ticks_of(process: &str) -> Option<u64> {
    let stat = read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the command's name, which may hold anything: state (3), …, utime (14), stime (15).
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// The time of all processes whose command has this name.
fn ticks_of_all(command: &str) -> u64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let named = processes.filter_map(|process| {
        let name = read_to_string(process.path().join("comm")).ok()?;
        (name.trim_end() == command).then(|| ticks_of(process.file_name().to_str()?)).flatten()
    });
    named.sum()
}

fn ticks_of_machine() -> Option<u64> {
    let stat = read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.split_whitespace().skip(1).take(8);
    let ticks: Vec<u64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(ticks.iter().sum::<u64>() - idle)
}

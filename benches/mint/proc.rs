//! What the kernel knows of a process (Linux `proc_pid_stat(5)`, `proc_pid_status(5)`).

use std::time::Duration;

/// The kernel's `USER_HZ`, in which it tells times to everybody, whatever its own clock.
const TICKS_A_SECOND: f64 = 100.0;

/// Time on a processor so far, all threads, in user mode and in the kernel.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = read(pid, "stat");
    // The second field, in parentheses, is a name; the third follows.
    let fields = stat.rsplit_once(") ").expect("a name in parentheses").1;
    let ticks: f64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<f64>().expect("a number"))
        .sum();
    Duration::from_secs_f64(ticks / TICKS_A_SECOND)
}

/// Resident memory, in bytes.
pub(crate) fn resident(pid: u32) -> f64 {
    let status = read(pid, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kilobytes: f64 = line.trim_end_matches("kB").trim().parse().expect("a number");
    kilobytes * 1024.0
}

fn read(pid: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("Linux, and it runs")
}

//! Linux calls: processes and their descendants, messages with descriptors, pipes, poll, the grain of time stamps.
//!
//! The owner of `rustix` for processes, and the only place that may ask for `unsafe`. Knows nothing of modules:
//! every function is a call of the kernel with its errors as `io::Error`.
#![expect(unsafe_code, reason = "wait4 tells the usage of one child; `pre_exec` ties a child to us")]

pub mod inotify;

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};

/// At most so many descriptors travel with one message.
pub const MAX_FDS: usize = 3;

/// How long after a file's last change its stamp cannot be trusted, in nanoseconds, by its file system.
pub fn racy_window(file: &File) -> i128 {
    const SECOND: i128 = 1_000_000_000;
    // Stamps finer than a clock tick: ext2-4, xfs, btrfs, tmpfs, apfs. Two ticks of the slowest kernel clock.
    const FINE: [u64; 5] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x1A];
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs by platform")]
    match rustix::fs::fstatfs(file) {
        Ok(stat) if FINE.contains(&(stat.f_type as u64)) => SECOND / 50,
        _ => 2 * SECOND,
    }
}

/// How a process ended, and what it used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Processor time in microseconds, that of its reaped children included.
    pub cpu_us: u64,
    /// The most memory that it or one of its reaped children held, in KiB.
    pub peak_kib: u64,
    /// It was ended because it held more memory than it may: so many bytes, with all that it started.
    pub over: Option<u64>,
    /// When it had ended, no process was left that had lost its parent: nothing that it started goes on.
    pub alone: bool,
}

/// The signals that are sent to modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Send {
    /// Print the stack (SIGUSR1).
    Dump,
    /// Please end (SIGTERM).
    Terminate,
    /// End (SIGKILL).
    Kill,
}

impl Send {
    fn signal(self) -> Signal {
        match self {
            Send::Dump => Signal::USR1,
            Send::Terminate => Signal::TERM,
            Send::Kill => Signal::KILL,
        }
    }
}

/// The number of this process.
pub fn own_pid() -> u32 {
    std::process::id()
}

/// When a process began, in ticks since the machine did; with its number it names the process for good.
pub fn process_start(number: u32) -> Option<u64> {
    let mut text = Vec::new();
    File::open(format!("/proc/{number}/stat")).ok()?.read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name in parentheses may hold anything.
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The number of the group of who runs this process.
pub fn own_group() -> u32 {
    rustix::process::getegid().as_raw()
}

/// Who runs this process: the number of its effective user.
pub fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn pid(number: u32) -> io::Result<Pid> {
    i32::try_from(number)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no process has this number"))
}

/// Makes this process the parent of its orphaned descendants.
pub fn become_subreaper() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Begins a session of its own: the terminal's signals do not come here any more.
pub fn begin_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// No core dumps from here on, also of children.
pub fn forbid_core_dumps() {
    // Refused only where the limit is lower already.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
}

/// Where the numbers of processes are those that this one sees: `pid:[4026531836]`. Empty: it is not said.
pub fn process_namespace() -> String {
    let link = std::fs::read_link("/proc/self/ns/pid");
    link.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The name of this process in `ps` and `top`.
pub fn set_process_name(name: &std::ffi::CStr) {
    // Cosmetic: without it the name is that of the file.
    let _ = rustix::thread::set_name(name);
}

/// A descriptor that becomes readable when the process has ended.
pub fn open_process(number: u32) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(pid(number)?, PidfdFlags::empty())?)
}

/// Sends a signal to a process. That it is gone already is fine.
pub fn signal_process(number: u32, send: Send) {
    if let Ok(pid) = pid(number) {
        let _ = rustix::process::kill_process(pid, send.signal());
    }
}

/// Sends a signal to a process group. That it is gone already is fine.
pub fn signal_group(number: u32, send: Send) {
    if let Ok(pid) = pid(number) {
        let _ = rustix::process::kill_process_group(pid, send.signal());
    }
}

/// `struct timeval` of 64-bit Linux.
#[repr(C)]
#[derive(Default)]
struct TimeValue {
    seconds: i64,
    micros: i64,
}

/// `struct rusage` of 64-bit Linux.
#[repr(C)]
#[derive(Default)]
struct Usage {
    user: TimeValue,
    system: TimeValue,
    max_resident_kib: i64,
    rest: [i64; 13],
}

unsafe extern "C" {
    fn wait4(pid: i32, status: *mut i32, options: i32, usage: *mut Usage) -> i32;
}

/// Runs a command to its end as a child of this very process, in its process group and with its terminal.
/// The kernel kills it if the thread that called this ends first.
pub fn run_here(command: &mut Command) -> io::Result<Exit> {
    let tie = || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: between fork and exec it makes one system call, which takes no memory and no lock.
    unsafe { command.pre_exec(tie) };
    let status = command.status()?;
    Ok(Exit { code: status.code(), signal: status.signal(), ..Exit::default() })
}

/// What a program reads that gets no input, and writes what nobody reads.
pub fn nothing() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}

/// Starts a program in a process group of its own; it goes when the thread that started it does.
pub fn start_beside(command: &mut Command) -> io::Result<std::process::Child> {
    let tie = || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: between fork and exec it makes one system call, which takes no memory and no lock.
    unsafe { command.pre_exec(tie) };
    command.process_group(0).spawn()
}

const NO_HANG: i32 = 1;

/// Takes the end of a child, waiting for it; `None` if it is no child (any more).
pub fn wait(number: u32) -> Option<Exit> {
    loop {
        match wait_call(number, 0) {
            Ok(exit) => return exit,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// Whether this process, a subreaper, surely has no children that were others' before. They become those of its first
/// thread, which must not start any itself. Not sure: a kernel that does not list children.
pub fn has_no_orphans() -> bool {
    let mut first = [0];
    let children = File::open(format!("/proc/self/task/{}/children", own_pid()));
    children.and_then(|mut children| children.read(&mut first)).is_ok_and(|read| read == 0)
}

/// Takes the end of a child if it has ended.
pub fn reap(number: u32) -> Option<Exit> {
    wait_call(number, NO_HANG).ok().flatten()
}

fn wait_call(number: u32, options: i32) -> io::Result<Option<Exit>> {
    let mut status = 0;
    let mut usage = Usage::default();
    let wanted = pid(number)?.as_raw_nonzero().get();
    // SAFETY: both pointers are to live locals of the layout that the kernel writes on 64-bit Linux.
    let ended = unsafe { wait4(wanted, &raw mut status, options, &raw mut usage) };
    if ended < 0 {
        return Err(io::Error::last_os_error());
    }
    if ended == 0 {
        return Ok(None);
    }
    let signal = status & 0x7f;
    let micros = |time: &TimeValue| (time.seconds.max(0) as u64) * 1_000_000 + time.micros.max(0) as u64;
    Ok(Some(Exit {
        code: (signal == 0).then_some(status >> 8 & 0xff),
        signal: (signal != 0).then_some(signal),
        cpu_us: micros(&usage.user) + micros(&usage.system),
        peak_kib: usage.max_resident_kib.max(0) as u64,
        over: None,
        alone: false,
    }))
}

/// A line of the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Its session's.
    pub session: u32,
    /// Ended, but not yet taken by its parent.
    pub zombie: bool,
}

/// All processes, from `/proc`.
pub fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut text = Vec::new();
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        text.clear();
        let read = File::open(entry.path().join("stat")).and_then(|mut file| file.read_to_end(&mut text));
        if read.is_ok() {
            found.extend(parse_stat(pid, &text));
        }
    }
    found
}

/// `PID (NAME) STATE PARENT GROUP SESSION …`, where the name may hold anything.
fn parse_stat(pid: u32, text: &[u8]) -> Option<Process> {
    let behind = text.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&text[behind..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Process { pid, parent, session, zombie: matches!(state, "Z" | "X") })
}

/// What a running process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Processor time in microseconds, that of its reaped children included.
    pub cpu: u64,
    /// The most memory that it held since its start, or since [`forget_peak`], in KiB.
    pub peak: u64,
}

/// What a running process has used; nothing if it is gone, or another's.
pub fn spent(pid: u32) -> Option<Spent> {
    let folder = std::path::Path::new("/proc").join(pid.to_string());
    let read = |name: &str| -> Option<Vec<u8>> {
        let mut text = Vec::new();
        File::open(folder.join(name)).and_then(|mut file| file.read_to_end(&mut text)).ok()?;
        Some(text)
    };
    let cpu = parse_times(&read("stat")?)?;
    let status = String::from_utf8_lossy(&read("status")?).into_owned();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|text| text.trim().trim_end_matches("kB").trim().parse().ok());
    Some(Spent { cpu, peak: peak.unwrap_or_default() })
}

/// Begins anew to watch for the most memory that a process holds.
pub fn forget_peak(pid: u32) {
    // Where it is refused, the peak is that since the start.
    let file = std::path::Path::new("/proc").join(pid.to_string()).join("clear_refs");
    drop(
        File::options()
            .write(true)
            .open(file)
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"5")),
    );
}

/// Processor time of a process and its reaped children, in microseconds: fields 14 to 17, in hundredths of a second.
fn parse_times(text: &[u8]) -> Option<u64> {
    let behind = text.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&text[behind..]).ok()?.split_ascii_whitespace().skip(11);
    let mut ticks = 0u64;
    for _ in 0..4 {
        ticks += fields.next()?.parse::<u64>().ok()?;
    }
    Some(ticks * 10_000)
}

/// The name of this machine; empty if it has none.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Those of `table` that descend from the given ones, parents before children; the given ones not included.
pub fn descendants(table: &[Process], of: &[u32]) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut parents = of.to_vec();
    while !parents.is_empty() {
        let known = |pid: u32| of.contains(&pid) || found.iter().any(|process| process.pid == pid);
        let next: Vec<Process> = table
            .iter()
            .filter(|process| parents.contains(&process.parent) && !known(process.pid))
            .copied()
            .collect();
        parents = next.iter().map(|process| process.pid).collect();
        found.extend(next);
    }
    found
}

/// The processor time of this thread.
pub fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.clamp(0, 999_999_999) as u32)
}

/// The memory that a process holds, resident and swapped, in bytes; pages that it shares with others included.
pub fn memory_of(pid: u32) -> Option<u64> {
    kib_of(pid, "status", &["VmRSS:", "VmSwap:"])
}

/// The memory of a process that is no file's and no shared segment's, resident and swapped, in bytes.
pub fn anonymous_memory_of(pid: u32) -> Option<u64> {
    kib_of(pid, "status", &["RssAnon:", "VmSwap:"])
}

/// The same as [`memory_of`], but of pages that it shares with others only its part. Takes long for large processes.
pub fn own_memory_of(pid: u32) -> Option<u64> {
    kib_of(pid, "smaps_rollup", &["Pss:", "SwapPss:"])
}

/// The sum of some lines `NAME: NUMBER kB` of a file of a process, in bytes.
fn kib_of(pid: u32, file: &str, names: &[&str]) -> Option<u64> {
    let mut text = String::new();
    File::open(format!("/proc/{pid}/{file}")).and_then(|mut file| file.read_to_string(&mut text)).ok()?;
    let value = |line: &str| {
        let rest = names.iter().find_map(|name| line.strip_prefix(name))?;
        rest.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()
    };
    let found: Vec<u64> = text.lines().filter_map(value).collect();
    (!found.is_empty()).then(|| found.iter().sum::<u64>() * 1024)
}

/// How many processes the kernel has killed for want of memory since the machine started.
pub fn out_of_memory_kills() -> Option<u64> {
    let mut text = String::new();
    File::open("/proc/vmstat").and_then(|mut file| file.read_to_string(&mut text)).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// The name of a signal: `SIGSEGV`.
pub fn signal_name(signal: i32) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let name = usize::try_from(signal - 1).ok().and_then(|ix| NAMES.get(ix));
    name.map_or_else(|| format!("signal {signal}"), |name| format!("SIG{name}"))
}

/// The bytes that are free to us on the disk of this folder; none if no file can be made. Absent: it does not say.
pub fn free_space(folder: &std::path::Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    // A file system without a number of files says 0 of both.
    let no_file = disk.f_files > 0 && disk.f_favail == 0;
    Some(if no_file { 0 } else { disk.f_bavail.saturating_mul(disk.f_frsize) })
}

/// Holds a file or folder without opening it for anything: by the name that it has in `/proc/self/fd` it is the same,
/// whatever lies at its path by then.
pub fn hold(path: &std::path::Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// The same of a single name in a folder that is held; of a link, the link itself.
pub fn hold_in(folder: impl AsFd, name: &std::path::Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(folder, name, flags, Mode::empty())?)
}

/// Whether what is held is a link.
pub fn is_link(held: impl AsFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(held)?.st_mode) == FileType::Symlink)
}

/// The size of a page, and of what a file lets go of at a time.
const BLOCK: u64 = 4096;

/// Gives the disk what lies in a part of a file, as far as that is whole blocks; the file stays as long as it is and
/// reads as zeros there. An error: the file system cannot.
pub fn let_go(file: &File, from: u64, to: u64) -> io::Result<()> {
    let (from, to) = (from.next_multiple_of(BLOCK), to / BLOCK * BLOCK);
    if from >= to {
        return Ok(());
    }
    let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    Ok(rustix::fs::fallocate(file, flags, from, to - from)?)
}

/// How many columns a terminal has; nothing if it is none, or does not say.
pub fn columns(terminal: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Ends the wait of whoever accepts on a socket, now and later. Needs no descriptor, as a connection would.
pub fn stop_listening(socket: impl AsFd) -> io::Result<()> {
    Ok(rustix::net::shutdown(socket, rustix::net::Shutdown::Both)?)
}

/// Two ends of a channel of whole messages; neither is inherited by programs.
pub fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message, with descriptors.
pub fn send_message(to: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors in one message"));
    }
    let send =
        || rustix::net::sendmsg(&to, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).map(|_| ());
    Ok(rustix::io::retry_on_intr(send)?)
}

/// Receives one message into `buffer`: its length (0: the other end is gone) and its descriptors.
pub fn receive_message(from: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let mut parts = [IoSliceMut::new(buffer)];
        rustix::net::recvmsg(&from, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
    });
    let length = match received {
        Ok(message) => message.bytes,
        Err(rustix::io::Errno::CONNRESET) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((length, fds))
}

/// A pipe (read end, write end) with room for `size` bytes if the system lets us; not inherited by programs.
pub fn pipe(size: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    // Over the user's limit of pipe memory the size stays as it is: slower, not wrong.
    let _ = rustix::pipe::fcntl_setpipe_size(&write, size);
    Ok((read, write))
}

/// Reads and writes of this descriptor never wait.
pub fn never_wait(fd: impl AsFd) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(fd, true)?)
}

/// Reads what is there; `None` where there is nothing now; 0 bytes at the end.
pub fn read_now(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut *buffer)) {
        Ok(length) => Ok(Some(length)),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes what there is room for; `None` where there is none now.
pub fn write_now(fd: impl AsFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    match rustix::io::retry_on_intr(|| rustix::io::write(&fd, bytes)) {
        Ok(length) => Ok(Some(length)),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A bell that another thread rings: readable once it was.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A bell that has not been rung.
    pub fn new() -> io::Result<Self> {
        Ok(Bell(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Wakes who polls.
    pub fn ring(&self) {
        // Fails only when the counter is full, and then it is readable anyway.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Takes all rings so far.
    pub fn silence(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a descriptor is polled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Something to read, or the end.
    Read,
    /// Room to write, or nobody reads any more.
    Write,
}

/// Waits until one of the descriptors is ready or the time is over; says which are.
pub fn poll<const N: usize>(
    wishes: [Option<(BorrowedFd<'_>, Wish)>; N],
    limit: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut fds: Vec<PollFd<'_>> = wishes
        .iter()
        .flatten()
        .map(|(fd, wish)| {
            PollFd::from_borrowed_fd(
                *fd,
                match wish {
                    Wish::Read => PollFlags::IN,
                    Wish::Write => PollFlags::OUT,
                },
            )
        })
        .collect();
    let limit = limit.map(|limit| Timespec {
        tv_sec: limit.as_secs().min(86_400) as i64,
        tv_nsec: i64::from(limit.subsec_nanos()),
    });
    match rustix::event::poll(&mut fds, limit.as_ref()) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok([false; N]),
        Err(error) => return Err(error.into()),
    }
    let mut polled = fds.iter();
    Ok(wishes.map(|wish| wish.is_some() && polled.next().is_some_and(|fd| !fd.revents().is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_line_of_the_process_table_is_read_whatever_the_name_holds() {
        let process = parse_stat(7, b"7 (a) b) c) S 3 7 5 0 -1 4194304");
        assert_eq!(process, Some(Process { pid: 7, parent: 3, session: 5, zombie: false }));
        assert_eq!(parse_stat(7, b"7 (x"), None);
        assert!(processes().iter().any(|process| process.pid == own_pid()));
    }

    #[test]
    fn processor_time_is_read_past_any_name() {
        let text = b"7 (x) (y) S 3 7 5 0 -1 4194560 100 200 0 0 11 2 30 4 20 0 1";
        assert_eq!(parse_times(text), Some(470_000));
        assert_eq!(parse_times(b"7 (x) S 3"), None);
        assert!(spent(own_pid()).is_some_and(|spent| spent.peak > 0));
        assert!(!host_name().is_empty());
    }

    #[test]
    fn descendants_come_after_their_parents_and_a_loop_ends() {
        let line = |pid, parent| Process { pid, parent, session: 1, zombie: false };
        let table = [line(1, 3), line(2, 1), line(3, 2), line(9, 8)];
        let found: Vec<u32> = descendants(&table, &[1]).iter().map(|process| process.pid).collect();
        assert_eq!(found, [2, 3]);
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "`wait` is what is tested")]
    fn the_end_of_a_child_is_told_with_its_usage() {
        let child = Command::new("/bin/sh").args(["-c", "exit 3"]).spawn().unwrap();
        let exit = wait(child.id()).unwrap();
        assert_eq!((exit.code, exit.signal), (Some(3), None));
        assert!(exit.peak_kib > 0);
        let (all, own) = (memory_of(own_pid()).unwrap(), own_memory_of(own_pid()).unwrap());
        assert!(own > 100_000 && own <= all + all / 4, "{own} of {all}");
        assert_eq!(wait(child.id()), None);
        let child = Command::new("/bin/sh").args(["-c", "kill -SEGV $$"]).spawn().unwrap();
        let exit = wait(child.id()).unwrap();
        assert_eq!(exit.signal.map(signal_name).as_deref(), Some("SIGSEGV"));
    }

    #[test]
    fn descriptors_travel_with_a_message() {
        let (one, other) = message_pair().unwrap();
        let (read, write) = pipe(1 << 16).unwrap();
        send_message(&one, b"hello", &[write.as_fd()]).unwrap();
        drop(write);
        let mut buffer = [0; 16];
        let (length, fds) = receive_message(&other, &mut buffer).unwrap();
        assert_eq!((&buffer[..length], fds.len()), (&b"hello"[..], 1));
        assert_eq!(write_now(&fds[0], b"x").unwrap(), Some(1));
        drop(fds);
        assert_eq!(read_now(&read, &mut buffer).unwrap(), Some(1));
        assert_eq!(read_now(&read, &mut buffer).unwrap(), Some(0));
        drop(one);
        assert_eq!(receive_message(&other, &mut buffer).unwrap().0, 0);
    }

    #[test]
    fn a_bell_is_heard_once() {
        let bell = Bell::new().unwrap();
        let ready =
            |bell: &Bell| poll([Some((bell.as_fd(), Wish::Read)), None], Some(Duration::ZERO)).unwrap();
        assert_eq!(ready(&bell), [false, false]);
        bell.ring();
        bell.ring();
        assert_eq!(ready(&bell), [true, false]);
        bell.silence();
        assert_eq!(ready(&bell), [false, false]);
    }
}

//! A machine made of files, and an agent that runs on it: nothing of the real machine is read for its decisions.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// No step of a test takes nearly as long; a test that waits longer hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// The machine.
pub(crate) struct Machine(TempDir);

impl Machine {
    /// With 8124016 kB of memory, of which `available_kib` are available, as a public post shows it.
    pub(crate) fn new(available_kib: u64) -> Self {
        let machine = Self(TempDir::new().expect("a directory"));
        machine.write(
            "proc/meminfo",
            &format!(
                "MemTotal: 8124016 kB\nMemFree: 346844 kB\nMemAvailable: {available_kib} kB\nBuffers: 999768 kB\n\
                 Cached: 1690344 kB\nActive(file): 900000 kB\nInactive(file): 1000000 kB\nAnonPages: 4000000 kB\n\
                 Slab: 300000 kB\nSReclaimable: 200000 kB\nSUnreclaim: 100000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
            ),
        );
        machine.write("proc/vmstat", "oom_kill 0\nworkingset_refault_file 0\n");
        machine.write("proc/stat", "btime 1700000000\n");
        machine
    }

    /// Writes one of its files.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it has a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    /// Reads one of its files.
    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.0.path().join(path)).expect("a file")
    }

    /// Where one of its files is.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// A process in it, as far as its name is concerned.
    pub(crate) fn process(&self, pid: u32, comm: &str) {
        self.write(&format!("proc/{pid}/comm"), &format!("{comm}\n"));
    }

    /// `forestall agent` on it, without HTTP unless `flags` say otherwise.
    pub(crate) fn command(&self, flags: &[&str]) -> Command {
        let mut command = forestall(&["agent", "--root"]);
        command.arg(self.0.path()).args(flags);
        command
    }
}

/// The built binary, in a known environment.
pub(crate) fn forestall(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forestall"));
    command
        .args(args)
        .env_clear()
        .env("NODE_NAME", "node-1")
        .stdin(Stdio::null());
    command
}

/// A running agent.
pub(crate) struct Agent {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Agent {
    /// Starts it.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary was built");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, lines }
    }

    /// The next line of its log.
    pub(crate) fn line(&mut self) -> Option<Value> {
        if self.lines.buffer().is_empty() {
            let log = PollFd::new(self.lines.get_ref(), PollFlags::IN);
            let patience = Timespec::try_from(PATIENCE).expect("a minute");
            let heard = poll(&mut [log], Some(&patience)).expect("a pipe");
            assert!(heard > 0, "the agent has said nothing for {PATIENCE:?}");
        }
        let mut line = String::new();
        let count = self.lines.read_line(&mut line).expect("the log is text");
        (count > 0).then(|| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// The next line of this kind, past others.
    pub(crate) fn wait_for(&mut self, event: &str) -> Value {
        loop {
            let line = self
                .line()
                .unwrap_or_else(|| panic!("the agent ended before it said {event}"));
            if line["event"] == event {
                return line;
            }
        }
    }

    /// Where it answers HTTP.
    pub(crate) fn address(&mut self) -> SocketAddr {
        let line = self.wait_for("listen");
        let message = line["message"].as_str().expect("a message");
        message
            .strip_prefix("listening on http://")
            .expect("it listens")
            .parse()
            .expect("an address")
    }

    /// Sends it a signal.
    #[expect(
        clippy::disallowed_methods,
        reason = "the child is not yet waited for, so its PID is its own"
    )]
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a PID")).expect("a PID");
        kill_process(pid, signal).expect("it runs");
    }

    /// Its PID.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    /// Ends it as an init does; answers what it still said and how it ended.
    pub(crate) fn stop(mut self) -> (Vec<Value>, ExitStatus) {
        self.signal(Signal::TERM);
        let mut rest = Vec::new();
        while let Some(line) = self.line() {
            rest.push(line);
        }
        (rest, self.child.wait().expect("it ends"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Only where a test failed halfway; after `stop` it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One HTTP request, as a probe or a scraper makes it.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// The value of the series that starts with `name`.
pub(crate) fn series(page: &str, name: &str) -> f64 {
    let line = page
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_else(|| panic!("{name} is missing in {page}"));
    line.rsplit(' ')
        .next()
        .expect("a value")
        .parse()
        .expect("a number")
}

/// The metrics, once they tell of a look: the agent is ready, and says so, before its first one.
pub(crate) fn metrics_of_a_look(address: SocketAddr) -> String {
    let mut page = String::new();
    until(|| {
        page = get(address, "/metrics");
        page.contains("\nforestall_node_memory_bytes{")
    });
    page
}

/// What the agent cannot do, once it has looked: before that its readiness is all that it tells.
pub(crate) fn readiness_after_a_look(address: SocketAddr) -> String {
    let mut page = String::new();
    until(|| {
        page = get(address, "/readyz");
        page.contains("\nready\n")
    });
    page
}

/// Asks again until `fact` holds.
pub(crate) fn until(mut fact: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !fact() {
        assert!(start.elapsed() < PATIENCE, "it did not come true in time");
        std::thread::yield_now();
    }
}

/// Whether `path` has this content.
pub(crate) fn holds(path: &Path, content: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|found| found == content)
}

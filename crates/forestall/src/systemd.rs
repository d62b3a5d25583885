//! sd_notify(3): tells systemd that the agent is ready, alive, and about to stop. One datagram each; without systemd, or
//! when its socket is full, nothing happens and nothing waits.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// No more often than this the service manager is told: more would be a load of its own, and the guard itself looks as seldom as
/// every ten seconds.
const ALIVE_EVERY_MIN: Duration = Duration::from_millis(100);

/// Tells the service manager how it goes.
#[derive(Debug)]
pub(crate) struct Notifier {
    socket: UnixDatagram,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// From the environment that systemd sets up; `None` where it did not start us or wants to hear nothing.
    pub(crate) fn from_environment() -> Option<Self> {
        let path = std::env::var_os("NOTIFY_SOCKET")?;
        let watchdog = watchdog_of(
            std::env::var("WATCHDOG_USEC").ok().as_deref(),
            std::env::var("WATCHDOG_PID").ok().as_deref(),
            std::process::id(),
        );
        Self::connect(&path, watchdog)
    }

    fn connect(path: &OsStr, watchdog: Option<Duration>) -> Option<Self> {
        let address = match path.as_bytes() {
            // An `@` stands for the zero byte that an abstract socket's name starts with.
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok()?,
            [b'/', ..] => SocketAddr::from_pathname(path).ok()?,
            // vsock and whatever comes next: not on this machine.
            _ => return None,
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        socket.connect_addr(&address).ok()?;
        Some(Self { socket, watchdog })
    }

    /// How often [`Notifier::alive`] is expected, with room for one to get lost, and no more often than is sensible.
    pub(crate) fn alive_every(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| (watchdog / 3).max(ALIVE_EVERY_MIN))
    }

    /// What is wrong with the period that was asked for.
    pub(crate) fn say_watchdog(&self) -> Option<String> {
        let asked = self.watchdog.filter(|watchdog| *watchdog < ALIVE_EVERY_MIN)?;
        Some(format!(
            "the watchdog asks for a sign of life every {} us (WATCHDOG_USEC) and gets one every {} ms; set WatchdogSec=60",
            asked.as_micros(),
            ALIVE_EVERY_MIN.as_millis()
        ))
    }

    /// The guard has begun to look.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The guard looks when it said it would.
    pub(crate) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// The end was asked for.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        // A manager that does not listen is not waited for: it asks again by its own timeout.
        let _ = self.socket.send(state.as_bytes());
    }
}

/// The watchdog's period, if it is meant for this process.
fn watchdog_of(micros: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let micros: u64 = micros?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let count = socket.recv(&mut buffer).expect("a datagram is there");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    #[test]
    fn both_kinds_of_sockets_hear() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).expect("it binds");
        let notifier = Notifier::connect(path.as_os_str(), None).expect("it connects");
        notifier.ready();
        notifier.stopping();
        assert_eq!(heard(&by_path), "READY=1");
        assert_eq!(heard(&by_path), "STOPPING=1");

        let name = format!("forestall-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let abstract_one = UnixDatagram::bind_addr(&address).expect("it binds");
        let notifier = Notifier::connect(OsStr::new(&format!("@{name}")), None).expect("it connects");
        notifier.alive();
        assert_eq!(heard(&abstract_one), "WATCHDOG=1");
    }

    #[test]
    fn a_manager_that_does_not_read_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).expect("it binds");
        let notifier = Notifier::connect(path.as_os_str(), None).expect("it connects");
        for _ in 0..10_000 {
            notifier.alive();
        }
    }

    #[test]
    fn what_is_no_socket_here_is_left_alone() {
        for path in ["", "vsock:2:1234", "relative", "/nonexistent/notify"] {
            assert!(Notifier::connect(OsStr::new(path), None).is_none(), "{path}");
        }
    }

    #[test]
    fn a_watchdog_of_a_microsecond_floods_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let _bound = UnixDatagram::bind(&path).expect("it binds");
        let every = |micros| {
            let watchdog = Some(Duration::from_micros(micros));
            let notifier = Notifier::connect(path.as_os_str(), watchdog).expect("it connects");
            (notifier.alive_every(), notifier.say_watchdog())
        };
        let (shortest, said) = every(1);
        assert_eq!(shortest, Some(Duration::from_millis(100)));
        assert!(said.is_some_and(|said| said.contains("every 1 us (WATCHDOG_USEC)")));
        assert_eq!(every(60_000_000), (Some(Duration::from_secs(20)), None));
        // What is kept to in time is no reason to warn.
        assert_eq!(every(200_000), (Some(Duration::from_millis(100)), None));
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        let secs = |secs| Some(Duration::from_secs(secs));
        assert_eq!(watchdog_of(Some("30000000"), None, 7), secs(30));
        assert_eq!(watchdog_of(Some("30000000"), Some("7"), 7), secs(30));
        assert_eq!(watchdog_of(Some("30000000"), Some("8"), 7), None);
        assert_eq!(watchdog_of(Some("0"), None, 7), None);
        assert_eq!(watchdog_of(Some("soon"), None, 7), None);
        assert_eq!(watchdog_of(None, None, 7), None);
    }
}

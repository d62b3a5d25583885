//! What the talk thread wants of the guard.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};

use forestall_decide::kubelet::KubeletConfig;
use forestall_decide::{Pods, Policy};

use super::event::Bell;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Go on under this policy.
    Policy(Policy),
    /// The kubelet runs with this.
    Kubelet(Arc<KubeletConfig>),
    /// Kubernetes knows of these pods.
    Pods(Arc<Pods>),
    /// Look at everything now: somebody wants to see it.
    Look,
    /// Come to a clean end.
    Stop,
}

/// The sending end.
#[derive(Clone, Debug)]
pub(crate) struct Commander {
    sender: SyncSender<Command>,
    look: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    bell: Arc<Bell>,
}

impl Commander {
    /// Hands over a new policy; false when the guard has not yet taken the ones before it.
    pub(crate) fn policy(&self, policy: Policy) -> bool {
        self.send(Command::Policy(policy))
    }

    /// Hands over what the kubelet runs with; false as above.
    pub(crate) fn kubelet(&self, config: Arc<KubeletConfig>) -> bool {
        self.send(Command::Kubelet(config))
    }

    /// Hands over what Kubernetes knows of this node's pods; false as above.
    pub(crate) fn pods(&self, pods: Arc<Pods>) -> bool {
        self.send(Command::Pods(pods))
    }

    fn send(&self, command: Command) -> bool {
        let sent = self.sender.try_send(command).is_ok();
        self.bell.ring();
        sent
    }

    /// Asks for a look at everything. Asked for again before it was taken, it is the same.
    pub(crate) fn look(&self) {
        self.look.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Asks for the end; cannot get lost.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// The guard's end.
#[derive(Debug)]
pub(crate) struct Commands {
    receiver: Receiver<Command>,
    look: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    bell: Arc<Bell>,
}

impl Commands {
    /// Readable when there is a command; for the guard's poll(2).
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.bell.fd()
    }

    /// The next command. Never blocks; `Stop` is answered from then on.
    pub(crate) fn take(&self) -> Option<Command> {
        self.bell.hush();
        if self.stop.load(Ordering::Acquire) {
            return Some(Command::Stop);
        }
        if self.look.swap(false, Ordering::AcqRel) {
            return Some(Command::Look);
        }
        self.receiver.try_recv().ok()
    }
}

/// Makes both ends.
pub(super) fn open() -> io::Result<(Commander, Commands)> {
    let (sender, receiver) = mpsc::sync_channel(4);
    let look = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let bell = Arc::new(Bell::new()?);
    let commander = Commander {
        sender,
        look: Arc::clone(&look),
        stop: Arc::clone(&stop),
        bell: Arc::clone(&bell),
    };
    let commands = Commands {
        receiver,
        look,
        stop,
        bell,
    };
    Ok((commander, commands))
}

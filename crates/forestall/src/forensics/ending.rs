//! Why a container ended: one answer from whatever evidence there is, each piece of which may be missing.
//!
//! A function and nothing else: it reads nothing and asks nobody. It never takes a code or a reason for an out-of-memory kill by itself:
//! 137 is what every SIGKILL reads as, `OOMKilled` is what a runtime says when anything in the container was killed for memory, and
//! either may stand where the other belongs. What does not follow from the evidence is unknown.
//!
//! The classes and their evidence: `docs/reference/endings.md`.

mod runtime;

use forestall_kernel::oom::Level;

pub(crate) use self::runtime::Runtime;
use super::evidence::Confidence;

/// What is known of an end. `None`, empty and false are "nobody says", unless a field says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known<'a> {
    /// The code as a runtime tells it: 128 and the number for a signal.
    pub(crate) exit_code: Option<i32>,
    /// Whether what ended with that code was PID 1 of its PID namespace, as a container's own process is.
    pub(crate) is_first: Option<bool>,
    /// The container did not end.
    pub(crate) lives: bool,
    /// What the runtime or Kubernetes calls it: `OOMKilled`, `Error`, `Completed`.
    pub(crate) reason: &'a str,
    /// What Kubernetes calls the pod's end: its reason, or that of its condition `DisruptionTarget`.
    pub(crate) pod_reason: &'a str,
    /// For what the kubelet was to end it.
    pub(crate) wish: Option<Wish>,
    /// The kernel killed somebody in the container for memory.
    pub(crate) kernel: Option<KernelKill>,
    /// Who sent SIGKILL, as the kernel's own event tells it.
    pub(crate) sender: Option<Sender<'a>>,
    /// A memory killer in user space says in the log that it ended it.
    pub(crate) is_told_by_killer: bool,
    /// It runs in a virtual machine or a kernel of its own (Kata, gVisor), whose kills the node's kernel does not see.
    pub(crate) is_sandboxed: bool,
    /// What it wrote last: the end of its log, or its termination message.
    pub(crate) last_words: &'a str,
}

/// For what a kubelet ends a container of a pod that it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A liveness or startup probe failed.
    FailedProbe,
    /// Somebody deleted the pod, or scaled it down.
    Deletion,
}

/// A kill of the kernel's in the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelKill {
    /// Whose limit it was.
    pub(crate) level: Level,
    /// Whether the container's first process was among those who were killed.
    pub(crate) is_of_first: Option<bool>,
    /// Whether the pod's limit is no higher than the container's: a pod of one container is charged at the pod.
    pub(crate) is_pod_limit_containers: Option<bool>,
    /// Somebody asked the kernel for it.
    pub(crate) is_sysrq: bool,
}

/// Who sent SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender<'a> {
    pub(crate) comm: &'a str,
    /// It is in the same container.
    pub(crate) is_inside: Option<bool>,
    /// It sent the signal to what the container ends with: its first process.
    pub(crate) is_to_first: Option<bool>,
    /// It is one of the node's own programs, so that its name is true: anybody may bear any name.
    pub(crate) is_on_node: Option<bool>,
}

/// What ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Its own memory limit.
    ContainerLimit,
    /// The limit of its pod.
    PodLimit,
    /// What the node gives to pods, or to those of its class.
    Kubepods,
    /// The machine's memory.
    Node,
    /// The memory of some NUMA nodes.
    Numa,
    /// A limit of a cgroup that is none of Kubernetes'.
    OtherLimit,
    /// The kernel for want of memory, and nobody says at which limit.
    SomeLimit,
    /// A child was killed for memory, and the container itself was not ended by it.
    ChildOnly,
    /// A program that kills before the kernel has to.
    UserspaceKiller,
    /// The kubelet's eviction.
    Evicted,
    /// A pod of higher priority.
    Preempted,
    /// A probe that failed.
    Liveness,
    /// Somebody who deleted the pod or stopped the container.
    Stopped,
    /// Somebody's signal from outside.
    Manual,
    /// Its own signal.
    SelfKill,
    /// Its language's runtime, which gave up for want of memory.
    OwnMemory(Runtime),
    /// It came to its end without an error.
    Completed,
    /// The evidence does not say.
    Unknown,
}

impl Class {
    /// A short fixed word, for programs.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::ContainerLimit => "container-limit",
            Self::PodLimit => "pod-limit",
            Self::Kubepods => "kubepods-limit",
            Self::Node => "node-memory",
            Self::Numa => "numa-memory",
            Self::OtherLimit => "other-limit",
            Self::SomeLimit => "some-limit",
            Self::ChildOnly => "child-only",
            Self::UserspaceKiller => "userspace-killer",
            Self::Evicted => "evicted",
            Self::Preempted => "preempted",
            Self::Liveness => "liveness",
            Self::Stopped => "stopped",
            Self::Manual => "manual-kill",
            Self::SelfKill => "self-kill",
            Self::OwnMemory(_) => "own-out-of-memory",
            Self::Completed => "completed",
            Self::Unknown => "unknown",
        }
    }
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) class: Class,
    pub(crate) confidence: Confidence,
    /// What it rests on, or what would tell.
    pub(crate) because: &'static str,
}

const fn ending(class: Class, confidence: Confidence, because: &'static str) -> Ending {
    Ending {
        class,
        confidence,
        because,
    }
}

/// SIGKILL, SIGTERM.
const KILLED: i32 = 137;
const TERMINATED: i32 = 143;

/// Programs that kill before the kernel has to; `machined` is Talos'.
const KILLERS: [&str; 7] = [
    "systemd-oomd",
    "earlyoom",
    "nohang",
    "oomd",
    "bustd",
    "machined",
    "forestall",
];

/// Those through whom a kubelet ends containers.
const RUNTIMES: [&str; 9] = [
    "kubelet",
    "containerd",
    "containerd-shim",
    "runc",
    "crun",
    "crio",
    "conmon",
    "dockerd",
    "cri-dockerd",
];

/// Says why a container ended.
pub(crate) fn classify(known: &Known<'_>) -> Ending {
    by_kernel(known)
        .or_else(|| by_killer(known))
        .or_else(|| by_kubernetes(known))
        .or_else(|| by_own_words(known))
        .or_else(|| by_sender(known))
        .or_else(|| by_reason(known))
        .unwrap_or_else(|| by_code(known))
}

/// What the kernel says goes before what anybody makes of it.
fn by_kernel(known: &Known<'_>) -> Option<Ending> {
    let kill = known.kernel?;
    let ended_otherwise = known.lives || known.exit_code.is_some_and(|code| code != KILLED);
    if kill.is_of_first == Some(false) || (ended_otherwise && kill.is_of_first != Some(true)) {
        let confidence = match kill.is_of_first {
            Some(_) => Confidence::High,
            None => Confidence::Medium,
        };
        return Some(ending(
            Class::ChildOnly,
            confidence,
            "the kernel killed a process of it for memory, and not the first one, with which the container ends",
        ));
    }
    if kill.is_sysrq {
        return Some(ending(
            Class::Manual,
            Confidence::High,
            "somebody asked the kernel to kill, by SysRq",
        ));
    }
    let confidence = match (kill.is_of_first, known.exit_code) {
        (Some(true), _) => Confidence::High,
        (_, Some(_)) => Confidence::Medium,
        (_, None) => Confidence::Low,
    };
    let class = match kill.level {
        Level::Container => Class::ContainerLimit,
        Level::Pod if kill.is_pod_limit_containers == Some(true) => Class::ContainerLimit,
        Level::Pod => Class::PodLimit,
        Level::Qos | Level::Kubepods => Class::Kubepods,
        Level::Node => Class::Node,
        Level::Numa | Level::Cpuset => Class::Numa,
        Level::OtherCgroup => Class::OtherLimit,
        Level::SomeCgroup | Level::Unknown => Class::SomeLimit,
    };
    Some(ending(class, confidence, "the kernel's own record of the kill"))
}

/// Who sent SIGKILL, where it may be what ended the container: what lives on, or ended with another code, did not end by it, and neither did
/// what lost a child.
fn sender_of<'a>(known: &Known<'a>) -> Option<Sender<'a>> {
    let may_be = !known.lives && known.exit_code.is_none_or(|code| code == KILLED);
    known
        .sender
        .filter(|sender| may_be && sender.is_to_first != Some(false))
}

/// How surely a signal ended the container: as surely as it is known to have been sent to its first process.
fn sure(known: &Known<'_>, sender: Sender<'_>, confidence: Confidence) -> Confidence {
    let most = match (sender.is_to_first, known.exit_code) {
        (Some(_), _) => Confidence::High,
        (None, Some(_)) => Confidence::Medium,
        (None, None) => Confidence::Low,
    };
    confidence.min(most)
}

fn by_killer(known: &Known<'_>) -> Option<Ending> {
    let may_be = !known.lives && matches!(known.exit_code, None | Some(KILLED | TERMINATED));
    if known.is_told_by_killer && may_be {
        return Some(ending(
            Class::UserspaceKiller,
            Confidence::Medium,
            "a memory killer's own line in the log, which anybody may have written there",
        ));
    }
    let is_possible =
        |sender: &Sender<'_>| sender.is_inside != Some(true) && sender.is_on_node != Some(false);
    let sender = sender_of(known).filter(is_possible)?;
    let is_certain = sender.is_on_node == Some(true);
    if KILLERS.contains(&sender.comm) {
        return Some(if is_certain {
            let confidence = sure(known, sender, Confidence::High);
            ending(
                Class::UserspaceKiller,
                confidence,
                "a memory killer sent the signal",
            )
        } else {
            ending(
                Class::UserspaceKiller,
                Confidence::Low,
                "somebody sent the signal who is called as a memory killer is; nobody could read whether he was one",
            )
        });
    }
    // It ends a whole scope when the kernel killed one process of it, and its service manager is called the same.
    (sender.comm == "systemd" && is_certain).then(|| {
        ending(
            Class::UserspaceKiller,
            sure(known, sender, Confidence::Medium),
            "systemd sent the signal: it stops a whole scope after one kill in it, or at somebody's word",
        )
    })
}

fn by_kubernetes(known: &Known<'_>) -> Option<Ending> {
    match known.pod_reason {
        "Evicted" | "TerminationByKubelet" => Some(ending(
            Class::Evicted,
            Confidence::High,
            "the kubelet evicted the pod; the container's own code says nothing then",
        )),
        "EvictionByEvictionAPI" => Some(ending(
            Class::Stopped,
            Confidence::High,
            "somebody evicted the pod by the API",
        )),
        "Preempting" | "Preempted" | "PreemptionByScheduler" => Some(ending(
            Class::Preempted,
            Confidence::High,
            "a pod of higher priority took its place",
        )),
        _ if known.wish == Some(Wish::FailedProbe) => Some(ending(
            Class::Liveness,
            Confidence::High,
            "a probe failed and the kubelet ended it: 143, or 137 where it did not go in time",
        )),
        _ => None,
    }
}

/// A runtime that gave up says so, and ends with a code of its own.
fn by_own_words(known: &Known<'_>) -> Option<Ending> {
    let runtime = Runtime::of_words(known.last_words)?;
    if known.lives {
        return Some(ending(
            Class::OwnMemory(runtime),
            Confidence::Medium,
            "its last words tell of it, and it lives on: a thread of it may be gone",
        ));
    }
    let code = known.exit_code?;
    Some(match (runtime.may_end_with(code, known.is_first), code) {
        (true, _) => ending(
            Class::OwnMemory(runtime),
            Confidence::High,
            "its last words tell of it, and its code is the one that follows",
        ),
        (false, KILLED) if runtime == Runtime::Jvm => ending(
            Class::OwnMemory(runtime),
            Confidence::Medium,
            "its last words tell of it; -XX:OnOutOfMemoryError=\"kill -9 %p\" reads as 137, and so does every other SIGKILL",
        ),
        (false, KILLED) => return None,
        (false, _) => ending(
            Class::OwnMemory(runtime),
            Confidence::Medium,
            "its last words tell of it; its code is not the one that follows as a rule",
        ),
    })
}

fn by_sender(known: &Known<'_>) -> Option<Ending> {
    let sender = sender_of(known)?;
    let sure = |confidence| sure(known, sender, confidence);
    if sender.is_inside == Some(true) {
        return Some(ending(
            Class::SelfKill,
            sure(Confidence::High),
            "a process of the same container sent the signal",
        ));
    }
    // Names of tasks are cut to fifteen letters: containerd-shim-runc-v2 is containerd-shim.
    let is_called = RUNTIMES.iter().any(|name| sender.comm.starts_with(name));
    if is_called && sender.is_on_node == Some(true) {
        return Some(ending(
            Class::Stopped,
            sure(Confidence::Medium),
            "its runtime sent the signal: it was stopped, and did not go in time",
        ));
    }
    Some(match sender.is_inside {
        Some(_) => ending(
            Class::Manual,
            sure(Confidence::High),
            "somebody sent the signal who is neither the kernel nor the node's agents",
        ),
        None => ending(
            Class::Unknown,
            Confidence::Low,
            "somebody sent the signal who was gone before anybody could read whether he was in the same container",
        ),
    })
}

fn by_reason(known: &Known<'_>) -> Option<Ending> {
    if known.wish == Some(Wish::Deletion) && matches!(known.exit_code, Some(KILLED | TERMINATED | 0)) {
        return Some(ending(Class::Stopped, Confidence::High, "the pod was deleted"));
    }
    if known.reason != "OOMKilled" {
        return None;
    }
    Some(match known.exit_code {
        Some(KILLED) | None => ending(
            Class::SomeLimit,
            Confidence::Medium,
            "its runtime saw a kill for memory in it; which limit, and whom it hit, only the kernel's log tells",
        ),
        Some(_) => ending(
            Class::ChildOnly,
            Confidence::Medium,
            "its runtime saw a kill for memory in it, but its own code is no SIGKILL's",
        ),
    })
}

/// A code alone says how it ended, and hardly ever why.
fn by_code(known: &Known<'_>) -> Ending {
    let unknown = |because| ending(Class::Unknown, Confidence::Low, because);
    if known.lives {
        return unknown("it lives, and nobody in it is known to have been killed");
    }
    let is_to_child = known
        .sender
        .is_some_and(|sender| sender.is_to_first == Some(false));
    if is_to_child && known.exit_code.is_none_or(|code| code == KILLED) {
        return unknown(
            "the signal was sent to a process of it that is not PID 1 of its PID namespace, with which alone it ends",
        );
    }
    match (known.exit_code, known.is_first) {
        (None, _) => unknown("there is no evidence"),
        (Some(KILLED), _) if known.is_sandboxed => unknown(
            "a SIGKILL in a sandbox: a kill for memory in it stands in its own kernel's log, not in the node's",
        ),
        (Some(KILLED), _) => unknown(
            "137 is any SIGKILL: the kernel for want of memory, a grace period that ran out, an eviction, a probe, or somebody's kill -9; \
             the kernel's log of that time tells the first from the others",
        ),
        (Some(TERMINATED), _) => ending(
            Class::Stopped,
            Confidence::Low,
            "143 is SIGTERM: somebody asked it to end",
        ),
        (Some(0), _) => ending(Class::Completed, Confidence::Medium, "it ended without an error"),
        (Some(134), _) => unknown(
            "134 is abort(): Node, C++, Rust and .NET end so for want of memory, and for other reasons",
        ),
        (Some(139), Some(true) | None) => unknown(
            "139 is a segmentation fault, or abort() as PID 1, for whom SIGABRT is ignored: Node, C++, Rust and .NET end so for want of memory",
        ),
        (Some(139), Some(false)) => unknown("139 is a segmentation fault"),
        (Some(127), Some(true) | None) => unknown(
            "127 is a command that was not found, or a JVM with -XX:+CrashOnOutOfMemoryError as PID 1",
        ),
        (Some(3), _) => unknown(
            "3 is what a JVM with -XX:+ExitOnOutOfMemoryError ends with, and many others for reasons of their own",
        ),
        (Some(_), _) => unknown("its own code, whose meaning it alone knows: see its last words"),
    }
}

#[cfg(test)]
mod tests;

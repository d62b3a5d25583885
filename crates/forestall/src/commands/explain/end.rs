//! What else is known of an end, as typed, and what it comes to beside the kernel's report.

use clap::{Args, ValueEnum};
use forestall_kernel::kmsg::Behind;
use forestall_kernel::oom::{Level, Report};
use serde_json::{Map, Value};

use super::sent::Sent;
use crate::commands::foretold::object;
use crate::forensics::ending::{Class, Ending, KernelKill, Known, Sender, Wish, classify};
use crate::forensics::evidence::Confidence;
use crate::log::escape;

/// Arguments about an end.
#[derive(Args, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "What else is known of the end")]
pub(super) struct EndArgs {
    /// The exit code, as a runtime or Kubernetes tells it (128 and the number for a signal)
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(i32).range(0..=255))]
    exit_code: Option<i32>,
    /// Whether what ended was PID 1 of its container
    #[arg(long, value_name = "BOOL")]
    first: Option<bool>,
    /// The container did not end
    #[arg(long)]
    lives: bool,
    /// What the runtime calls it, such as OOMKilled
    #[arg(long, value_name = "WORD")]
    reason: Option<String>,
    /// What Kubernetes calls the pod's end, such as Evicted or TerminationByKubelet
    #[arg(long, value_name = "WORD")]
    pod_reason: Option<String>,
    /// For what the kubelet was to end it
    #[arg(long, value_enum, value_name = "WHAT")]
    ended_for: Option<EndedFor>,
    /// It runs in a kernel of its own (Kata, gVisor)
    #[arg(long)]
    sandboxed: bool,
    /// Who sent SIGKILL, by the name of the process
    #[arg(long, value_name = "NAME")]
    sender: Option<String>,
    /// Whoever sent SIGKILL is in the same container
    #[arg(long, requires = "sender")]
    sender_inside: bool,
    /// The last lines of its log, or its termination message
    #[arg(long, value_name = "TEXT")]
    last_words: Option<String>,
}

/// For what a kubelet ends a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EndedFor {
    /// A liveness or startup probe failed
    FailedProbe,
    /// Somebody deleted the pod
    Deletion,
}

impl EndArgs {
    /// Nothing is known but what a log tells.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What it comes to.
    pub(super) fn ending(
        &self,
        report: Option<&Report>,
        sent: Option<&Sent>,
        is_told_by_killer: bool,
    ) -> Ending {
        let traced = sent.map(|sent| escape::bytes(&sent.signal.sender.comm));
        // What is typed goes before what was traced; whoever was gone has no name to be called by.
        let traced = traced.as_deref().filter(|comm| !comm.is_empty()).zip(sent);
        let traced = traced.map(|(comm, sent)| Sender {
            comm,
            is_inside: sent.signal.is_inside,
            is_to_first: sent.is_of_end(),
            is_on_node: sent.signal.sender.is_on_node,
        });
        // Who is typed is said to have ended it, and to be who he is called.
        let typed = self.sender.as_deref().map(|comm| Sender {
            comm,
            is_inside: Some(self.sender_inside),
            is_to_first: Some(true),
            is_on_node: Some(!self.sender_inside),
        });
        let ending = classify(&Known {
            exit_code: self.exit_code,
            is_first: self.first,
            lives: self.lives,
            reason: self.reason.as_deref().unwrap_or_default(),
            pod_reason: self.pod_reason.as_deref().unwrap_or_default(),
            wish: self.ended_for.map(|what| match what {
                EndedFor::FailedProbe => Wish::FailedProbe,
                EndedFor::Deletion => Wish::Deletion,
            }),
            kernel: report.and_then(kill),
            sender: typed.or(traced),
            is_told_by_killer,
            is_sandboxed: self.sandboxed,
            last_words: self.last_words.as_deref().unwrap_or_default(),
        });
        // What the kernel is said to have done is as sure as that it said so.
        let is_anybodys = report.is_some_and(|report| report.behind != Behind::Nothing);
        let most = if is_anybodys {
            Confidence::Medium
        } else {
            Confidence::High
        };
        Ending {
            confidence: ending.confidence.min(most),
            ..ending
        }
    }
}

/// What a report says of the container's end; `None` where nobody was killed.
fn kill(report: &Report) -> Option<KernelKill> {
    let count = report.victims.len() as u64;
    // Where everybody of a container was killed its first process was; of others the report does not tell which was the first.
    let is_everybody =
        report.level == Level::Container && report.table.processes > 0 && report.table.processes <= count;
    (count > 0).then(|| KernelKill {
        level: report.level,
        is_of_first: (is_everybody || report.group.is_some()).then_some(true),
        is_pod_limit_containers: None,
        is_sysrq: report.is_sysrq(),
    })
}

/// The answer in one sentence.
pub(super) fn sentence(ending: &Ending) -> String {
    let what = match ending.class {
        Class::OwnMemory(runtime) => format!("{} gave up for want of memory", runtime.label()),
        Class::ContainerLimit => "the container's own memory limit".to_owned(),
        Class::PodLimit => "the pod's memory limit".to_owned(),
        Class::Kubepods => "what the node gives to pods, together".to_owned(),
        Class::Node => "the machine's memory".to_owned(),
        Class::Numa => "the memory of some NUMA nodes".to_owned(),
        Class::OtherLimit => "the limit of another cgroup".to_owned(),
        Class::SomeLimit => "a kill for memory, at a limit that is not known".to_owned(),
        Class::ChildOnly => "a child was killed for memory, not the container".to_owned(),
        Class::UserspaceKiller => "a userspace memory killer".to_owned(),
        Class::Evicted => "the kubelet's eviction".to_owned(),
        Class::Preempted => "preemption".to_owned(),
        Class::Liveness => "a failed probe".to_owned(),
        Class::Stopped => "it was stopped".to_owned(),
        Class::Manual => "somebody's kill".to_owned(),
        Class::SelfKill => "it killed itself".to_owned(),
        Class::Completed => "it completed".to_owned(),
        Class::Unknown => "unknown".to_owned(),
    };
    let confidence = ending.confidence.label();
    format!("{what} (confidence {confidence}): {}", ending.because)
}

/// For programs.
pub(super) fn value(ending: &Ending) -> Map<String, Value> {
    let runtime = match ending.class {
        Class::OwnMemory(runtime) => Some(runtime.label()),
        _ => None,
    };
    object([
        ("class", ending.class.label().into()),
        ("runtime", runtime.into()),
        ("confidence", ending.confidence.label().into()),
        ("because", ending.because.into()),
    ])
}

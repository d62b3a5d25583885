use super::*;

/// Written by hand from what runtimes, kubelets and kernels were seen to do: what it is, what is known, and what follows from that and how
/// surely. `first` is whether what ended was PID 1; `kernel` has the level of the kernel's kill, `of` whether the first process was among
/// those killed.
const CASES: &str = "
    137 alone                       | code=137                                         | unknown low
    137 of PID 1                    | code=137 first=yes                               | unknown low
    137 with Error                  | code=137 reason=Error                            | unknown low
    137 in Kata                     | code=137 sandboxed                               | unknown low
    nothing                         |                                                  | unknown low
    alive                           | lives                                            | unknown low
    134 alone                       | code=134                                         | unknown low
    139 alone                       | code=139                                         | unknown low
    127 alone                       | code=127                                         | unknown low
    3 alone                         | code=3                                           | unknown low
    1 alone                         | code=1                                           | unknown low
    0 alone                         | code=0                                           | completed medium
    143 alone                       | code=143                                         | stopped low

    a runtime's word and SIGKILL    | code=137 reason=OOMKilled                        | some-limit medium
    a runtime's word and SIGTERM    | code=143 reason=OOMKilled                        | child-only medium
    a runtime's word and success    | code=0 reason=OOMKilled                          | child-only medium

    container                       | code=137 kernel=container of=first               | container-limit high
    below a true kill stands Error  | code=137 kernel=container of=first reason=Error  | container-limit high
    pod                             | code=137 kernel=pod of=first                     | pod-limit high
    pod of one container            | code=137 kernel=pod of=first equal               | container-limit high
    all of one class                | code=137 kernel=qos of=first                     | kubepods-limit high
    all pods                        | code=137 kernel=kubepods of=first                | kubepods-limit high
    machine                         | code=137 kernel=node of=first                    | node-memory high
    memory policy                   | code=137 kernel=numa of=first                    | numa-memory high
    cpuset                          | code=137 kernel=cpuset of=first                  | numa-memory high
    a service's cgroup              | code=137 kernel=other-cgroup of=first            | other-limit high
    a path that was cut             | code=137 kernel=some-cgroup of=first             | some-limit high
    who was first is not known      | code=137 kernel=container                        | container-limit medium
    neither is the code             | kernel=container                                 | container-limit low
    nor that it was the first       | code=143 kernel=container                        | child-only medium
    a child, and PID 1 lives        | lives kernel=container of=child                  | child-only high
    a child, and its parent's error | code=1 kernel=container of=child reason=OOMKilled| child-only high
    somebody at a console           | code=137 kernel=node of=first sysrq              | manual-kill high
    kernel and kubelet at once      | code=137 kernel=node of=first pod=Evicted        | node-memory high

    systemd-oomd                    | code=137 sender=systemd-oomd                     | userspace-killer high
    earlyoom                        | code=137 sender=earlyoom                         | userspace-killer high
    Talos                           | code=137 sender=machined                         | userspace-killer high
    systemd stops a scope           | code=137 sender=systemd                          | userspace-killer medium
    a shell                         | code=137 sender=bash                             | manual-kill high
    itself                          | code=137 sender=supervisord inside               | self-kill high
    a killer's name, from inside    | code=137 sender=earlyoom inside                  | self-kill high
    its shim                        | code=137 sender=containerd-shim                  | stopped medium
    a killer's own line             | told                                             | userspace-killer medium
    the same after SIGTERM          | code=143 told                                    | userspace-killer medium
    the same, and its own code      | code=1 told                                      | unknown low
    the kernel's word beside it     | code=137 kernel=container of=first told          | container-limit high
    a name that anybody may bear    | code=137 sender=earlyoom node=no                 | manual-kill high
    the same where nobody could read| code=137 sender=earlyoom node=? from=?           | userspace-killer low
    a user's systemd                | code=137 sender=systemd node=no                  | manual-kill high
    a shim's name, in a pod         | code=137 sender=containerd-shim node=no          | manual-kill high
    a sender that was gone          | code=137 sender=bash node=? from=?               | unknown low
    the same, a shim's name         | code=137 sender=runc node=? from=?               | unknown low
    to a child of it                | sender=bash to=child                             | unknown low
    to a child of it by a killer    | code=137 sender=earlyoom to=child                | unknown low
    to a child of it by itself      | sender=supervisord inside to=child               | unknown low
    to whom nobody could read       | sender=bash to=?                                 | manual-kill low
    the same, and its code          | code=137 sender=bash to=?                        | manual-kill medium
    a child of it, and it lives     | lives sender=earlyoom                            | unknown low
    a child of it, and its own code | code=1 sender=bash                               | unknown low

    evicted, no grace               | code=137 pod=Evicted                             | evicted high
    evicted, with grace             | code=143 pod=TerminationByKubelet                | evicted high
    evicted, as its shim did it     | code=137 pod=Evicted sender=runc                 | evicted high
    drained                         | code=143 pod=EvictionByEvictionAPI               | stopped high
    preempted by the scheduler      | code=143 pod=PreemptionByScheduler               | preempted high
    preempted by a critical pod     | code=137 pod=Preempting                          | preempted high
    probe                           | code=143 wish=probe                              | liveness high
    probe, grace over               | code=137 wish=probe sender=runc                  | liveness high
    deleted, grace over             | code=137 wish=deletion                           | stopped high

    JVM, uncaught                   | code=1 first=yes words=JAVA                      | own-out-of-memory high
    JVM, a worker thread            | code=0 first=yes words=JAVA                      | own-out-of-memory high
    JVM, ExitOnOutOfMemoryError     | code=3 first=yes words=JAVA                      | own-out-of-memory high
    JVM, CrashOnOutOfMemoryError    | code=134 first=no words=JAVA                     | own-out-of-memory high
    the same as PID 1               | code=127 first=yes words=JAVA                    | own-out-of-memory high
    JVM, kill -9 %p                 | code=137 words=JAVA                              | own-out-of-memory medium
    JVM, lives on                   | lives words=JAVA                                 | own-out-of-memory medium
    a JVM that was killed           | code=137 words=JAVA kernel=container of=first    | container-limit high
    Node                            | code=134 first=no words=NODE                     | own-out-of-memory high
    Node as PID 1                   | code=139 first=yes words=NODE                    | own-out-of-memory high
    no code of Node's as PID 1      | code=134 first=yes words=NODE                    | own-out-of-memory medium
    words of want and SIGKILL       | code=137 first=yes words=NODE                    | unknown low
    C++                             | code=134 first=no words=CPP                      | own-out-of-memory high
    C++ as PID 1                    | code=139 first=yes words=CPP                     | own-out-of-memory high
    Rust as PID 1                   | code=139 first=yes words=RUST                    | own-out-of-memory high
    Go                              | code=2 first=yes words=GO                        | own-out-of-memory high
    Python                          | code=1 first=yes words=PYTHON                    | own-out-of-memory high
    .NET as PID 1                   | code=139 first=yes words=DOTNET                  | own-out-of-memory high
    an allocation of something else | code=139 first=yes words=OTHER                   | unknown low
";

const WORDS: [(&str, &str); 8] = [
    (
        "JAVA",
        "Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space",
    ),
    (
        "NODE",
        "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
    ),
    (
        "CPP",
        "terminate called after throwing an instance of 'std::bad_alloc'",
    ),
    ("RUST", "memory allocation of 1073741824 bytes failed"),
    ("GO", "fatal error: runtime: out of memory"),
    ("PYTHON", "Traceback (most recent call last):\nMemoryError"),
    (
        "DOTNET",
        "Unhandled exception. System.OutOfMemoryException: Exception of type",
    ),
    ("OTHER", "memory allocation of shards is done"),
];

/// Reads the middle column.
fn known(facts: &'static str) -> Known<'static> {
    let mut known = Known::default();
    let mut kill = KernelKill {
        level: Level::Unknown,
        is_of_first: None,
        is_pod_limit_containers: None,
        is_sysrq: false,
    };
    for fact in facts.split_whitespace() {
        let (key, value) = fact.split_once('=').unwrap_or((fact, ""));
        match key {
            "code" => known.exit_code = value.parse().ok(),
            "first" => known.is_first = Some(value == "yes"),
            "lives" => known.lives = true,
            "reason" => known.reason = value,
            "pod" => known.pod_reason = value,
            "wish" if value == "probe" => known.wish = Some(Wish::FailedProbe),
            "wish" => known.wish = Some(Wish::Deletion),
            "sandboxed" => known.is_sandboxed = true,
            "kernel" => {
                let level = Level::ALL.iter().find(|level| level.label() == value);
                kill.level = *level.expect("a level");
            }
            "of" => kill.is_of_first = Some(value == "first"),
            "equal" => kill.is_pod_limit_containers = Some(true),
            "sysrq" => kill.is_sysrq = true,
            "sender" => {
                let has = |word: &str| facts.split_whitespace().any(|fact| fact == word);
                known.sender = Some(Sender {
                    comm: value,
                    is_inside: (!has("from=?")).then_some(has("inside")),
                    is_to_first: (!has("to=?")).then_some(!has("to=child")),
                    is_on_node: (!has("node=?")).then_some(!has("node=no")),
                });
            }
            "told" => known.is_told_by_killer = true,
            "inside" | "from" | "to" | "node" => {}
            "words" => {
                let words = WORDS.iter().find(|(name, _)| *name == value);
                known.last_words = words.expect("words").1;
            }
            _ => panic!("{fact}"),
        }
    }
    known.kernel = (kill.level != Level::Unknown).then_some(kill);
    known
}

#[test]
fn every_end_is_called_what_its_evidence_says() {
    let cases = CASES.lines().filter(|line| !line.trim().is_empty());
    let mut count = 0;
    for case in cases {
        let mut columns = case.split('|').map(str::trim);
        let [Some(what), Some(facts), Some(expected)] = [columns.next(), columns.next(), columns.next()]
        else {
            panic!("{case}");
        };
        let found = classify(&known(facts));
        let said = format!("{} {}", found.class.label(), found.confidence.label());
        assert_eq!(said, expected, "{what}: {}", found.because);
        count += 1;
    }
    assert_eq!(count, 87);
}

#[test]
fn a_runtime_is_told_by_its_words() {
    let runtime = |name: &str| {
        let words = WORDS.iter().find(|(known, _)| *known == name).expect("words").1;
        Runtime::of_words(words).map(Runtime::label)
    };
    let named = ["JAVA", "NODE", "CPP", "RUST", "GO", "PYTHON", "DOTNET", "OTHER"].map(runtime);
    let expected = ["JVM", "Node", "C++", "Rust", "Go", "Python", ".NET"].map(Some);
    assert_eq!((&named[..7], named[7]), (&expected[..], None));
}

#[test]
fn no_code_and_no_reason_alone_is_surely_a_kill_for_memory() {
    for exit_code in (0..=255).map(Some).chain([None]) {
        for reason in ["", "Error", "OOMKilled", "Completed"] {
            for is_first in [None, Some(true), Some(false)] {
                let found = classify(&Known {
                    exit_code,
                    is_first,
                    reason,
                    ..Known::default()
                });
                let is_by_memory = !matches!(found.class, Class::Unknown | Class::Stopped | Class::Completed);
                let is_unsure = reason == "OOMKilled" && found.confidence < Confidence::High;
                assert!(!is_by_memory || is_unsure, "{exit_code:?} {reason}: {found:?}");
            }
        }
    }
}

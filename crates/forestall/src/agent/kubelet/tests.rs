//! A kubelet that is started, started again, changed and taken away, on a machine made of files.

use std::fs;
use std::path::{Path, PathBuf};

use forestall_decide::Bytes;
use forestall_decide::kubelet::Threshold;
use tempfile::TempDir;

use super::*;

struct Machine(TempDir);

impl Machine {
    /// With 1000 MiB.
    fn new() -> Self {
        let machine = Self(TempDir::new().expect("a directory"));
        machine.write(
            "proc/meminfo",
            "MemTotal: 1024000 kB\nMemFree: 512000 kB\nMemAvailable: 600000 kB\n",
        );
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn kubelet(&self, pid: u32, start_ticks: u64) {
        self.write(&format!("proc/{pid}/comm"), "kubelet\n");
        self.write(
            &format!("proc/{pid}/cmdline"),
            "kubelet\0--config=/k/config.yaml\0",
        );
        self.write(
            &format!("proc/{pid}/stat"),
            &format!("{pid} (kubelet) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start_ticks} 0 9 1\n"),
        );
    }

    fn end(&self, pid: u32) {
        fs::remove_dir_all(self.path(&format!("proc/{pid}"))).expect("removed");
    }

    fn watch(&self, file: &KubeletFile) -> KubeletWatch {
        KubeletWatch::new(self.0.path(), file)
    }
}

fn config(news: Option<KubeletNews>) -> KubeletConfig {
    let news = news.expect("there are news");
    let config = news
        .config
        .unwrap_or_else(|| panic!("nothing is known: {:?}", news.lines));
    (*config).clone()
}

fn said(news: Option<KubeletNews>) -> String {
    let news = news.expect("there are news");
    assert!(news.config.is_none(), "{:?}", news.config);
    news.lines.into_iter().map(|(_, line)| line + "\n").collect()
}

#[test]
fn what_a_kubelet_runs_with_is_reckoned_in_bytes_with_every_source() {
    let machine = Machine::new();
    machine.kubelet(7, 100);
    machine.write(
        "k/config.yaml",
        "kubeReserved: {memory: 100Mi}\nevictionHard: {memory.available: 25%}\nevictionSoft: {memory.available: 300Mi}\n\
         evictionSoftGracePeriod: {memory.available: 90s}\nevictionMinimumReclaim: {memory.available: 1Mi}\n",
    );
    let news = machine.watch(&KubeletFile::Auto).look(false).expect("news");
    let line = news
        .lines
        .iter()
        .map(|(_, line)| line.as_str())
        .next()
        .expect("a line");
    for part in [
        "config.yaml:2)",
        "config.yaml:3)",
        "for 90s",
        "system-reserved",
        "the flags of process 7",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let threshold = |signal, value, grace| Threshold {
        signal,
        value: Bytes::mebi(value),
        grace: Span::secs(grace),
        min_reclaim: Bytes::mebi(1),
    };
    let config = config(Some(news));
    // A quarter of 1000 MiB, and of the 900 that pods may have.
    assert_eq!(
        config.thresholds,
        [
            threshold(Signal::MemoryAvailable, 250, 0),
            threshold(Signal::MemoryAvailable, 300, 90),
            threshold(Signal::AllocatableMemoryAvailable, 225, 0),
        ]
    );
    assert_eq!(
        (config.source, config.capacity, config.kube_reserved),
        (ConfigSource::File, Bytes::mebi(1000), Bytes::mebi(100))
    );
}

#[test]
fn a_changed_file_is_told_and_holds_when_the_kubelet_is_started_again() {
    let machine = Machine::new();
    let write = |mebi: u64| {
        machine.write(
            "k/config.yaml",
            &format!("evictionHard: {{memory.available: {mebi}Mi}}\n"),
        );
    };
    let hard = |news| config(news).hard(Signal::MemoryAvailable);
    write(150);
    machine.kubelet(7, 100);
    let mut watch = machine.watch(&KubeletFile::Auto);
    assert_eq!(hard(watch.look(true)), Bytes::mebi(150));
    assert!(watch.look(true).is_none());
    fs::remove_file(machine.path("k/config.yaml")).expect("removed");
    write(250);
    assert!(said(watch.look(true)).contains("holds when the kubelet is started again"));
    assert!(watch.look(true).is_none(), "it is told once");
    // Its number may be the same.
    machine.kubelet(7, 900);
    assert_eq!(hard(watch.look(true)), Bytes::mebi(250));
    assert!(watch.look(true).is_none());
    // Gone for a moment, it leaves what it was told.
    machine.end(7);
    assert!(watch.look(false).is_none());
    machine.kubelet(8, 1000);
    assert_eq!(hard(watch.look(true)), Bytes::mebi(250));
}

#[test]
fn a_kubelet_that_comes_later_is_found_once_the_guard_sees_it() {
    let machine = Machine::new();
    let mut watch = machine.watch(&KubeletFile::Auto);
    assert!(watch.look(false).is_none(), "there is none, and nothing to say");
    machine.write("k/config.yaml", "");
    machine.kubelet(7, 100);
    assert!(watch.look(false).is_none(), "nobody has seen it");
    assert_eq!(
        config(watch.look(true)).hard(Signal::MemoryAvailable),
        Bytes::mebi(100)
    );
}

#[test]
fn what_cannot_be_known_is_said_and_nothing_is_assumed_of_it() {
    let machine = Machine::new();
    machine.kubelet(7, 100);
    let mut watch = machine.watch(&KubeletFile::Auto);
    let why = said(watch.look(true));
    assert!(
        why.contains("k/config.yaml is not there") && why.contains("kubeletConfig"),
        "{why}"
    );
    assert!(watch.look(true).is_none(), "it is said once");
    // A flag says it all the same.
    let machine = Machine::new();
    machine.kubelet(7, 100);
    machine.write(
        "proc/7/cmdline",
        "kubelet\0--config=/none\0--eviction-hard=memory.available<5%\0",
    );
    let known = config(machine.watch(&KubeletFile::Auto).look(true));
    assert_eq!(known.hard(Signal::MemoryAvailable), Bytes::mebi(50));
    // No grace period: no kubelet starts with that, so that it is no threshold.
    machine.write("proc/7/cmdline", "kubelet\0--eviction-soft=memory.available<5%\0");
    let news = machine.watch(&KubeletFile::Auto).look(true).expect("news");
    assert!(
        news.lines
            .iter()
            .any(|(level, line)| *level == Level::Warn && line.contains("grace"))
    );
    assert!(
        config(Some(news))
            .thresholds
            .iter()
            .all(|threshold| threshold.grace == Span(0))
    );
}

#[test]
fn a_named_file_is_read_again_when_it_changes_and_none_is_none() {
    let machine = Machine::new();
    machine.kubelet(7, 100);
    let path = machine.path("named.yaml");
    let named = KubeletFile::At(path.clone());
    assert!(said(machine.watch(&named).look(false)).contains("named.yaml"));
    let write = |text: &str| {
        let _ = fs::remove_file(&path);
        machine.write("named.yaml", text);
    };
    write("evictionHard: {memory.available: 300Mi}\n");
    let mut watch = machine.watch(&named);
    let hard = |news| config(news).hard(Signal::MemoryAvailable);
    assert_eq!(hard(watch.look(true)), Bytes::mebi(300));
    assert!(watch.look(true).is_none());
    write("evictionHard: {memory.available: 30Mi}\n");
    assert_eq!(hard(watch.look(false)), Bytes::mebi(30));
    assert!(machine.watch(&KubeletFile::Off).look(true).is_none());
    assert!(Path::new(&path).is_file());
}

/// 1000 MiB: no kubelet starts here with more than that as its threshold or reservation.
#[test]
fn figures_that_no_kubelet_starts_with_are_passed_over_by_file_and_line() {
    let read = |text: &str| {
        let machine = Machine::new();
        machine.kubelet(7, 100);
        machine.write("k/config.yaml", text);
        machine.watch(&KubeletFile::Auto).look(true).expect("news")
    };
    let warns = |news: &KubeletNews, part: &str, place: &str| {
        let line = news.lines.iter().find(|(_, line)| line.contains(part));
        let (level, line) = line.unwrap_or_else(|| panic!("{part}: {:?}", news.lines));
        assert!(*level == Level::Warn && line.contains(place), "{line}");
    };
    for hard in ["30Gi", "999999999999Ei", "1001Mi"] {
        let news = read(&format!("evictionHard:\n  memory.available: {hard}\n"));
        warns(&news, "passed over: eviction-hard", "config.yaml:2");
        warns(&news, "refuses to start", "config.yaml:2");
        assert!(said(Some(news)).contains("kubeletEvictionHard is assumed"));
    }
    // The other figures count all the same.
    let news = read(
        "systemReserved: {memory: 200Mi}\nkubeReserved: {memory: 3E}\nevictionHard: {memory.available: 800Mi}\n",
    );
    warns(&news, "passed over: kube-reserved", "config.yaml:2");
    let config = config(Some(news));
    assert_eq!(
        (
            config.kube_reserved,
            config.system_reserved,
            config.hard(Signal::MemoryAvailable)
        ),
        (Bytes::ZERO, Bytes::mebi(200), Bytes::mebi(800))
    );
    // A threshold of what the reservations leave is the last that a kubelet starts with.
    let news = read("systemReserved: {memory: 201Mi}\nevictionHard: {memory.available: 800Mi}\n");
    warns(&news, "passed over: eviction-hard", "config.yaml:2");
}

#[test]
fn what_the_kubelet_says_itself_counts_before_its_files_and_is_told_once() {
    let machine = Machine::new();
    machine.kubelet(7, 100);
    machine.write("k/config.yaml", "evictionHard: {memory.available: 100Mi}\n");
    let mut watch = machine.watch(&KubeletFile::Auto);
    assert_eq!(config(watch.look(true)).source, ConfigSource::File);
    // As `/configz` answers: one object that wraps all of it.
    let configz = r#"{"kubeletconfig":{"evictionHard":{"memory.available":"150Mi"},"systemReserved":{"memory":"50Mi"}}}"#;
    let heard = config(watch.hear(configz));
    assert_eq!(heard.source, ConfigSource::Configz);
    assert_eq!(heard.hard(Signal::MemoryAvailable), Bytes::mebi(150));
    assert!(watch.hear(configz).is_none(), "nothing new");
    machine.end(7);
    machine.kubelet(8, 200);
    assert!(watch.look(true).is_none(), "a file may say something else");
    assert!(said(watch.hear("no, \u{1b}[2J")).contains("not understood"));
    let off = machine.watch(&KubeletFile::Off).hear(configz);
    assert!(off.is_none(), "switched off");
}

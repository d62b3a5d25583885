//! Which of a log's reports is the one that is asked for, and what the others come to.

use std::collections::{BTreeMap, VecDeque};

use forestall_kernel::cgroup::Identity;
use forestall_kernel::kmsg::When;
use forestall_kernel::oom::{CgroupPath, Level, Report};

use crate::forensics::killer::Killing;
use crate::forensics::kubelet::{Deed, What};
use crate::forensics::share::has_victim;
use crate::forensics::source::Listener;
use crate::ledger::{Entry, Home, Signal};

/// So many limits are remembered.
const LIMITS_MAX: usize = 4096;

/// So many of the kubelet's deeds before the report's end are remembered, and as many behind it.
const DEEDS_MAX: usize = 64;

/// Whose end is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    text: Vec<u8>,
    pid: Option<u32>,
}

impl Who {
    pub(super) fn new(text: &str) -> Self {
        // As `kubectl describe pod` writes a container's ID: containerd://b27201334a41….
        let text = text.rsplit_once("://").map_or(text, |(_, id)| id);
        Self {
            text: text.as_bytes().to_vec(),
            pid: text.parse().ok(),
        }
    }

    /// Its numbers are those of another boot's processes where `is_other_boot`.
    fn is_in(&self, report: &Report, is_other_boot: bool) -> bool {
        let pid = self.pid.filter(|_| !is_other_boot);
        let is_victim = report
            .victims
            .iter()
            .any(|victim| pid == Some(victim.pid) || *victim.comm == *self.text);
        let mut paths = [&report.limit, &report.task_memcg, &report.group]
            .into_iter()
            .flatten();
        let mut victims = report.victims.iter().filter_map(|victim| victim.memcg.as_ref());
        is_victim || paths.any(|path| self.is_of(path)) || victims.any(|path| self.is_of(path))
    }

    /// By its pod's name, with or without its namespace, or by its container's.
    fn is_name_of(&self, home: &Home) -> bool {
        let whole = format!("{}/{}", home.namespace, home.pod);
        let names = [&whole, &home.pod, &home.container];
        names
            .iter()
            .any(|name| !name.is_empty() && name.as_bytes() == self.text)
    }

    /// A memory killer ended it.
    fn is_killed(&self, killing: &Killing) -> bool {
        let is_process = killing.pid.is_some() && (self.pid == killing.pid || killing.comm == self.text);
        is_process || killing.cgroup.as_ref().is_some_and(|path| self.is_of(path))
    }

    /// It was sent to the very process that is asked for, by its number in `boot`.
    pub(super) fn is_pid_of(&self, signal: &Signal, boot: Option<&[u8]>) -> bool {
        self.pid == Some(signal.pid) && boot.is_none_or(|boot| *boot == *signal.boot)
    }

    /// It was sent to whoever is asked for.
    pub(super) fn is_of_signal(&self, signal: &Signal, boot: Option<&[u8]>) -> bool {
        let is_victim = self.is_pid_of(signal, boot) || *signal.comm == *self.text;
        is_victim || signal.cgroup.as_ref().is_some_and(|path| self.is_of(path))
    }

    /// A pod's UID, a container's ID or how it begins, or a whole name within the path.
    fn is_of(&self, path: &CgroupPath) -> bool {
        // A few letters are the beginning of any ID.
        const ID_BYTES_MIN: usize = 6;
        let is_beginning = |id: &[u8]| self.text.len() >= ID_BYTES_MIN && id.starts_with(&self.text);
        let identity = Identity::of_path(&path.path);
        let is_pods = identity.pod().is_some_and(|pod| is_beginning(pod.uid.as_bytes()));
        let is_containers =
            matches!(&identity, Identity::Container(container) if is_beginning(&container.id));
        let is_named = |name: &[u8]| {
            let stem = name
                .iter()
                .rposition(|byte| *byte == b'.')
                .and_then(|dot| name.get(..dot));
            name == self.text || stem == Some(&self.text[..])
        };
        is_pods || is_containers || path.path.split(|byte| *byte == b'/').any(is_named)
    }
}

/// Kills at one limit before the one that is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) kills: u64,
    pub(super) first: When,
}

/// Kills of one pod that followed one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loop {
    /// So many, the one that is explained included.
    pub(super) kills: u64,
    /// When the first of them was, and the last so far.
    pub(super) first: When,
    last: When,
}

/// Whoever is killed again within this time is started again and again: the kubelet waits five minutes at the most (`MaxContainerBackOff`).
const LOOP_MICROS: i64 = 600_000_000;

/// Finds the last report that is asked for.
#[derive(Debug, Default)]
pub(super) struct Seeker {
    who: Option<Who>,
    /// The boot whose processes have the number that is asked for; `None` where that cannot be told.
    pub(super) boot: Option<Box<[u8]>>,
    /// What is being heard is of another one.
    is_other_boot: bool,
    pub(super) found: Option<Report>,
    /// What was known of its limit before it.
    before: Option<Before>,
    /// Who was killed, in all reports.
    pub(super) kills: u64,
    /// The same by level.
    pub(super) by_level: BTreeMap<Level, u64>,
    /// So many times there was nobody to kill.
    pub(super) no_killable: u64,
    limits: BTreeMap<Box<[u8]>, Before>,
    /// By the pod's UID: a container that is started again has another ID, and may have another name only in another pod.
    loops: BTreeMap<Box<[u8]>, Loop>,
    found_loop: Option<Loop>,
    /// What the kubelet did last.
    deeds: VecDeque<Deed>,
    /// The same as it stands around the report that is explained, in the order of the log.
    pub(super) around: Vec<Deed>,
    /// So many more may follow.
    room: usize,
    /// The last whom a memory killer in user space ended, of those who are asked for.
    killed: Option<Deed>,
    /// What a ledger knows of its victims besides.
    pub(super) found_homes: Vec<Home>,
    /// The same of the one that is being heard.
    homes: Vec<Home>,
}

impl Seeker {
    /// Takes from a ledger what it knows of the victims of what was found in the log of this boot: the same records made it.
    pub(super) fn learn_homes(&mut self, entries: &[Entry], boot: &[u8]) {
        let sequence = self.found.as_ref().and_then(|found| found.when.sequence);
        let is_same = |entry: &&Entry| {
            *entry.boot == *boot && sequence.is_some() && entry.report.when.sequence == sequence
        };
        if let Some(entry) = entries.iter().rev().find(is_same) {
            self.found_homes.clone_from(&entry.homes);
        }
    }

    pub(super) fn new(who: Option<Who>) -> Self {
        Self {
            who,
            ..Self::default()
        }
    }

    /// What was killed at the same limit before; `None` where nobody was.
    pub(super) const fn before(&self) -> Option<Before> {
        self.before
    }

    /// How often its pod was killed in a row; `None` where this was the only time.
    pub(super) fn again(&self) -> Option<Loop> {
        self.found_loop.filter(|again| again.kills > 1)
    }

    /// Whom a memory killer in user space ended, where no report of the kernel's is found.
    pub(super) fn killed(&self) -> Option<&Deed> {
        self.killed.as_ref().filter(|_| self.found.is_none())
    }

    /// Hears one that a ledger keeps.
    pub(super) fn hear_entry(&mut self, entry: &Entry) {
        self.homes.clone_from(&entry.homes);
        self.is_other_boot = self.boot.as_ref().is_some_and(|boot| *boot != entry.boot);
        self.hear(entry.dated());
        self.is_other_boot = false;
        self.homes.clear();
    }

    /// Counts a kill among those of its pod.
    fn count_loop(&mut self, report: &Report) -> Option<Loop> {
        let victim = report.victims.first()?;
        let home = victim
            .memcg
            .as_ref()
            .or(report.group.as_ref())
            .or(report.limit.as_ref())?;
        let identity = Identity::of_path(&home.path);
        let uid = identity.pod()?.uid.as_bytes();
        let when = victim.when;
        let known = self.loops.get(uid).filter(|known| is_soon(&known.last, &when));
        let (kills, first) = known.map_or((1, when), |known| (known.kills.saturating_add(1), known.first));
        let now = Loop {
            kills,
            first,
            last: when,
        };
        if self.loops.len() < LIMITS_MAX || self.loops.contains_key(uid) {
            self.loops.insert(uid.into(), now);
        }
        Some(now)
    }

    /// A report without a kill is taken only while there is none with one.
    fn is_better(&self, report: &Report) -> bool {
        let tells = |report: &Report| has_victim(report) || report.no_killable > 0;
        let who = self.who.as_ref();
        let is_asked_for = who.is_none_or(|who| {
            who.is_in(report, self.is_other_boot) || self.homes.iter().any(|home| who.is_name_of(home))
        });
        is_asked_for && (tells(report) || !self.found.as_ref().is_some_and(tells))
    }
}

/// Whether one came not long after the other, by the log's clock or, over boots, by dates.
fn is_soon(before: &When, after: &When) -> bool {
    let unix = |when: &When| when.calendar?.unix_micros(0, 0);
    let passed = match (unix(before).zip(unix(after)), before.micros.zip(after.micros)) {
        (Some((before, after)), _) => after.checked_sub(before),
        (None, Some((before, after))) => i64::try_from(after)
            .ok()
            .zip(i64::try_from(before).ok())
            .map(|(a, b)| a - b),
        (None, None) => None,
    };
    passed.is_some_and(|passed| (0..=LOOP_MICROS).contains(&passed))
}

impl Listener for Seeker {
    fn hear(&mut self, report: Report) {
        let kills = report.victims.len() as u64;
        self.kills = self.kills.saturating_add(kills);
        self.no_killable = self.no_killable.saturating_add(report.no_killable);
        if kills > 0 {
            *self.by_level.entry(report.level).or_default() += kills;
        }
        let limit = report.limit.as_ref().map(|limit| limit.path.clone());
        let known = limit.as_ref().and_then(|limit| self.limits.get(limit)).copied();
        if let Some(limit) =
            limit.filter(|_| kills > 0 && (known.is_some() || self.limits.len() < LIMITS_MAX))
        {
            let first = known.map_or(report.when, |known| known.first);
            let kills = known.map_or(0, |known| known.kills).saturating_add(kills);
            self.limits.insert(limit, Before { kills, first });
        }
        let again = self.count_loop(&report);
        if self.is_better(&report) {
            self.found_loop = again;
            self.around = self.deeds.iter().cloned().collect();
            self.room = DEEDS_MAX;
            self.before = known;
            self.found = Some(report);
            self.found_homes = std::mem::take(&mut self.homes);
        }
    }

    fn hear_better(&mut self, report: Report, says_limit: bool) {
        // Who was named with a limit was counted at its level.
        for level in [Level::SomeCgroup, Level::Unknown]
            .into_iter()
            .filter(|_| says_limit)
        {
            let kills = report.victims.len() as u64;
            if let Some(known) = self.by_level.get_mut(&level).filter(|known| **known >= kills) {
                *known -= kills;
                *self.by_level.entry(report.level).or_default() += kills;
                break;
            }
        }
        self.by_level.retain(|_, kills| *kills > 0);
        let name = |report: &Report| {
            report
                .victims
                .first()
                .map(|victim| (victim.pid, victim.comm.clone()))
        };
        let is_found = self
            .found
            .as_ref()
            .is_some_and(|found| name(found) == name(&report));
        if is_found {
            let mut report = report;
            if let Some(before) = self.found.take() {
                report.complete(before);
            }
            self.found = Some(report);
        } else if self.found.is_none() && self.is_better(&report) {
            self.found = Some(report);
        }
    }

    fn is_done(&self) -> bool {
        false
    }

    fn wants_kubelet(&self) -> bool {
        true
    }

    fn hear_kubelet(&mut self, deed: Deed) {
        if let What::Kills(killing) = &deed.what
            && self.who.as_ref().is_none_or(|who| who.is_killed(killing))
        {
            self.killed = Some(deed.clone());
        }
        if self.found.is_some() && self.room > 0 {
            self.room -= 1;
            self.around.push(deed.clone());
        }
        if self.deeds.len() >= DEEDS_MAX {
            self.deeds.pop_front();
        }
        self.deeds.push_back(deed);
    }
}

#[cfg(test)]
mod tests {
    use forestall_kernel::oom::Victim;

    use super::*;

    const POD: &str = "/kubepods.slice/kubepods-pod0330b2c1_a15b_4cdd_b5e5_72d4a90bee82.slice";

    fn report(pid: u32, comm: &str, limit: &str) -> Report {
        Report {
            limit: (!limit.is_empty()).then(|| CgroupPath {
                path: limit.as_bytes().into(),
                is_cut: false,
            }),
            victims: vec![Victim {
                pid,
                comm: comm.as_bytes().into(),
                ..Victim::default()
            }],
            ..Report::default()
        }
    }

    fn found(who: Option<&str>, reports: &[Report]) -> Option<u32> {
        let mut seeker = Seeker::new(who.map(Who::new));
        for report in reports {
            seeker.hear(report.clone());
        }
        seeker
            .found
            .map(|report| report.victims.first().map_or(0, |victim| victim.pid))
    }

    #[test]
    fn the_last_one_that_is_asked_for_is_found() {
        let container = format!(
            "{POD}/cri-containerd-b27201334a41cd0749d053b18378d7ea65617b8e26277197ea25c974da1a5a8a.scope"
        );
        let reports = [
            report(1, "java", POD),
            report(2, "java", &container),
            report(3, "node", "/system.slice/mysql.service"),
            report(4, "b27201", ""),
        ];
        for (who, pid) in [
            (None, Some(4)),
            (Some("1"), Some(1)),
            (Some("java"), Some(2)),
            (Some("0330b2c1-a15b-4cdd-b5e5-72d4a90bee82"), Some(2)),
            (Some("b27201334a41"), Some(2)),
            (
                Some("containerd://b27201334a41cd0749d053b18378d7ea65617b8e26277197ea25c974da1a5a8a"),
                Some(2),
            ),
            (Some("mysql"), Some(3)),
            (Some("mysql.service"), Some(3)),
            (Some("0"), None),
            (Some("b2"), None),
            (Some("b27202"), None),
        ] {
            assert_eq!(found(who, &reports), pid, "{who:?}");
        }
    }

    #[test]
    fn a_report_without_a_kill_is_told_only_where_there_is_no_other() {
        let bare = Report::default();
        assert_eq!(found(None, &[report(1, "a", ""), bare.clone()]), Some(1));
        assert_eq!(found(None, &[bare]), Some(0));
    }

    #[test]
    fn a_pod_that_is_killed_again_soon_after_is_a_loop_whatever_its_containers_are_called() {
        let killed = |secs: u64, container: &str| {
            let mut killed = report(1, "java", &format!("{POD}/{container}"));
            killed.victims[0].when.micros = Some(secs * 1_000_000);
            killed
        };
        let mut seeker = Seeker::default();
        seeker.hear(killed(100, "a"));
        assert_eq!(seeker.again(), None);
        seeker.hear(killed(700, "b"));
        seeker.hear(report(9, "other", "/system.slice/x.service"));
        seeker.hear(killed(1290, "c"));
        let again = seeker.again().expect("thrice");
        assert_eq!((again.kills, again.first.micros), (3, Some(100_000_000)));
        // Long after the last one it is a new story.
        seeker.hear(killed(2000, "d"));
        assert_eq!(seeker.again(), None);
    }

    #[test]
    fn kills_at_the_same_limit_are_counted_up_to_the_one_that_is_explained() {
        let mut seeker = Seeker::default();
        seeker.hear(report(1, "a", "/x"));
        assert_eq!(seeker.before(), None);
        seeker.hear(report(2, "a", "/x"));
        seeker.hear(report(3, "a", "/y"));
        seeker.hear(report(4, "a", "/x"));
        assert_eq!(seeker.before().map(|before| before.kills), Some(2));
        assert_eq!(seeker.kills, 4);
    }

    #[test]
    fn a_number_of_another_boot_is_somebody_elses() {
        let entry = |boot: &[u8]| Entry::new(boot.into(), 0, report(7, "java", POD));
        let mut seeker = Seeker::new(Some(Who::new("7")));
        seeker.boot = Some((*b"this").into());
        seeker.hear_entry(&entry(b"other"));
        assert_eq!(seeker.found, None);
        seeker.hear_entry(&entry(b"this"));
        assert!(seeker.found.is_some());
        // A pod has its UID for ever.
        let mut seeker = Seeker::new(Some(Who::new("0330b2c1")));
        seeker.boot = Some((*b"this").into());
        seeker.hear_entry(&entry(b"other"));
        assert!(seeker.found.is_some());
    }

    #[test]
    fn the_names_that_a_ledger_has_find_a_kill_and_go_to_the_same_one_of_the_log() {
        let home = Home {
            pid: 7,
            namespace: "shop".to_owned(),
            pod: "cart-0".to_owned(),
            container: "web".to_owned(),
            ..Home::default()
        };
        let mut report = Report {
            victims: vec![Victim {
                pid: 7,
                ..Victim::default()
            }],
            ..Report::default()
        };
        report.when.sequence = Some(5);
        let mut entry = Entry::new((*b"boot").into(), 0, report.clone());
        entry.homes = vec![home.clone()];
        for (who, is_found) in [
            ("cart-0", true),
            ("shop/cart-0", true),
            ("web", true),
            ("shop", false),
            ("cart", false),
            ("/", false),
        ] {
            let mut seeker = Seeker::new(Some(Who::new(who)));
            seeker.hear_entry(&entry);
            assert_eq!(seeker.found.is_some(), is_found, "{who}");
        }
        let mut seeker = Seeker::new(None);
        seeker.hear(report);
        seeker.learn_homes(std::slice::from_ref(&entry), b"other");
        assert_eq!(seeker.found_homes, []);
        seeker.learn_homes(&[entry], b"boot");
        assert_eq!(seeker.found_homes, [home]);
    }
}

//! The list, written while a log is being read: a line for each victim, and for times when there was nobody to kill.

use std::io::{self, Write};
use std::path::Path;

use forestall_kernel::oom::{Report, Victim};
use serde_json::Value;

use super::proof;
use crate::commands::explain::{Output, name};
use crate::commands::foretold::object;
use crate::commands::free::shown::human;
use crate::commands::node::report::yaml;
use crate::forensics::place::Place;
use crate::forensics::source::{Listener, Read};
use crate::forensics::{share, time, value};
use crate::ledger::{Entry, Home, Tally};
use crate::log::escape;

/// Writes what it hears.
pub(super) struct List<'a> {
    out: &'a mut dyn Write,
    output: Output,
    has_headers: bool,
    /// What was named to be read; `None` is this machine's kernel.
    log: Option<&'a Path>,
    zero_micros: Option<i64>,
    reports: u64,
    kills: u64,
    /// Reports in the middle of which records were lost.
    gaps: u64,
    /// Reports that begin, and say of nobody that he was killed or could not be.
    of_nobody: u64,
    /// Kills that stand in the list by less than was told of them further on.
    told_better: u64,
    /// Where those live who are being written.
    homes: Vec<Home>,
    is_following: bool,
    /// Why nothing more can be written.
    broken: Option<io::Error>,
}

impl<'a> List<'a> {
    pub(super) fn new(
        out: &'a mut dyn Write,
        output: Output,
        has_headers: bool,
        log: Option<&'a Path>,
    ) -> Self {
        Self {
            out,
            output,
            has_headers,
            log,
            zero_micros: log.is_none().then(time::zero_of_log_clock),
            reports: 0,
            kills: 0,
            gaps: 0,
            of_nobody: 0,
            told_better: 0,
            homes: Vec::new(),
            is_following: false,
            broken: None,
        }
    }

    /// Hears one that a ledger keeps, which knows who lived where.
    pub(super) fn hear_entry(&mut self, entry: &Entry) {
        self.homes.clone_from(&entry.homes);
        self.hear(entry.dated());
        self.homes.clear();
    }

    /// As lines that come one by one: each stands for itself, and is written at once.
    pub(super) fn follow(&mut self) -> io::Result<()> {
        self.is_following = true;
        if self.reports == 0 {
            self.write_headers()?;
        }
        self.flush()
    }

    /// Hands on what is written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self.broken.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }

    /// Writes what stands below the list; says whether nothing was lost.
    pub(super) fn finish(mut self, read: &Read, tallies: Option<&[Tally]>) -> io::Result<bool> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        // What the kernel counts proves a list; where it does not count, nothing may have been lost.
        let is_proven = |tally: &Tally| match tally.unattributed() {
            Some(unattributed) => unattributed == 0 && tally.doubles() == 0,
            None => tally.lost == 0,
        };
        let is_read = self.gaps == 0 && read.lost == 0 && read.left_out.is_empty();
        let is_told = self.told_better == 0 && read.not_compared == 0 && !self.is_begun_alone();
        let is_whole = tallies.map_or(is_read && is_told, |tallies| tallies.iter().all(is_proven));
        if matches!(self.output, Output::Table | Output::Wide) {
            self.notes(read, tallies.unwrap_or_default())?;
            return Ok(is_whole);
        }
        let boots: Option<Vec<Value>> = tallies.map(|tallies| tallies.iter().map(proof::value).collect());
        let mut last = object([
            ("kills", self.kills.into()),
            ("lost_records", read.lost.into()),
            ("reports_with_gaps", self.gaps.into()),
            ("told_twice", read.told_twice.into()),
            ("not_compared", read.not_compared.into()),
            ("told_better_later", self.told_better.into()),
            ("reports_of_nobody", self.of_nobody.into()),
            ("boots", boots.into()),
            ("complete", is_whole.into()),
        ]);
        last.extend(read.left_out.fields());
        self.begin_values()?;
        if self.output == Output::Json {
            let last = serde_json::to_string(&last)?;
            writeln!(self.out, "],\n{}", last.strip_prefix('{').unwrap_or(&last))?;
        } else {
            let none = if self.reports == 0 { "  []\n" } else { "" };
            write!(self.out, "{none}{}", yaml(&last.into()))?;
        }
        Ok(is_whole)
    }

    fn notes(&mut self, read: &Read, tallies: &[Tally]) -> io::Result<()> {
        if !self.has_headers {
            return Ok(());
        }
        let name = name(self.log);
        match self.kills {
            0 if self.is_begun_alone() => writeln!(
                self.out,
                "no kill in {name}, but reports of the out-of-memory killer that do not say who was killed: {}; forestall explain shows the last",
                self.of_nobody
            )?,
            0 if self.reports == 0 && read.left_out.is_empty() => {
                writeln!(self.out, "no out-of-memory kill in {name}")?;
            }
            0 if self.reports == 0 => writeln!(self.out, "no out-of-memory kill was read from {name}")?,
            1 => writeln!(self.out, "1 kill")?,
            kills => writeln!(self.out, "{kills} kills")?,
        }
        if let Some(left_out) = read.left_out.sentence() {
            writeln!(self.out, "note: {left_out}")?;
        }
        if self.told_better > 0 {
            writeln!(
                self.out,
                "note: of {} of them {name} says further on what they held or whose limit it was: forestall explain PID reads that",
                self.told_better
            )?;
        }
        if read.told_twice > 0 {
            writeln!(self.out, "note: told twice and counted once: {}", read.told_twice)?;
        }
        if read.not_compared > 0 {
            writeln!(
                self.out,
                "note: {} kills came after more than can be compared: some of them may be told twice",
                read.not_compared
            )?;
        }
        if read.lost > 0 {
            writeln!(
                self.out,
                "note: {} older records were overwritten before they could be read: kills may be missing",
                read.lost
            )?;
        }
        for tally in tallies {
            writeln!(self.out, "{}", proof::sentence(tally))?;
        }
        if self.gaps > 0 {
            writeln!(
                self.out,
                "note: records were lost in the middle of {} reports: kills may be missing",
                self.gaps
            )?;
        }
        Ok(())
    }

    /// Somebody was looked for, and that is all.
    const fn is_begun_alone(&self) -> bool {
        self.reports == 0 && self.of_nobody > 0
    }

    fn value(&self, report: &Report) -> Value {
        value::with_homes(report, self.zero_micros, &self.homes).into()
    }

    fn write(&mut self, report: &Report) -> io::Result<()> {
        match self.output {
            Output::Json | Output::Yaml if self.is_following => {
                let one = object([
                    ("kind", "kill".into()),
                    ("version", value::VERSION.into()),
                    ("report", self.value(report)),
                ]);
                if self.output == Output::Json {
                    return writeln!(self.out, "{}", serde_json::to_string(&one)?);
                }
                write!(self.out, "---\n{}", yaml(&one.into()))
            }
            Output::Table | Output::Wide => self.write_rows(report),
            Output::Json => {
                self.begin_values()?;
                let comma = if self.reports > 0 { "," } else { "" };
                let value = serde_json::to_string(&self.value(report))?;
                write!(self.out, "{comma}\n{value}")
            }
            Output::Yaml => {
                self.begin_values()?;
                let one = Value::Array(vec![self.value(report)]);
                self.out.write_all(yaml(&one).as_bytes())
            }
        }
    }

    /// What stands above the first value.
    fn begin_values(&mut self) -> io::Result<()> {
        let version = value::VERSION;
        let log = self.log.map(|path| escape::text(&path.display().to_string()));
        let log = Value::from(log);
        match self.output {
            _ if self.reports > 0 => Ok(()),
            Output::Json => write!(
                self.out,
                "{{\"kind\":\"kill-list\",\"version\":{version},\"log\":{log},\"reports\":["
            ),
            _ => writeln!(
                self.out,
                "kind: \"kill-list\"\nversion: {version}\nlog: {log}\nreports:"
            ),
        }
    }

    fn write_headers(&mut self) -> io::Result<()> {
        let is_table = matches!(self.output, Output::Table | Output::Wide);
        if !self.has_headers || !is_table {
            return Ok(());
        }
        row(
            self.out,
            ["WHEN", "LEVEL", "PID", "NAME", "HELD", "LIMIT", "WHERE"],
        )
    }

    fn write_rows(&mut self, report: &Report) -> io::Result<()> {
        if self.reports == 0 && !self.is_following {
            self.write_headers()?;
        }
        let limit = share::limit(report).map_or_else(|| "-".to_owned(), human);
        for victim in &report.victims {
            let held = share::held(report, victim.pid).map_or_else(|| "-".to_owned(), human);
            let when = time::short(&victim.when, self.zero_micros);
            let pid = victim.pid.to_string();
            let comm = if victim.comm.is_empty() {
                "-".to_owned()
            } else {
                escape::bytes(&victim.comm)
            };
            let place = self.place(report, Some(victim));
            row(
                self.out,
                [&when, report.level.label(), &pid, &comm, &held, &limit, &place],
            )?;
        }
        if report.no_killable > 0 {
            let when = time::short(&report.when, self.zero_micros);
            let times = format!("nobody ×{}", report.no_killable);
            let place = self.place(report, None);
            row(
                self.out,
                [&when, report.level.label(), "-", &times, "-", &limit, &place],
            )?;
        }
        Ok(())
    }

    /// Where a victim lived, or else whose limit it was.
    fn place(&self, report: &Report, victim: Option<&Victim>) -> String {
        let home = victim.and_then(|victim| self.homes.iter().find(|home| home.pid == victim.pid));
        if let Some(known) = home
            .and_then(Home::words)
            .filter(|_| self.output == Output::Table)
        {
            return known;
        }
        let own = victim.and_then(|victim| victim.memcg.as_ref());
        let path = own.or(report.group.as_ref()).or(report.limit.as_ref());
        match path {
            None => "-".to_owned(),
            Some(path) if self.output == Output::Wide => escape::bytes(&path.path),
            Some(path) => Place::of(path).words,
        }
    }
}

fn row(out: &mut dyn Write, cells: [&str; 7]) -> io::Result<()> {
    let [when, level, pid, name, held, limit, place] = cells;
    writeln!(
        out,
        "{when:<25} {level:<12} {pid:>7} {name:<16} {held:>6} {limit:>6} {place}"
    )
}

impl Listener for List<'_> {
    fn hear(&mut self, report: Report) {
        // A report in which nobody died, and nobody was looked for in vain, is none of a kill.
        let is_of_nobody = report.victims.is_empty() && report.no_killable == 0;
        if self.is_done() || is_of_nobody {
            self.of_nobody += u64::from(share::is_unfinished(&report) || report.is_panic());
            return;
        }
        if let Err(error) = self.write(&report) {
            self.broken = Some(error);
            return;
        }
        self.reports += 1;
        self.kills += report.victims.len() as u64;
        self.gaps += u64::from(report.has_gap);
    }

    fn hear_better(&mut self, report: Report, _says_limit: bool) {
        self.told_better += report.victims.len() as u64;
    }

    fn is_done(&self) -> bool {
        self.broken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use forestall_kernel::oom::Level;

    use crate::ledger::Sender;

    use super::*;

    fn entry(namespace: &str, pid: u32) -> Entry {
        let report = Report {
            level: Level::Container,
            victims: vec![Victim {
                pid,
                comm: (*b"java").into(),
                ..Victim::default()
            }],
            ..Report::default()
        };
        let home = Home {
            pid,
            namespace: namespace.to_owned(),
            pod: "cart\x1b-0".to_owned(),
            container: "web".to_owned(),
            is_cgroup_from_proc: true,
            sender: Some(Sender {
                is_kernel: true,
                comm: (*b"sh\n").into(),
                ..Sender::default()
            }),
            ..Home::default()
        };
        Entry {
            homes: vec![home],
            ..Entry::new((*b"boot").into(), 0, report)
        }
    }

    fn followed(output: Output) -> String {
        let mut out = Vec::new();
        let mut list = List::new(&mut out, output, true, Some(Path::new("x")));
        list.follow().expect("room");
        list.hear_entry(&entry("shop", 7));
        list.hear_entry(&entry("", 8));
        list.flush().expect("room");
        String::from_utf8(out).expect("text")
    }

    /// By hand: three were counted, and of three was told; but one more was counted in a pod that no victim was put to, so one was told twice.
    #[test]
    fn one_kill_that_was_told_twice_hides_no_lost_one() {
        let mut tally = Tally {
            kill_lines: 2,
            traced: 1,
            counted: Some(3),
            ..Tally::default()
        };
        assert_eq!((tally.unattributed(), tally.doubles()), (Some(0), 0));
        tally.untold.add(Level::Pod, 1);
        assert_eq!((tally.unattributed(), tally.doubles()), (Some(0), 1));
        assert!(
            proof::sentence(&tally).contains("at least 1 were told of twice"),
            "{}",
            proof::sentence(&tally)
        );
        let mut list = Vec::new();
        let list = List::new(&mut list, Output::Table, true, Some(Path::new("x")));
        let is_proven = list.finish(&Read::default(), Some(std::slice::from_ref(&tally)));
        assert!(!is_proven.expect("room"));
        // It may be one that was told of without its cgroup.
        tally.unplaced = 1;
        assert_eq!(tally.doubles(), 0);
        (tally.traced, tally.missed.overwritten) = (3, 7);
        let said = proof::sentence(&tally);
        assert!(said.ends_with("at least 2 were told of twice, and may hide as many that nothing told of; of what tracing told 7 overwritten"), "{said}");
    }

    #[test]
    fn what_is_followed_comes_as_lines_that_stand_for_themselves() {
        let lines = followed(Output::Json);
        let values: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(values.len(), 2);
        assert_eq!(
            (values[0]["kind"].as_str(), values[0]["version"].as_u64()),
            (Some("kill"), Some(1))
        );
        let victim = &values[0]["report"]["victims"][0];
        assert_eq!(
            (
                victim["namespace"].as_str(),
                victim["pod"].as_str(),
                victim["cgroup_source"].as_str()
            ),
            (Some("shop"), Some("cart\\x1b-0"), Some("proc"))
        );
        let evidence = |field: &str| {
            let basis = &victim["evidence"][field];
            (basis["source"].as_str(), basis["confidence"].as_str())
        };
        assert_eq!(evidence("kill"), (Some("kill line"), Some("high")));
        assert_eq!(
            evidence("names"),
            (Some("kubelet's log directories"), Some("high"))
        );
        assert_eq!(evidence("sender"), (Some("tracing"), Some("high")));
        assert_eq!(evidence("cgroup"), (None, None), "nobody told it");
        assert_eq!(victim["sender"]["is_kernel"], true);
        assert_eq!(victim["sender"]["comm"], "sh\\x0a");
        assert_eq!(values[1]["report"]["victims"][0]["namespace"], Value::Null);
        let table = followed(Output::Table);
        let rows: Vec<&str> = table.lines().collect();
        assert_eq!(rows.len(), 3, "{table}");
        assert!(
            rows[0].starts_with("WHEN") && rows[1].ends_with("container web of pod shop/cart\\x1b-0"),
            "{table}"
        );
    }
}

//! How long it took: the first sign of it, the alarm, the action and the recovery, of the kubelet alone and of forestall. They are told, and nothing
//! depends on them.
//!
//! What is told in a log has the time of the node's own clock, and memory is looked at by this program; both are put on the node's uptime.
use std::cmp::Ordering;
use std::fmt;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::memory::Memory;
use crate::node::Node;

const DAY_SECONDS: f64 = 86_400.0;

/// One course of what a scenario shows.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    /// Who had the node: `kubelet`, `forestall`.
    pub(crate) who: &'static str,
    /// What there was when it began.
    began: Memory,
    /// The least that the kernel had available, and the kubelet's allocatable.
    least_mib: u64,
    least_allocatable_mib: u64,
    recovered_at: Option<f64>,
    /// Of the logs, by the node's clock.
    clock: Clock,
    first_sign: Option<f64>,
    alarm: Option<f64>,
    action: Option<f64>,
}

/// What the node's clock showed, in seconds of the day, at an uptime.
#[derive(Clone, Copy, Debug)]
struct Clock {
    time_of_day: f64,
    uptime: f64,
}

impl Course {
    /// It begins now.
    pub(crate) fn begin(who: &'static str, node: &Node) -> Result<Self> {
        let said = node.run("cat /proc/uptime; adjtimex")?;
        let clock = Clock::parse(&said).with_context(|| format!("no clock in {said:?}"))?;
        let began = Memory::of(node)?;
        Ok(Self {
            who,
            began,
            least_mib: began.available_mib,
            least_allocatable_mib: began.allocatable_available_mib,
            recovered_at: None,
            clock,
            first_sign: None,
            alarm: None,
            action: None,
        })
    }

    /// Looks at the node's memory: it has recovered once all but a tenth of the machine is back, if that much was ever missing.
    pub(crate) fn look(&mut self, node: &Node) -> Result<Memory> {
        let now = Memory::of(node)?;
        self.least_mib = self.least_mib.min(now.available_mib);
        self.least_allocatable_mib = self.least_allocatable_mib.min(now.allocatable_available_mib);
        let enough_mib = self.began.available_mib.saturating_sub(now.total_mib / 10);
        match now.available_mib.cmp(&enough_mib) {
            Ordering::Less => self.recovered_at = None,
            _ if self.least_mib < enough_mib => {
                self.recovered_at.get_or_insert(now.uptime);
            }
            _ => {}
        }
        Ok(now)
    }

    pub(crate) const fn has_recovered(&self) -> bool {
        self.recovered_at.is_some()
    }

    /// How long it took until the memory was back.
    pub(crate) fn seconds(&self) -> Option<f64> {
        Some(self.recovered_at? - self.began.uptime)
    }

    /// The least that the kubelet could count as allocatable, in MiB.
    pub(crate) const fn least_allocatable_mib(&self) -> u64 {
        self.least_allocatable_mib
    }

    /// By the kubelet's log (`pkg/kubelet/eviction/eviction_manager.go`): it has found its threshold crossed, and then that it has to evict. It has no
    /// sign of what is to come.
    pub(crate) fn of_kubelet(&mut self, node: &Node) -> Result<()> {
        let log = node.run("grep -E 'attempting to reclaim|must evict pod' /var/log/kubelet.log")?;
        let first = |word: &str| {
            let mut lines = log.lines().filter(|line| line.contains(word));
            lines.find_map(|line| self.since(line.split_whitespace().nth(1)?))
        };
        [self.alarm, self.action] = ["attempting to reclaim", "must evict pod"].map(first);
        Ok(())
    }

    /// By the lines of the agent's log: any alarm, the one at the wall for whose sake it acted, and the first action.
    pub(crate) fn of_agent(&mut self, told: &[Value]) {
        let at = |line: &Value| self.since(line["ts"].as_str()?.split_once('T')?.1.trim_end_matches('Z'));
        let raised = |wall: &Value| {
            let mut lines = told
                .iter()
                .filter(|line| line["event"] == "alarm" && line["stage"] == "raised");
            lines.find_map(|line| {
                let is_wanted = wall.is_null() || line["evidence"]["wall"] == *wall;
                at(line).filter(|_| is_wanted)
            })
        };
        let actions = told.iter().filter(|line| line["event"] == "action");
        let acted = actions.clone().find_map(|line| Some((line, at(line)?)));
        let first = raised(&Value::Null);
        let alarm = acted.map_or(first, |(line, _)| raised(&line["evidence"]["wall"]));
        [self.first_sign, self.alarm, self.action] = [first, alarm, acted.map(|(_, at)| at)];
    }

    /// Seconds from the course's beginning to a time of day; none for what was before it.
    fn since(&self, time_of_day: &str) -> Option<f64> {
        let uptime = self.clock.uptime_of(parse_time(time_of_day)?);
        let seconds = uptime - self.began.uptime;
        // Both clocks are read to the hundredth.
        (seconds > -0.1).then_some(seconds.max(0.0))
    }
}

/// How many columns a course has, and their heads. Times are from the beginning, but for that from the action to the recovery.
pub(crate) const COLUMNS: usize = 7;
pub(crate) const HEAD: &str =
    "first sign | alarm | action | recovered | from the action | least available | least allocatable";

impl fmt::Display for Course {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |at: Option<f64>| at.map_or_else(|| "–".to_owned(), |at| format!("{at:.1} s"));
        let recovered = self.recovered_at.map(|uptime| uptime - self.began.uptime);
        let graceful = recovered.zip(self.action).map(|(end, begin)| end - begin);
        let [first_sign, alarm, action, recovered, graceful] =
            [self.first_sign, self.alarm, self.action, recovered, graceful].map(seconds);
        write!(
            formatter,
            "{first_sign} | {alarm} | {action} | {recovered} | {graceful} | {} MiB | {} MiB",
            self.least_mib, self.least_allocatable_mib
        )
    }
}

impl Clock {
    /// Of `/proc/uptime` and what busybox's `adjtimex` prints of the time.
    fn parse(said: &str) -> Option<Self> {
        let figure = |name: &str| -> Option<f64> {
            let mut lines = said.lines().filter_map(|line| line.trim().split_once(": "));
            let (_, figure) = lines.find(|(key, _)| *key == name)?;
            figure.trim().parse().ok()
        };
        let time = figure("time.tv_sec")? + figure("time.tv_usec")? / 1e6;
        Some(Self {
            time_of_day: time % DAY_SECONDS,
            uptime: said.split_whitespace().next()?.parse().ok()?,
        })
    }

    fn uptime_of(self, time_of_day: f64) -> f64 {
        let ahead = time_of_day - self.time_of_day;
        // What is half a day ago is half a day ahead: no scenario takes that long.
        let ahead = if ahead < -DAY_SECONDS / 2.0 {
            ahead + DAY_SECONDS
        } else {
            ahead
        };
        self.uptime + ahead
    }
}

/// `05:03:44.007653`, in UTC.
fn parse_time(text: &str) -> Option<f64> {
    let mut parts = text.splitn(3, ':').map(str::parse::<f64>);
    let mut next = || parts.next()?.ok();
    Some(next()? * 3600.0 + next()? * 60.0 + next()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // 1,795,414,675 s are 23 November 2026, 06:17:55 UTC, by `date -u -d @1795414675`.
    const SAID: &str = "70.93 81.49\n    mode:         0\n-p  timeconstant: 2\n    time.tv_sec:  1795414675\n    time.tv_usec: 259779\n";

    fn course() -> Course {
        let said = "0.00 0.00\nMemTotal: 1251328 kB\nMemAvailable: 868352 kB\ninactive_file 0\nmax 1019215872\ncurrent 905969664\n";
        let began = Memory::parse(said).expect("figures");
        Course {
            who: "forestall",
            began: Memory {
                uptime: 60.0,
                ..began
            },
            least_mib: 0,
            least_allocatable_mib: 0,
            recovered_at: None,
            clock: Clock::parse(SAID).expect("a clock"),
            first_sign: None,
            alarm: None,
            action: None,
        }
    }

    #[test]
    fn a_time_of_day_is_put_on_the_uptime() {
        let course = course();
        // At 06:17:55.259779 the node was up for 70.93 s, 10.93 of them in the course.
        let at = |time: &str| {
            course
                .since(time)
                .map(|seconds| (seconds * 100.0).round() / 100.0)
        };
        assert_eq!(at("06:17:55.259779"), Some(10.93));
        assert_eq!(at("06:18:00.259"), Some(15.93));
        assert_eq!(at("06:17:40.000"), None, "before it began");
        assert_eq!(at("06:18"), None);
        let late = Clock {
            time_of_day: DAY_SECONDS - 1.0,
            uptime: 5.0,
        };
        assert!((late.uptime_of(2.0) - 8.0).abs() < 1e-9, "over midnight");
    }

    #[test]
    fn an_alarm_is_the_one_of_the_wall_that_was_acted_for() {
        let line = |second: &str, event: &str, wall: &str| json!({"ts": format!("2026-11-23T06:18:{second}Z"), "event": event, "stage": "raised", "evidence": {"wall": wall}});
        let mut course = course();
        course.of_agent(&[
            line("00.000", "alarm", "kubepods"),
            line("05.000", "alarm", "kubelet-allocatable"),
            line("06.000", "action", "kubelet-allocatable"),
        ]);
        let found =
            [course.first_sign, course.alarm, course.action].map(|at| format!("{:.0}", at.unwrap_or(-1.0)));
        assert_eq!(found, ["16", "21", "22"]);
    }
}

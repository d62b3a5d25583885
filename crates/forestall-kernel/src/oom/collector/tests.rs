mod groups;
mod joined;

use super::*;
use crate::oom::{Level, Piece, Reap, Seen};

/// Reads lines of any form, and the end of the log.
fn read<T: AsRef<str>>(lines: &[T]) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut collector = Collector::new();
    for line in lines {
        collector.hear(&Line::of_text(line.as_ref().as_bytes()), &mut |report| {
            reports.push(report);
        });
    }
    collector.finish(&mut |report| reports.push(report));
    reports
}

/// Records of texts, a millisecond apart.
fn records<T: AsRef<str>>(texts: &[T]) -> Vec<String> {
    let number = |(number, text): (usize, &T)| format!("4,{number},{},-;{}", number * 1000, text.as_ref());
    texts.iter().enumerate().map(number).collect()
}

fn pids(report: &Report) -> Vec<u32> {
    report.victims.iter().map(|victim| victim.pid).collect()
}

fn path(path: Option<&crate::oom::CgroupPath>) -> String {
    path.map_or("-".to_owned(), |path| path.path.escape_ascii().to_string())
}

fn header(comm: &str) -> String {
    format!("{comm} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0")
}

fn kill(pid: u32) -> String {
    format!(
        "Memory cgroup out of memory: Killed process {pid} (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB"
    )
}

fn verdict(pid: u32) -> String {
    format!(
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/kubepods/pod1,\
         task_memcg=/kubepods/pod1/c,task=a,pid={pid},uid=0"
    )
}

fn group(path: &str) -> String {
    format!("Tasks in {path} are going to be killed due to memory.oom.group set")
}

#[test]
fn kills_without_their_stories_are_reports_of_their_own() {
    let mut texts: Vec<String> = (1..=40).map(kill).collect();
    texts.push("oom_kill_process: 40 callbacks suppressed".to_owned());
    texts.extend([
        header("b"),
        "CPU: 0 PID: 99 Comm: b Not tainted".to_owned(),
        verdict(99),
        kill(99),
    ]);
    let reports = read(&records(&texts));
    let told: Vec<Vec<u32>> = reports.iter().map(pids).collect();
    let expected: Vec<Vec<u32>> = (1..=40).chain([99]).map(|pid| vec![pid]).collect();
    assert_eq!(told, expected);
    assert!(
        reports[..40]
            .iter()
            .all(|report| report.level == Level::SomeCgroup && report.suppressed == 0)
    );
    assert_eq!((reports[40].suppressed, reports[40].level), (40, Level::Pod));
}

#[test]
fn a_storm_in_which_nobody_can_be_killed_is_counted_and_told_once() {
    let one = |comm: &str, pid: u32| {
        [
            header(comm),
            format!("CPU: 0 PID: {pid} Comm: {comm} Not tainted"),
            "memory: usage 4kB, limit 4kB, failcnt 1".to_owned(),
            "Memory cgroup stats for /kubepods/pod1/c:".to_owned(),
            "[ pid ] uid rss name".to_owned(),
            "Out of memory and no killable processes...".to_owned(),
        ]
    };
    // Two threads of one process by turns, another one in between, and then a kill.
    let mut texts: Vec<String> = (0..500)
        .flat_map(|_| [one("untouch", 7), one("untouch", 8)].concat())
        .collect();
    texts.splice(600..600, one("other", 9));
    texts.extend([header("third"), verdict(10), kill(10)]);
    let reports = read(&records(&texts));
    let told: Vec<(u64, Level, usize)> = reports
        .iter()
        .map(|report| (report.no_killable, report.level, report.victims.len()))
        .collect();
    // The searches are held back until the end, in case that more follow.
    let expected = [
        (0, Level::Pod, 1),
        (1000, Level::Container, 0),
        (1, Level::Container, 0),
    ];
    assert_eq!(told, expected);
}

/// Four searches a second for 70 seconds: 0 to 30 s, 30.25 to 60.25 s, and what is left.
#[test]
fn a_storm_that_goes_on_is_told_of_each_half_minute() {
    let vain = "Out of memory and no killable processes...";
    let mut collector = Collector::new();
    let mut told = Vec::new();
    for search in 0..280_u64 {
        for (number, text) in [&*header("untouch"), vain].iter().enumerate() {
            let sequence = 2 * search + number as u64;
            let line = format!("4,{sequence},{},-;{text}", search * 250_000);
            collector.hear(&Line::of_text(line.as_bytes()), &mut |report| {
                told.push((search, report.no_killable));
            });
        }
    }
    collector.finish(&mut |report| told.push((280, report.no_killable)));
    // A search is over with the line behind it.
    assert_eq!(told, [(122, 121), (243, 121), (280, 38)]);
}

#[test]
fn who_is_ending_already_is_no_victim() {
    let exiting = "Memory cgroup out of memory: OOM victim 5 (a) is already exiting. Skip killing the task";
    let reports = read(&records(&[header("a"), verdict(5), exiting.to_owned()]));
    assert_eq!((reports.len(), pids(&reports[0])), (1, vec![]));
    assert_eq!(
        reports[0].exiting.iter().map(|task| task.pid).collect::<Vec<_>>(),
        [5]
    );
}

#[test]
fn whoever_a_verdict_names_is_a_victim_where_the_kill_line_is_missing() {
    let reports = read(&[format!("[    1.000000] {}", verdict(5))]);
    assert_eq!((reports.len(), pids(&reports[0])), (1, vec![5]));
    assert_eq!(reports[0].victims[0].seen, Seen::Named);
}

#[test]
fn who_shares_the_victims_memory_is_a_victim_of_3_10() {
    let reports = read(&records(&[
        "Out of memory: Kill process 12 (java) score 5 or sacrifice child",
        "Killed process 12 (java) total-vm:8kB, anon-rss:4kB, file-rss:0kB",
        "Kill process 13 (helper) sharing same memory",
    ]));
    assert_eq!((reports.len(), pids(&reports[0])), (1, vec![12, 13]));
    assert_eq!(reports[0].victims[1].seen, Seen::SharesMemory);
    assert_eq!(reports[0].level, Level::Node);
}

#[test]
fn the_reaper_makes_no_second_victim_however_late_it_is() {
    let reaped = |pid: u32| {
        format!("oom_reaper: reaped process {pid} (a), now anon-rss:8kB, file-rss:0kB, shmem-rss:0kB")
    };
    let mut lines = records(&[kill(1), reaped(1), kill(2)]);
    lines.push(format!("6,3,9000000,-;{}", reaped(2)));
    lines.push(format!("6,4,9000001,-;{}", reaped(3)));
    let reports = read(&lines);
    assert_eq!(
        reports.iter().map(pids).collect::<Vec<_>>(),
        [vec![1], vec![2], vec![3]]
    );
    assert_eq!(
        reports[0].victims[0].reap,
        Some(Reap::Reaped { anon: Some(8 << 10) })
    );
    assert_eq!(
        (reports[1].victims[0].reap, reports[2].victims[0].seen),
        (None, Seen::ReaperOnly)
    );
}

#[test]
fn a_kill_in_a_file_is_not_put_to_a_header_that_names_nobody() {
    let lines = [header("a"), kill(5)].map(|text| format!("[    1.000000] {text}"));
    let reports = read(&lines);
    assert_eq!(reports.iter().map(pids).collect::<Vec<_>>(), [vec![], vec![5]]);
    assert!(reports[1].trigger.is_none());
    // Records cannot have left anything out unseen.
    assert_eq!(read(&records(&[header("a"), kill(5)])).len(), 1);
}

#[test]
fn what_a_victim_prints_after_its_kill_is_not_the_reports() {
    let reports = read(&records(&[
        header("a"),
        "CPU: 0 UID: 0 PID: 5 Comm: a Not tainted".to_owned(),
        verdict(5),
        kill(5),
        "a: page allocation failure: order:0, mode:0xcc0(GFP_KERNEL), nodemask=(null),cpuset=/,mems_allowed=0".to_owned(),
        "CPU: 0 UID: 0 PID: 6 Comm: a Not tainted".to_owned(),
        "Mem-Info:".to_owned(),
        "active_anon:1 inactive_anon:2".to_owned(),
    ]));
    assert_eq!(reports.len(), 1);
    assert_eq!((reports[0].domain.machine, reports[0].level), (None, Level::Pod));
    assert_eq!(
        reports[0].trigger.as_ref().and_then(|trigger| trigger.pid),
        Some(5)
    );
}

#[test]
fn two_reports_without_callers_come_apart_by_names_and_order() {
    // As 3.10 can print them, which has no lock around reports of cgroups.
    let reports = read(&records(&[
        "one invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0",
        "two invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0",
        "two cpuset=c2 mems_allowed=0",
        "one cpuset=c1 mems_allowed=0",
        "CPU: 1 PID: 11 Comm: one Not tainted",
        "CPU: 2 PID: 22 Comm: two Not tainted",
        "Task in /a killed as a result of limit of /a",
        "Task in /b killed as a result of limit of /b",
        "Memory cgroup out of memory: Kill process 22 (two) score 5 or sacrifice child",
        "Killed process 22 (two) total-vm:8kB, anon-rss:4kB, file-rss:0kB",
        "Memory cgroup out of memory: Kill process 11 (one) score 5 or sacrifice child",
        "Killed process 11 (one) total-vm:8kB, anon-rss:4kB, file-rss:0kB",
    ]));
    let told: Vec<_> = reports
        .iter()
        .filter(|report| !report.victims.is_empty())
        .map(|report| {
            let trigger = report.trigger.as_ref().expect("a trigger");
            assert_eq!(report.limit, None, "nobody can know whose the limits are");
            (
                pids(report),
                trigger.comm.escape_ascii().to_string(),
                report.cpuset.clone(),
            )
        })
        .collect();
    let expected = [
        (vec![11], "one".to_owned(), Some(Box::from(&b"c1"[..]))),
        (vec![22], "two".to_owned(), Some(Box::from(&b"c2"[..]))),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_memory_policy_of_an_old_kernel_is_told_by_its_nodes() {
    let reports = read(&records(&[
        "a invoked oom-killer: gfp_mask=0x1(A), nodemask=1, order=0, oom_score_adj=0",
        "CPU: 1 PID: 11 Comm: a Not tainted",
        "Mem-Info:",
        "Out of memory: Kill process 11 (a) score 5 or sacrifice child",
        "Killed process 11 (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB",
    ]));
    assert_eq!((reports.len(), reports[0].level), (1, Level::Numa));
}

#[test]
fn of_stats_below_a_limit_none_is_taken_for_the_limits() {
    let stats = |path: &str| format!("Memory cgroup stats for {path}: cache:4KB rss:8KB");
    let lines = records(&[
        header("a"),
        "memory: usage 4kB, limit 4kB, failcnt 1".to_owned(),
        stats("/kubepods/pod1"),
        stats("/kubepods/pod1/c"),
    ]);
    assert_eq!(path(read(&lines)[0].limit.as_ref()), "/kubepods/pod1");
    // The line before was lost.
    let torn = read(&[lines[0].clone(), lines[1].clone(), lines[3].clone()]);
    assert_eq!(
        torn.iter()
            .map(|report| path(report.limit.as_ref()))
            .collect::<Vec<_>>(),
        ["-", "-"]
    );
    assert!(torn.iter().all(|report| report.has_gap));
    let texts =
        [stats("/kubepods/pod1/c"), stats("/kubepods/pod1/d")].map(|text| format!("[    1.500000] {text}"));
    assert_eq!(path(read(&texts[..1])[0].limit.as_ref()), "/kubepods/pod1/c");
    assert_eq!(path(read(&texts)[0].limit.as_ref()), "-");
}

#[test]
fn a_panic_is_told() {
    let panic = "Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled";
    let reports = read(&records(&[header("a"), "Mem-Info:".to_owned(), panic.to_owned()]));
    assert_eq!(
        (reports.len(), reports[0].is_panic(), reports[0].level),
        (1, true, Level::Node)
    );
}

#[test]
fn a_calm_log_is_settled_and_an_alarm_need_not_wait() {
    let mut collector = Collector::new();
    let mut reports = Vec::new();
    let heard: Vec<Heard> = records(&[header("a"), verdict(5), kill(5)])
        .iter()
        .map(|line| {
            collector.hear(&Line::of_text(line.as_bytes()), &mut |report| {
                reports.push(report);
            })
        })
        .collect();
    assert_eq!(heard, [Heard::Part, Heard::Part, Heard::Kill { pid: 5 }]);
    assert_eq!(collector.open_reports().map(pids).collect::<Vec<_>>(), [vec![5]]);
    collector.settle(&mut |report| reports.push(report));
    assert_eq!((reports.len(), collector.is_idle()), (1, true));
    assert!(reports[0].pieces.has(Piece::Kill) && !reports[0].pieces.has(Piece::Table));
}

#[test]
fn records_from_the_beginning_are_reports_again() {
    let lines = records(&[header("a"), verdict(5), kill(5)]);
    let twice: Vec<&String> = lines.iter().chain(&lines).collect();
    assert_eq!(
        read(&twice).iter().map(pids).collect::<Vec<_>>(),
        [vec![5], vec![5]]
    );
}

#[test]
fn the_stack_tells_a_cgroups_limit_where_all_else_is_lost() {
    let level = |frame: &str| {
        let reports = read(&records(&[
            header("a").as_str(),
            "CPU: 0 PID: 5 Comm: a Not tainted",
            frame,
        ]));
        assert_eq!(reports.len(), 1);
        reports[0].level
    };
    assert_eq!(level(" mem_cgroup_out_of_memory+0x36/0x50"), Level::SomeCgroup);
    assert_eq!(
        level(" [<ffffffff811d3a85>] mem_cgroup_out_of_memory+0x36/0x50"),
        Level::SomeCgroup
    );
    assert_eq!(
        level(" [<ffffffff811d3a85>] ? mem_cgroup_out_of_memory+0x36/0x50"),
        Level::Unknown
    );
    assert_eq!(level(" ? mem_cgroup_out_of_memory+0x36/0x50"), Level::Unknown);
    assert_eq!(level(" out_of_memory+0x36/0x50"), Level::Unknown);
}

/// A file that a log daemon keeps holds several boots, whose clocks begin anew; so does one without stamps where dates go back.
#[test]
fn another_boot_in_the_same_file_has_its_own_kills_and_numbers() {
    let boots = [
        format!("[  500.000000] {}", header("a")),
        format!("[  500.000100] {}", verdict(7)),
        format!("[  500.000200] {}", kill(7)),
        "[  900.000000] eth0: link up".to_owned(),
        "[    0.000000] Linux version 6.12.0".to_owned(),
        format!("[   20.000000] {}", kill(7)),
        format!("[   20.100000] {}", kill(8)),
    ];
    let dated = boots
        .clone()
        .map(|line| format!("Feb 20 08:18:28 host kernel: {line}"));
    let by_date = [
        format!("Feb 20 08:18:28 host kernel: {}", kill(7)),
        format!("Feb 20 08:10:00 host kernel: {}", kill(7)),
    ];
    for lines in [&boots[..], &dated[..]] {
        let reports = read(lines);
        let told: Vec<_> = reports.iter().map(pids).collect();
        assert_eq!(told, [[7], [7], [8]]);
        assert_eq!(path(reports[0].limit.as_ref()), "/kubepods/pod1");
        assert_eq!(reports[1].limit, None);
    }
    assert_eq!(read(&by_date).len(), 2);
    // A processor that printed a little earlier is no other boot: the first of a group is still told once.
    let close = [
        format!("[  500.000200] {}", kill(7)),
        format!("[  500.000190] {}", group("/kubepods/pod1/c")),
        format!("[  500.000180] {}", kill(7)),
    ];
    let told: Vec<_> = read(&close).iter().map(pids).collect();
    assert_eq!(told, [[7]]);
}

//! Groups that are killed as one, and who does not belong to them.

use super::*;

#[test]
fn groups_one_after_another_come_apart_without_headers() {
    let texts = [
        kill(10),
        group("/a"),
        kill(10),
        kill(11),
        kill(20),
        group("/b"),
        kill(20),
        kill(21),
    ];
    let reports = read(&records(&texts));
    assert_eq!(
        reports.iter().map(pids).collect::<Vec<_>>(),
        [vec![10, 11], vec![20, 21]]
    );
    let groups: Vec<String> = reports.iter().map(|report| path(report.group.as_ref())).collect();
    assert_eq!(groups, ["/a", "/b"]);
}

#[test]
fn a_group_whose_first_kill_was_lost_takes_none_of_the_last_group() {
    let texts = [kill(10), group("/a"), kill(10), group("/b"), kill(20), kill(21)];
    let reports = read(&records(&texts));
    assert_eq!(
        reports.iter().map(pids).collect::<Vec<_>>(),
        [vec![10], vec![20, 21]]
    );
}

#[test]
fn a_groups_first_is_counted_once_though_the_line_between_was_lost() {
    let lines = records(&[kill(10), group("/a"), kill(10), kill(11)]);
    let torn = [&lines[0], &lines[2], &lines[3]];
    assert_eq!(read(&torn).iter().flat_map(pids).collect::<Vec<_>>(), [10, 11]);
}

#[test]
fn a_kill_long_after_a_group_or_of_nobody_in_its_table_is_no_member() {
    let mut lines = records(&[kill(10), group("/a"), kill(10), kill(11)]);
    // Those of the captures follow within 2 ms; a line at 115,200 baud takes 18.
    lines.push(format!("3,4,103001,-;{}", kill(12)));
    assert_eq!(
        read(&lines).iter().map(pids).collect::<Vec<_>>(),
        [vec![10, 11], vec![12]]
    );
    let table = [
        header("a"),
        "[ pid ] uid total_vm rss oom_score_adj name".to_owned(),
        "[ 10] 0 9 8 0 a".to_owned(),
        "[ 11] 0 9 7 0 a".to_owned(),
    ];
    let texts: Vec<String> = table
        .into_iter()
        .chain([verdict(10), kill(10), group("/a"), kill(10), kill(11), kill(12)])
        .collect();
    let reports = read(&records(&texts));
    assert_eq!(
        reports.iter().map(pids).collect::<Vec<_>>(),
        [vec![10, 11], vec![12]]
    );
    assert_eq!(
        (reports[1].limit.as_ref(), reports[1].level),
        (None, Level::SomeCgroup)
    );
}

#[test]
fn a_kill_for_the_machines_memory_right_after_a_cgroups_group_is_no_member() {
    // Members are killed in the words of the first (`oom_kill_process`): the rate limit has left out the other report's beginning.
    let of_machine = kill(12).replace("Memory cgroup out of memory", "Out of memory");
    let reports = read(&records(&[
        verdict(10),
        kill(10),
        group("/a"),
        kill(10),
        kill(11),
        of_machine,
    ]));
    assert_eq!(
        reports.iter().map(pids).collect::<Vec<_>>(),
        [vec![10, 11], vec![12]]
    );
    assert_eq!(
        (path(reports[1].group.as_ref()), reports[1].level),
        ("-".to_owned(), Level::Node)
    );
}

#[test]
fn a_kill_right_after_a_group_of_another_oom_score_adj_is_no_member() {
    // The rate limit has left out both reports' tables: a pod of another class is killed a moment later, at a limit of its own.
    let with_adj = |pid, adj: i32| kill(pid) + &format!(" UID:0 pgtables:9kB oom_score_adj:{adj}");
    let reports = read(&records(&[
        with_adj(10, 987),
        group("/a"),
        with_adj(10, 987),
        with_adj(11, 987),
        with_adj(12, 1000),
    ]));
    assert_eq!(
        reports.iter().map(pids).collect::<Vec<_>>(),
        [vec![10, 11], vec![12]]
    );
    assert_eq!(
        (path(reports[1].group.as_ref()), reports[1].level),
        ("-".to_owned(), Level::SomeCgroup)
    );
}

#[test]
fn of_a_group_of_thousands_nobody_is_lost() {
    let mut texts = vec![kill(1), group("/a")];
    texts.extend((1..=2048).map(kill));
    let reports = read(&records(&texts));
    assert!(
        reports
            .iter()
            .all(|report| report.victims.len() <= 256 && path(report.group.as_ref()) == "/a")
    );
    let told: Vec<u32> = reports.iter().flat_map(pids).collect();
    assert_eq!(told, (1..=2048).collect::<Vec<_>>());
    assert_eq!(reports.len(), 8, "and none is empty");
}

#[test]
fn members_of_a_group_that_are_ending_already_do_not_end_the_group() {
    let exiting = |pid: u32| {
        format!("Memory cgroup out of memory: OOM victim {pid} (a) is already exiting. Skip killing the task")
    };
    let reports = read(&records(&[
        kill(10),
        group("/a"),
        kill(10),
        exiting(11),
        kill(12),
    ]));
    assert_eq!(reports.iter().map(pids).collect::<Vec<_>>(), [vec![10, 12]]);
    assert_eq!(reports[0].exiting.len(), 1);
}

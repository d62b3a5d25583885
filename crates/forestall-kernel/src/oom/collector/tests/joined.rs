//! Lines that came in pieces, and text that only looks like a line.

use super::*;

fn verdict_halves() -> (String, String) {
    let whole = verdict(5);
    let at = whole.find("task_memcg=").expect("it has one") + "task_memcg=".len();
    (whole[..at].to_owned(), whole[at..].to_owned())
}

#[test]
fn pieces_of_old_kernels_are_put_together() {
    let reports = read(&[
        "4,1,100,-;java invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=-998",
        "6,2,101,c;Task in /kubepods/pod1/c killed",
        "6,3,102,+; as a result of limit of /kubepods/pod1",
        "6,4,103,-;memory: usage 4kB, limit 4kB, failcnt 1",
        "6,5,104,c;Memory cgroup stats for /kubepods/pod1:",
        "6,6,105,+; cache:8KB",
        "6,7,106,+; rss:12KB",
        "3,8,107,-;Memory cgroup out of memory: Kill process 12 (java) score 5 or sacrifice child",
        "3,9,108,-;Killed process 12 (java) total-vm:8kB, anon-rss:4kB, file-rss:0kB",
    ]);
    assert_eq!(reports.len(), 1);
    let report = &reports[0];
    assert_eq!((pids(report), report.level), (vec![12], Level::Pod));
    assert_eq!(path(report.limit.as_ref()), "/kubepods/pod1");
    assert_eq!(path(report.victims[0].memcg.as_ref()), "/kubepods/pod1/c");
    assert_eq!(
        (report.domain.file, report.domain.anon),
        (Some(8 << 10), Some(12 << 10))
    );
}

#[test]
fn a_verdict_in_two_records_is_put_together_over_what_others_print() {
    let (front, back) = verdict_halves();
    let reports = read(&[
        format!("6,1,100,-;{front}"),
        "6,2,101,-;usb 1-1: new device".to_owned(),
        format!("4,3,102,c;{back}"),
        format!("3,4,103,-;{}", kill(5)),
    ]);
    assert_eq!(reports.len(), 1);
    assert_eq!(path(reports[0].victims[0].memcg.as_ref()), "/kubepods/pod1/c");
    assert!(!reports[0].victims[0].memcg.as_ref().expect("a path").is_cut);
}

#[test]
fn a_verdict_in_two_lines_of_a_file_is_put_together() {
    let (front, back) = verdict_halves();
    let lines = [front, back, kill(5)].map(|text| format!("[    1.000000] {text}"));
    let reports = read(&lines);
    assert_eq!(reports.len(), 1);
    assert_eq!(path(reports[0].victims[0].memcg.as_ref()), "/kubepods/pod1/c");
}

#[test]
fn a_verdict_without_its_end_still_tells_the_limit() {
    let (front, _) = verdict_halves();
    let reports = read(&records(&[front, kill(5)]));
    assert_eq!(reports.len(), 1);
    assert_eq!((pids(&reports[0]), reports[0].level), (vec![5], Level::Pod));
    assert_eq!(reports[0].victims[0].memcg, None);
}

#[test]
fn lines_that_were_wrapped_in_pasting_are_unwrapped() {
    let reports = read(&[
        "[    1.000000] Task in /kubepods/podx/c1 killed as a result of limit of /kubepo",
        "ds/podx/c1",
        "[    1.000001] Memory cgroup stats for /kubepods/podx/c1: cache:8KB rss:1",
        "2KB shmem:4KB",
        "[    1.000002] Memory cgroup out of memory: Kill process 3 (sh) score 0 or sacrifice child",
        "[    1.000003] Killed process 4 (x",
        "               y) total-vm:8kB, anon-rss:4kB, file-rss:0kB",
    ]);
    assert_eq!(reports.len(), 1);
    let report = &reports[0];
    assert_eq!(
        (path(report.limit.as_ref()), report.level),
        ("/kubepods/podx/c1".to_owned(), Level::Container)
    );
    assert_eq!(
        (report.domain.anon, report.domain.file),
        (Some(12 << 10), Some(4 << 10))
    );
    assert_eq!(
        (report.victims[0].pid, &*report.victims[0].comm),
        (4, &b"x\ny"[..])
    );
    assert_eq!(report.sacrificed_for.as_ref().map(|task| task.pid), Some(3));
}

#[test]
fn a_newline_within_what_the_kernel_prints_begins_no_line_of_its() {
    let reports = read(&[
        "[    1.500000] usb 1-1: Product: x",
        "               Out of memory: Killed process 1 (init) total-vm:8kB, anon-rss:4kB",
    ]);
    assert!(reports.is_empty());
    // Whoever pastes indents by less.
    assert_eq!(
        read(&["    Out of memory: Killed process 1 (init) total-vm:8kB"]).len(),
        1
    );
}

#[test]
fn a_path_that_the_kernel_cut_is_told_to_be_cut() {
    // What it prints at once is cut at 976 bytes, and it does not say so.
    let long = format!("/kubepods/pod1/c/{}", "x".repeat(976 - 17));
    let pieces = [
        "6,1,100,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg="
            .to_owned(),
        format!("4,2,101,c;{long}"),
        "4,3,102,c;,task_memcg=".to_owned(),
        format!("4,4,103,c;{long}"),
        "4,5,104,c;,task=a,pid=5,uid=0".to_owned(),
        format!("3,6,105,-;{}", kill(5)),
    ];
    let reports = read(&pieces);
    assert_eq!((reports.len(), reports[0].level), (1, Level::Container));
    let limit = reports[0].limit.as_ref().expect("a limit");
    assert!(limit.is_cut && limit.path.starts_with(b"/kubepods/pod1/c/x"));
    let memcg = reports[0].victims[0].memcg.as_ref().expect("a path");
    assert!(memcg.is_cut);
}

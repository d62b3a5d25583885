use super::*;

const KILL: &str = "Out of memory: Killed process 7 (a) total-vm:8kB, anon-rss:4kB";

fn victims(log: &[u8], size: usize) -> Vec<u32> {
    let mut victims = Vec::new();
    let mut scanner = LogScanner::new();
    let mut done = |report: Report| victims.extend(report.victims.iter().map(|victim| victim.pid));
    for block in log.chunks(size) {
        scanner.feed(block, &mut done);
    }
    scanner.finish(&mut done);
    victims
}

#[test]
fn a_kill_is_found_among_other_lines_wherever_blocks_end() {
    let others = "kernel: device eth0 entered promiscuous mode\n".repeat(40);
    let log = format!("{others}{KILL}\n{others}");
    for size in 1..200 {
        assert_eq!(victims(log.as_bytes(), size), [7], "{size}");
    }
}

#[test]
fn the_last_line_need_not_end() {
    assert_eq!(victims(KILL.as_bytes(), 4096), [7]);
    assert_eq!(victims(format!("x\n{KILL}\r\n").as_bytes(), 4096), [7]);
}

#[test]
fn a_line_behind_a_hole_of_zeros_is_read() {
    let log = format!("{}{KILL}\n", "\0".repeat(5 * LINE_BYTES_MAX));
    for size in [100, 65536, 1 << 20] {
        assert_eq!(victims(log.as_bytes(), size), [7], "{size}");
    }
}

#[test]
fn a_line_that_is_too_long_is_cut_and_the_next_one_is_read() {
    let log = format!("oom{}\n{KILL}\n", "x".repeat(5 * LINE_BYTES_MAX));
    for size in [100, 65536, 1 << 20] {
        assert_eq!(victims(log.as_bytes(), size), [7], "{size}");
    }
}

#[test]
fn a_log_that_is_none_gives_nothing() {
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    assert_eq!(victims(&binary, 4096), Vec::<u32>::new());
    let utf16: Vec<u8> = KILL.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(victims(&utf16, 4096), Vec::<u32>::new());
    assert_eq!(victims(b"", 1), Vec::<u32>::new());
}

#[test]
fn every_line_with_which_a_report_begins_has_one_of_the_words() {
    for line in [
        "a invoked oom-killer: gfp_mask=0x1, order=0, oom_score_adj=0",
        "Task in /a killed as a result of limit of /a",
        "Memory cgroup stats for /a:",
        "[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name",
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null)",
        "Memory cgroup out of memory: Kill process 7 (a) score 5 or sacrifice child",
        "Killed process 7 (a) total-vm:8kB",
        "Kill process 7 (a) sharing same memory",
        "Tasks in /a are going to be killed due to memory.oom.group set",
        "oom_reaper: reaped process 7 (a), now anon-rss:0kB",
        "Out of memory: OOM victim 7 (a) is already exiting. Skip killing the task",
        "Out of memory and no killable processes...",
        "oom_kill_process: 5 callbacks suppressed",
        "sysrq: Manual OOM execution",
        "Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled",
    ] {
        assert!(crate::oom::Part::of(line.as_bytes()).is_some(), "{line}");
        let has_word = |word: &&[u8]| memchr::memmem::find(line.as_bytes(), word).is_some();
        let is_after_another = line.starts_with("Kill process 7 (a) sharing");
        assert!(WORDS.iter().any(has_word) || is_after_another, "{line}");
    }
}

/// No kernel's table begins without one of the words; somebody's log may.
#[test]
fn where_a_block_ends_decides_nothing() {
    let log = format!(
        "[    1.5] [ pid ] uid rss name\n[    1.5] [    7]     0    50 a\n[    1.6] {KILL}\n[    9.5] {}oom\n[    9.6] [ pid ] uid rss name\n",
        "[ pid ] uid rss name ".repeat(LINE_BYTES_MAX / 16)
    );
    let read = |size: usize| {
        let (mut reports, mut scanner) = (Vec::new(), LogScanner::new());
        for block in log.as_bytes().chunks(size) {
            scanner.feed(block, &mut |report| reports.push(report));
        }
        scanner.finish(&mut |report| reports.push(report));
        reports
    };
    let whole = read(log.len());
    assert_eq!(whole.iter().flat_map(|report| &report.victims).count(), 1);
    for size in [1, 33, 4096] {
        assert_eq!(read(size), whole, "{size}");
    }
}

#[test]
fn lines_end_as_they_do_elsewhere() {
    let other = "x".repeat(3 * LINE_BYTES_MAX);
    for end in ["\r", "\r\n", "\n\r", "\r\r\n"] {
        let log = format!(
            "{other}{end}[    1.5] {KILL}{end}{other}{end}[    9.5] {}{end}",
            KILL.replace('7', "8")
        );
        for size in [1, 100, 1 << 20] {
            assert_eq!(victims(log.as_bytes(), size), [7, 8], "{end:?} {size}");
        }
    }
}

#[test]
fn of_several_kills_in_one_line_one_is_read_and_the_others_are_told_as_not_read() {
    let mut scanner = LogScanner::new();
    let mut victims = Vec::new();
    let log = format!("[[\"1\",\"{KILL}\"],[\"2\",\"{}\"]]\n", KILL.replace('7', "8"));
    scanner.feed(log.as_bytes(), &mut |report| victims.extend(report.victims));
    scanner.finish(&mut |report| victims.extend(report.victims));
    assert_eq!(victims.iter().map(|victim| victim.pid).collect::<Vec<_>>(), [7]);
    assert_eq!(scanner.unread().lines, 1);
}

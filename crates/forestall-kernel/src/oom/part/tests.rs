use super::*;

fn part(text: &str) -> Option<Part<'_>> {
    Part::of(text.as_bytes())
}

#[test]
fn the_words_of_a_limit_in_a_cgroups_name_name_no_other_pod() {
    let name = "/kubepods/pod1/c/x killed as a result of limit of /kubepods/pod2/d";
    let text = format!("Task in {name} killed as a result of limit of {name}");
    assert_eq!(
        part(&text),
        Some(Part::LimitLine {
            task: name.as_bytes(),
            limit: name.as_bytes(),
        })
    );
}

#[test]
fn headers_of_every_age_are_read() {
    let read = |text: &'static str| match part(text) {
        Some(Part::Header(header)) => header,
        other => panic!("{text}: {other:?}"),
    };
    let oldest = read("JIT Compilation invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=-998");
    assert_eq!(
        (oldest.comm, oldest.gfp_mask, oldest.gfp),
        (&b"JIT Compilation"[..], 0xd0, &b""[..])
    );
    assert_eq!((oldest.nodemask, oldest.order, oldest.adj), (None, 0, Some(-998)));
    let middle = read(
        "mem invoked oom-killer: gfp_mask=0x14200ca(GFP_HIGHUSER_MOVABLE), nodemask=0,2,  order=9, oom_score_adj=0",
    );
    assert_eq!(
        (middle.gfp, middle.nodemask),
        (&b"GFP_HIGHUSER_MOVABLE"[..], Some(&b"0,2"[..]))
    );
    assert_eq!(middle.order, 9);
    let all =
        read("a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), nodemask=(null),  order=-1, oom_score_adj=0");
    assert_eq!((all.nodemask, all.order), (None, -1));
}

#[test]
fn a_name_that_looks_like_a_line_is_a_name() {
    for comm in [
        "Mem-Info:",
        "[pid] name",
        "Killed process ",
        "CPU: 1 PID: 2",
        "oom-kill:",
        "Task in ",
    ] {
        let text = format!("{comm} invoked oom-killer: gfp_mask=0x1(A), order=0, oom_score_adj=5");
        match part(&text) {
            Some(Part::Header(header)) => assert_eq!(header.comm, comm.as_bytes()),
            other => panic!("{comm}: {other:?}"),
        }
    }
}

#[test]
fn lines_about_cgroups_are_read() {
    assert_eq!(
        part("Task in /a/b c killed as a result of limit of /a"),
        Some(Part::LimitLine {
            task: b"/a/b c",
            limit: b"/a"
        })
    );
    assert_eq!(
        part("Memory cgroup stats for /a:b: cache:0KB rss:4KB"),
        Some(Part::StatsOf {
            path: b"/a:b",
            figures: b" cache:0KB rss:4KB"
        })
    );
    assert_eq!(
        part("Memory cgroup stats for /x.slice:cri-containerd:0af:"),
        Some(Part::StatsOf {
            path: b"/x.slice:cri-containerd:0af",
            figures: b""
        })
    );
    assert_eq!(
        part("Tasks in /test1 are going to be killed due to memory.oom.group set"),
        Some(Part::Group { path: b"/test1" })
    );
    assert_eq!(
        part("x y cpuset=a b mems_allowed=0-1,4"),
        Some(Part::Cpuset {
            comm: b"x y",
            cpuset: b"a b",
            mems_allowed: b"0-1,4"
        })
    );
    assert_eq!(part("memory: usage 1kB, limit 2kB, failcnt 3"), Some(Part::Usage));
    assert_eq!(part("memory: usage 1kB"), None);
}

#[test]
fn lines_about_processes_are_read() {
    assert_eq!(
        part("CPU: 0 UID: 0 PID: 211 Comm: a) (b Not tainted 6.12"),
        Some(Part::Banner {
            pid: 211,
            comm_and_more: b"a) (b Not tainted 6.12"
        })
    );
    assert_eq!(
        part("Memory cgroup out of memory: Kill process 12 (a) score 5) score 0 or sacrifice child"),
        Some(Part::Chosen {
            is_cgroups: true,
            pid: 12,
            comm: b"a) score 5"
        })
    );
    assert_eq!(
        part("Kill process 13 (b) sharing same memory"),
        Some(Part::SharesMemory { pid: 13, comm: b"b" })
    );
    assert_eq!(
        part("oom_reaper: reaped process 8 (a) b), now anon-rss:4kB, file-rss:0kB, shmem-rss:0kB"),
        Some(Part::Reaped {
            pid: 8,
            comm: b"a) b",
            anon: Some(4096)
        })
    );
    assert_eq!(
        part("oom_reaper: unable to reap pid:9 (c)"),
        Some(Part::ReapFailed { pid: 9, comm: b"c" })
    );
    assert_eq!(
        part("Out of memory: OOM victim 9 (c) is already exiting. Skip killing the task"),
        Some(Part::Exiting { pid: 9, comm: b"c" })
    );
}

#[test]
fn lines_of_few_words_are_read() {
    assert_eq!(
        part("Out of memory and no killable processes..."),
        Some(Part::NoKillable)
    );
    assert_eq!(
        part("oom_kill_process: 15 callbacks suppressed"),
        Some(Part::Suppressed { count: 15 })
    );
    assert_eq!(part("slab_out_of_memory: 72 callbacks suppressed"), None);
    for text in [
        "SysRq : Manual OOM execution",
        "sysrq: SysRq : Manual OOM execution",
        "sysrq: Manual OOM execution",
    ] {
        assert_eq!(part(text), Some(Part::Sysrq), "{text}");
    }
    assert_eq!(
        part("sysrq: OOM request ignored. No task eligible"),
        Some(Part::SysrqInVain)
    );
    assert_eq!(
        part("Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled"),
        Some(Part::Panic)
    );
    assert_eq!(part("Kernel panic - not syncing: Fatal exception"), None);
    assert_eq!(part("Mem-Info:"), Some(Part::MemInfo));
}

#[test]
fn other_lines_are_nothing() {
    for text in [
        "",
        "anon 4096",
        "[  12] 0 12 1 1 a",
        "Call Trace:",
        "oom_reaper: started",
        "CPU: 1 not synced",
    ] {
        assert_eq!(part(text), None, "{text}");
    }
}

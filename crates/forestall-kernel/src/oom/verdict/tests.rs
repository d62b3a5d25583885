use super::*;

const MEMCG: &str = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=c.scope,mems_allowed=0-1,4,\
                     oom_memcg=/kubepods/pod1,task_memcg=/kubepods/pod1/c,task=java,pid=7134,uid=1000";

#[test]
fn a_cgroups_verdict_is_read() {
    let found = Verdict::parse(MEMCG.as_bytes()).expect("a verdict");
    let expected = Verdict {
        constraint: b"CONSTRAINT_MEMCG",
        nodemask: None,
        cpuset: Some(b"c.scope"),
        mems_allowed: Some(b"0-1,4"),
        is_global: false,
        oom_memcg: Some(b"/kubepods/pod1"),
        task_memcg: Some(b"/kubepods/pod1/c"),
        comm: Some(b"java"),
        pid: Some(7134),
        uid: Some(1000),
        is_whole: true,
    };
    assert_eq!(found, expected);
}

#[test]
fn the_machines_verdict_is_read_and_its_constraint_is_an_open_set() {
    let text = b"oom-kill:constraint=CONSTRAINT_NEW,nodemask=0,2,cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task=a,pid=1,uid=0";
    let found = Verdict::parse(text).expect("a verdict");
    assert_eq!(
        (found.constraint, found.is_global),
        (&b"CONSTRAINT_NEW"[..], true)
    );
    assert_eq!((found.nodemask, found.oom_memcg), (Some(&b"0,2"[..]), None));
    assert_eq!(
        (found.task_memcg, found.mems_allowed),
        (Some(&b"/"[..]), Some(&b"0"[..]))
    );
}

#[test]
fn no_name_moves_the_fields_around_it() {
    for comm in [
        "a) (b,pid=1,c\\",
        "x\ny\t\u{e9} z",
        ",pid=1,uid=0",
        ",task=x,pid=1",
        "",
        "=",
        ",uid=9",
    ] {
        let text = MEMCG.replace("task=java", &format!("task={comm}"));
        let found = Verdict::parse(text.as_bytes()).expect("a verdict");
        assert_eq!(found.comm, Some(comm.as_bytes()), "{comm:?}");
        assert_eq!((found.pid, found.uid), (Some(7134), Some(1000)), "{comm:?}");
        assert_eq!(found.task_memcg, Some(&b"/kubepods/pod1/c"[..]), "{comm:?}");
    }
}

#[test]
fn a_mark_in_a_cgroups_name_is_the_cgroups() {
    let path = "/a,task=x,pid=1,uid=0/a-name-that-is-long-enough";
    let text = MEMCG.replace("/kubepods/pod1/c", path);
    let found = Verdict::parse(text.as_bytes()).expect("a verdict");
    assert_eq!(
        (found.task_memcg, found.comm),
        (Some(path.as_bytes()), Some(&b"java"[..]))
    );
}

#[test]
fn another_pods_path_in_a_cgroups_name_is_not_the_victims() {
    // A container that may make cgroups below its own has made this one, and filled it.
    let limit = "/kubepods/pod1/c/x,task_memcg=/kubepods/pod2/d";
    let text = MEMCG
        .replace(
            "task_memcg=/kubepods/pod1/c",
            &format!("task_memcg={limit}/inner"),
        )
        .replace("oom_memcg=/kubepods/pod1,", &format!("oom_memcg={limit},"));
    for end in [text.len(), text.len() - 8] {
        let found = Verdict::parse(&text.as_bytes()[..end]).expect("a verdict");
        assert_eq!(found.oom_memcg, Some(limit.as_bytes()), "{end}");
        assert_eq!(
            found.task_memcg,
            Some(format!("{limit}/inner").as_bytes()),
            "{end}"
        );
    }
    // A cpuset's name, which has no slash in it, ends nothing either.
    let text = MEMCG.replace("cpuset=c.scope", "cpuset=x,task_memcg=y");
    let found = Verdict::parse(text.as_bytes()).expect("a verdict");
    assert_eq!(
        (found.oom_memcg, found.task_memcg),
        (Some(&b"/kubepods/pod1"[..]), Some(&b"/kubepods/pod1/c"[..]))
    );
}

#[test]
fn wherever_the_line_is_cut_what_is_there_is_right() {
    let whole = Verdict::parse(MEMCG.as_bytes()).expect("a verdict");
    for end in START.len()..MEMCG.len() - 4 {
        let found = Verdict::parse(&MEMCG.as_bytes()[..end]).expect("a verdict");
        assert!(!found.is_whole, "{end}");
        assert_eq!((found.pid, found.uid, found.comm), (None, None, None), "{end}");
        if let Some(limit) = found.oom_memcg
            && !found.is_limit_cut()
        {
            assert_eq!(Some(limit), whole.oom_memcg, "{end}");
        }
        assert!(
            found
                .oom_memcg
                .is_none_or(|limit| b"/kubepods/pod1".starts_with(limit)),
            "{end}"
        );
        assert!(
            found
                .task_memcg
                .is_none_or(|path| b"/kubepods/pod1/c,task".starts_with(path)),
            "{end}"
        );
    }
}

#[test]
fn other_lines_are_none() {
    assert_eq!(Verdict::parse(b" oom-kill:constraint=X"), None);
    assert_eq!(Verdict::parse(b"oom-kill:"), None);
}

#[test]
fn a_number_that_no_process_has_names_nobody() {
    let text = b"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,task=x,pid=99999999999999999999999,uid=0";
    let verdict = Verdict::parse(text).expect("a verdict");
    assert_eq!((verdict.pid, verdict.is_whole), (None, false));
    assert_eq!(verdict.oom_memcg, Some(&b"/a"[..]));
}

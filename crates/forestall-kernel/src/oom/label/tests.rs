use super::*;

const KILL: &str = "Out of memory: Killed process 7 (a) total-vm:8kB, anon-rss:4kB";

fn passed(line: &str) -> Option<(String, When, Origin)> {
    let read = Line::of_text(line.as_bytes());
    let line = pass(&read)?;
    assert!(!line.is_bare && line.behind == Behind::Unknown);
    Some((
        String::from_utf8_lossy(line.text).into_owned(),
        line.when,
        line.origin,
    ))
}

#[test]
fn whatever_stands_before_the_kernels_words_is_passed_over() {
    // stern, klog, grep's without a dot, promtail, logcli's columns, a field of JSON.
    for prefix in [
        "web-7d9f app ",
        "shop web-7d9f app ",
        "E1122 12:00:00.123456    1234 file.go:12] ",
        "messages:",
        "2026-11-22T10:00:00Z\t{filename=\"/var/log/kern.log\"}\t",
        "{app=\"x\",pod=\"y\"} ",
        "level=info msg=\"",
        "host -> ",
    ] {
        for stamp in ["", "[    1.500000] "] {
            let (text, when, origin) = passed(&format!("{prefix}{stamp}{KILL}")).expect(prefix);
            assert_eq!((text.as_str(), origin), (KILL, Origin::Unsaid), "{prefix}{stamp}");
            assert_eq!(when.micros, (!stamp.is_empty()).then_some(1_500_000), "{prefix}");
        }
        let (text, when, _) = passed(&format!("{prefix}[    1.500000] anon 4096")).expect(prefix);
        assert_eq!(
            (text.as_str(), when.micros),
            ("anon 4096", Some(1_500_000)),
            "{prefix}"
        );
    }
}

#[test]
fn a_time_in_it_is_the_lines_where_it_has_no_other() {
    // date -u -d 2026-11-22T12:00:00Z +%s is 1795348800.
    for prefix in [
        "E1122 12:00:00.250000    1234 file.go:12] ",
        "pod 2026-11-22T12:00:00.25Z app ",
        "2026-11-22T12:00:00.25Z app ",
    ] {
        let (_, when, _) = passed(&format!("{prefix}{KILL}")).expect(prefix);
        let micros = when.calendar.and_then(|calendar| calendar.unix_micros(2026, 0));
        assert_eq!(micros, Some(1_795_348_800_250_000), "{prefix}");
    }
}

#[test]
fn who_spoke_is_still_heard_behind_it() {
    let (_, _, origin) = passed(&format!("messages:Nov 22 10:00:00 host app[3]: {KILL}")).expect("a label");
    assert_eq!(origin, Origin::Other);
    let (_, _, origin) = passed(&format!("messages:Nov 22 10:00:00 host kernel: {KILL}")).expect("a label");
    assert_eq!(origin, Origin::Kernel);
}

#[test]
fn a_quoted_text_ends_where_its_quotation_does() {
    let verdict = "oom-kill:constraint=CONSTRAINT_NONE,task=a\\\"b,pid=7,uid=0";
    let (text, ..) = passed(&format!("msg=\"{verdict}\" level=info")).expect("a label");
    assert_eq!(text, verdict);
}

#[test]
fn of_a_header_without_a_stamp_the_last_word_is_the_name() {
    let (text, ..) =
        passed("web-7d9f-abc app java invoked oom-killer: gfp_mask=0x1, order=0").expect("a label");
    assert_eq!(text, "java invoked oom-killer: gfp_mask=0x1, order=0");
    // A process may have blanks in its name.
    assert_eq!(
        passed("JIT compilation invoked oom-killer: gfp_mask=0x1, order=0"),
        None
    );
}

#[test]
fn what_the_kernel_begins_with_is_no_label() {
    for line in [
        KILL.to_owned(),
        // A name of a process, with what looks like a line in it.
        "[   12]     0    12  1 1 1 0 0 a[ 1.5] b".to_owned(),
        "Killed process 7 (a: [ 1.5] Out of memory) total-vm:8kB".to_owned(),
        format!("[    1.5] app: {KILL}"),
        format!("Nov 22 10:00:00 host app[3]: x {KILL}"),
        // Below a stamp's width stands what follows a newline within the kernel's own line.
        format!("               b {KILL}"),
        "took 12.5 s".to_owned(),
        String::new(),
    ] {
        assert_eq!(passed(&line), None, "{line}");
    }
}

#[test]
fn several_lines_in_one_text_are_lines() {
    let line = br#"time="T" msg="[    1.5] a\n[    1.5] b \"c\" \\\nd\n[    1.6] e" level=info"#;
    let read = Line::of_text(line);
    let mut told = Vec::new();
    pieces(&read, &mut |piece| {
        told.push((String::from_utf8_lossy(piece.text).into_owned(), piece.behind));
    });
    let expected = [r"a", r#"b \"c\" \\\nd"#, "e"];
    assert_eq!(told, expected.map(|text| (text.to_owned(), Behind::Unknown)));
}

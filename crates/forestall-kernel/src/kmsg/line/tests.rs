use super::*;
use crate::kmsg::Caller;

const KILL: &str = "Killed process 7 (a) total-vm:1kB";

/// What is read from a line that ends in [`KILL`].
fn read(prefix: &str) -> (Origin, Option<u64>, bool) {
    let line = format!("{prefix}{KILL}");
    let read = Line::of_text(line.as_bytes());
    assert_eq!(read.text, KILL.as_bytes(), "{prefix}");
    assert!(!read.is_bare, "{prefix}");
    (read.origin, read.when.micros, read.when.calendar.is_some())
}

#[test]
fn what_carried_a_containers_output_gives_way_too() {
    use Origin::{Kernel, Unsaid};
    let boot = Some(5_193_605_506_728);
    let stamp = "[5193605.506728] ";
    for carrier in [
        "[pod/debug-7/shell] ",
        "2024-05-01T12:00:00.123456789Z stdout F ",
        "2024-05-01T12:00:00.123456789+02:00 stderr P ",
        "[pod/debug-7/shell] 2024-05-01T12:00:00.123456789Z stdout F ",
        "2024-05-01T12:00:00Z {app=\"dmesg\", node=\"n-1\"} ",
        "2024-05-01T12:00:00Z {app=\"dmesg\"}         ",
        "shell-1  | ",
    ] {
        assert_eq!(
            read(&format!("{carrier}{stamp}")),
            (Unsaid, boot, false),
            "{carrier}"
        );
        let syslog = format!("{carrier}Feb 20 08:18:28 host kernel: {stamp}");
        assert_eq!(read(&syslog), (Kernel, boot, true), "{carrier}");
    }
    // Without a time of its own it has the carrier's.
    let line = Line::of_text(b"2024-05-01T12:00:00Z stdout F Killed process 7 (a) total-vm:1kB");
    assert_eq!((line.text, line.when.calendar.is_some()), (KILL.as_bytes(), true));
    // Whatever merely looks like one is text.
    for text in [
        "[pod/a b] x",
        "[pod/a",
        "2024-05-01T12:00:00Z {x} y",
        "a |b",
        "| b",
    ] {
        assert!(carrier_of(text).is_none(), "{text}");
    }
}

fn carrier_of(text: &str) -> Option<(Option<crate::kmsg::Calendar>, &[u8])> {
    crate::kmsg::carrier::peel(text.as_bytes())
}

#[test]
fn each_form_gives_way_to_the_text() {
    use Origin::{Kernel, Other, Unsaid};
    let boot = Some(5_193_605_506_728);
    for (prefix, expected) in [
        ("[5193605.506728] ", (Unsaid, boot, false)),
        ("5193605.506728] ", (Unsaid, boot, false)),
        ("[    1.500000] ", (Unsaid, Some(1_500_000), false)),
        ("[    1.500000][  T77] ", (Unsaid, Some(1_500_000), false)),
        ("[    1.500000 <    0.000012>] ", (Unsaid, Some(1_500_000), false)),
        ("[Wed Dec  6 23:54:11 2017] ", (Unsaid, None, true)),
        ("[May14 23:17] ", (Unsaid, None, false)),
        ("[  +0.000005] ", (Unsaid, None, false)),
        ("<3>[    1.500000] ", (Kernel, Some(1_500_000), false)),
        ("<12>[    1.500000] ", (Other, Some(1_500_000), false)),
        ("kern  :err   : [    1.500000] ", (Kernel, Some(1_500_000), false)),
        ("user  :err   : [    1.500000] ", (Other, Some(1_500_000), false)),
        (
            "kern:     err: [2026-01-12T20:27:31.913975631Z]: ",
            (Kernel, None, true),
        ),
        (
            "user: warning: [2026-01-12T20:27:31.913975631Z]: ",
            (Other, None, true),
        ),
        (
            "192.168.1.21: kern:    info: [2026-01-12T20:27:31.913975631Z]: ",
            (Kernel, None, true),
        ),
        (
            "node_name: user: warning: [2026-01-12T20:27:31.913975631Z]: ",
            (Other, None, true),
        ),
        (
            "Feb 20 08:18:28 host kernel: [5193605.506728] ",
            (Kernel, boot, true),
        ),
        ("Feb 20 08:18:28 host kernel: ", (Kernel, None, true)),
        ("Feb 20 08:18:28.123456 host kernel: ", (Kernel, None, true)),
        ("Feb 20 08:18:28 host kubelet[812]: ", (Other, None, true)),
        (
            "2024-05-01T12:00:00.123456+02:00 host kernel: [5193605.506728] ",
            (Kernel, boot, true),
        ),
        ("2024-05-01T12:00:00+0000 host kernel: ", (Kernel, None, true)),
        ("2024-05-01T12:00:00,123456+00:00 ", (Unsaid, None, true)),
        ("Wed 2024-05-01 12:00:00 UTC host kernel: ", (Kernel, None, true)),
        ("Wed 2024-05-01 12:00:00 CEST host kernel: ", (Kernel, None, true)),
        (
            "Feb 20 08:18:28 host kern.err kernel: [    1.500000] ",
            (Kernel, Some(1_500_000), true),
        ),
        (
            "<3>1 2024-05-01T12:00:00.123456+02:00 host kernel - - - [    1.500000] ",
            (Kernel, Some(1_500_000), true),
        ),
        (
            "<11>1 2024-05-01T12:00:00.123456+02:00 host kernel - - - ",
            (Other, None, true),
        ),
        ("Mai 01 12:00:00 host kernel: ", (Kernel, None, false)),
        ("févr. 01 12:00:00 host kernel: ", (Kernel, None, false)),
        (
            " 5月 01 12:00:00.123456 host kernel: [    1.500000] ",
            (Kernel, Some(1_500_000), false),
        ),
        ("Mai 01 12:00:00 host kubelet[812]: ", (Other, None, false)),
        ("> [    1.500000] ", (Unsaid, Some(1_500_000), false)),
        ("> Feb 20 08:18:28 host kernel: ", (Kernel, None, true)),
        ("17:[    1.500000] ", (Unsaid, Some(1_500_000), false)),
        (
            "/var/log/kern.log:Feb 20 08:18:28 host kernel: ",
            (Kernel, None, true),
        ),
        (
            "kern.log.1:17:Feb 20 08:18:28 host kubelet[812]: ",
            (Other, None, true),
        ),
        ("kernel: [    1.500000] ", (Kernel, Some(1_500_000), false)),
        ("node-1 kernel: ", (Kernel, None, false)),
        ("Feb 20 08:18:28 kernel: ", (Kernel, None, true)),
        (
            "Thu May  2 12:00:00 2024 kern.err kernel: [    1.500000] ",
            (Kernel, Some(1_500_000), true),
        ),
        (
            "2024-05-01T12:00:00.123456789Z [    1.500000] ",
            (Unsaid, Some(1_500_000), true),
        ),
        ("1700000000.123456 host kernel: ", (Kernel, None, false)),
        ("[ 5193605.506728] host kernel: ", (Kernel, boot, false)),
        ("4,412,2824452,-;", (Kernel, Some(2_824_452), false)),
        ("12,412,2824452,-;", (Other, Some(2_824_452), false)),
        (
            "22m   Warning   OOMKilling   node/aks-0   ",
            (Unsaid, None, false),
        ),
    ] {
        assert_eq!(read(prefix), expected, "{prefix}");
    }
}

#[test]
fn text_alone_is_bare_and_whole() {
    for text in [
        KILL,
        "[  156]     0   156     4363     4238    69632        0           987 stress",
        "[ pid ]   uid  tgid total_vm      rss name",
        " [<ffffffff8163515c>] dump_stack+0x19/0x1b",
        "kern: no stamp follows",
        "<6 no priority",
        "> no stamp follows",
        "app: [    1.500000] Killed process 7 (a) total-vm:1kB",
        "17: no stamp follows",
        "Feb 20 08:18 host kernel: x",
        "",
    ] {
        let read = Line::of_text(text.as_bytes());
        assert_eq!((read.text, read.is_bare), (text.as_bytes(), true), "{text}");
        assert_eq!(
            (read.origin, read.when),
            (Origin::Unsaid, When::default()),
            "{text}"
        );
    }
}

#[test]
fn a_row_keeps_its_brackets_behind_a_stamp() {
    let read = Line::of_text(b"[ 7753.023634] [ 184245]     0 184245 conmon\r");
    assert_eq!(read.text, b"[ 184245]     0 184245 conmon");
    assert_eq!(read.caller, None);
}

#[test]
fn the_caller_is_taken_from_both_forms() {
    let record = Line::of_text(b"3,1,2,-,caller=T77;x");
    let text = Line::of_text(b"[    1.500000][   C2] x");
    assert_eq!(record.caller, Some(Caller::Task(77)));
    assert_eq!(text.caller, Some(Caller::Processor(2)));
    assert!(record.is_escaped && !text.is_escaped);
}

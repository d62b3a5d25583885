//! What holds of the parsers for every input: they never panic, they read back what the kernel's formats render, and what
//! they do not know changes nothing.

use std::fmt::Write as _;

use forestall_kernel::parse::{
    Limit, Meminfo, MemoryEvents, MemoryStat, Pressure, ProcStat, ProcStatus, Swaps, Vmstat, Zoneinfo,
    count_cpus, lru_gen_enabled, memberships, memory_path, mounts, signed, unescape, unsigned,
};
use proptest::prelude::*;

/// Bytes that look like the kernel's: words from its files, numbers and separators, in any order.
fn kernel_like() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        proptest::sample::select(vec![
            "MemTotal:",
            "kB",
            "some",
            "full",
            "avg10=",
            "total=",
            "Node 0, zone",
            "pages free",
            "min",
            "high",
            "managed",
            "Name:",
            "Uid:",
            "NSpid:",
            "0::/",
            "max",
            "0x",
            "/dev/zram0",
            "partition",
            " - ",
            "\\040",
            "(",
            ")",
            "-",
            ",",
            ":",
            ".",
            "\n",
            "\t",
            " ",
            "\0",
            "total_",
            "anon",
            "workingset_refault_file",
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
        any::<u64>().prop_map(|number| number.to_string().into_bytes()),
        Just(b"99999999999999999999999999".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

fn parse_with_everything(content: &[u8]) {
    let _ = (
        Meminfo::parse(content),
        MemoryStat::parse_v1(content),
        MemoryStat::parse_v2(content),
    );
    let _ = (
        MemoryEvents::parse(content),
        Pressure::parse(content),
        Vmstat::parse(content),
    );
    let _ = (
        Zoneinfo::parse(content, u64::MAX),
        Swaps::parse(content),
        Limit::parse(content),
    );
    let _ = (
        ProcStat::parse(content),
        ProcStatus::parse(content).unreclaimable(),
    );
    let _ = (
        lru_gen_enabled(content),
        count_cpus(content),
        unsigned(content),
        signed(content),
    );
    let _ = (
        memberships(content).count(),
        memory_path(content),
        unescape(content).count(),
    );
    for mount in mounts(content) {
        let _ = (mount.is_read_only(), mount.has_super_option(b"memory"));
    }
}

/// The kernel's escaping (`mangle_path`), written from its documentation and apart from the parser.
fn escape(name: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::new();
    for byte in name {
        if b" \t\n\\#".contains(byte) {
            escaped.extend_from_slice(format!("\\{byte:03o}").as_bytes());
        } else {
            escaped.push(*byte);
        }
    }
    escaped
}

proptest! {
    // Failures are kept as tests of their own and not as a file of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(content in proptest::collection::vec(any::<u8>(), 0..400)) {
        parse_with_everything(&content);
    }

    #[test]
    fn bytes_that_look_right_are_survived(content in kernel_like()) {
        parse_with_everything(&content);
    }

    #[test]
    fn a_number_is_read_back(value in any::<u64>(), negative in any::<i64>()) {
        prop_assert_eq!(unsigned(value.to_string().as_bytes()), Some(value));
        prop_assert_eq!(signed(negative.to_string().as_bytes()), Some(negative));
    }

    #[test]
    fn meminfo_is_read_back_in_any_order_among_unknown_lines(
        total in 0..1_u64 << 50,
        available in proptest::option::of(0..1_u64 << 50),
        shmem in 0..1_u64 << 50,
        shuffled in Just(vec![0, 1, 2, 3, 4]).prop_shuffle(),
    ) {
        let mut content = String::new();
        for line in shuffled {
            match line {
                0 => writeln!(content, "MemTotal:       {total:8} kB"),
                1 => available.map_or(Ok(()), |kib| writeln!(content, "MemAvailable:   {kib:8} kB")),
                2 => writeln!(content, "Shmem:          {shmem:8} kB"),
                3 => writeln!(content, "ShmemHugePages: {total:8} kB"),
                _ => writeln!(content, "Of6_99:          x kB"),
            }.expect("strings grow");
        }
        let read = Meminfo::parse(content.as_bytes());
        prop_assert_eq!(read.total, total * 1024);
        prop_assert_eq!(read.available, available.map(|kib| kib * 1024));
        prop_assert_eq!(read.shmem, shmem * 1024);
        prop_assert_eq!(read.cached, 0);
    }

    #[test]
    fn memory_stat_keeps_v1_and_v2_apart(anon in any::<u64>(), file in any::<u64>(), own in any::<u64>()) {
        let v2 = MemoryStat::parse_v2(format!("anon {anon}\nfile {file}\ntotal_rss {own}\n").as_bytes());
        prop_assert_eq!((v2.anon, v2.file), (anon, file));
        let v1 = MemoryStat::parse_v1(
            format!("rss {own}\ncache {own}\ntotal_rss {anon}\ntotal_cache {file}\nanon {own}\n").as_bytes(),
        );
        prop_assert_eq!((v1.anon, v1.file), (anon, file));
    }

    #[test]
    fn pressure_is_read_back(avg in proptest::array::uniform3(0..=10_000_u32), total in any::<u64>()) {
        let [ten, sixty, five_minutes] = avg.map(|centi| format!("{}.{:02}", centi / 100, centi % 100));
        let content = format!("some avg10={ten} avg60={sixty} avg300={five_minutes} total={total}\n");
        let line = Pressure::parse(content.as_bytes()).some.expect("a whole line");
        prop_assert_eq!([line.avg10_centi, line.avg60_centi, line.avg300_centi], avg);
        prop_assert_eq!(line.total_micros, total);
    }

    #[test]
    fn no_name_moves_the_fields_behind_it(
        comm in proptest::collection::vec(any::<u8>(), 0..16),
        pid in any::<u32>(),
        parent in any::<u32>(),
        start in any::<u64>(),
    ) {
        let mut content = format!("{pid} (").into_bytes();
        content.extend_from_slice(&comm);
        content.extend_from_slice(
            format!(") R {parent} 1 1 0 -1 64 9 0 0 0 1 2 0 0 20 0 1 0 {start} 4096 17 184467\n").as_bytes(),
        );
        let read = ProcStat::parse(&content).expect("a whole line");
        prop_assert_eq!((read.pid, read.parent, read.start_ticks, read.rss_pages), (pid, parent, start, 17));
        prop_assert_eq!((read.comm, read.flags), (&comm[..], 64));
    }

    #[test]
    fn every_mount_point_is_read_back(name in proptest::collection::vec(1_u8.., 1..40)) {
        let mut content = b"60 27 0:24 / /".to_vec();
        content.extend_from_slice(&escape(&name));
        content.extend_from_slice(b" rw shared:1 - cgroup2 none rw\n");
        // Form feed and carriage return stand in names unescaped; only what the kernel escapes may end a word.
        let mount = mounts(&content).next().expect("one mount");
        let expected: Vec<u8> = [b"/", &name[..]].concat();
        prop_assert_eq!(unescape(mount.point).collect::<Vec<_>>(), expected);
        prop_assert_eq!(mount.kind, b"cgroup2");
    }

    #[test]
    fn limits_below_no_limit_are_read_back(bytes in 0..1_u64 << 62) {
        prop_assert_eq!(Limit::parse(format!("{bytes}\n").as_bytes()), Some(Limit::Bytes(bytes)));
    }
}

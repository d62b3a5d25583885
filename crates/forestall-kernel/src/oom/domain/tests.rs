use super::*;

#[test]
fn usage_lines_are_told_apart() {
    let mut domain = Domain::default();
    for line in [
        "memory: usage 16384kB, limit 16384kB, failcnt 8",
        "memory+swap: usage 4kB, limit 9007199254740988kB, failcnt 0",
        "swap: usage 0kB, limit 0kB, failcnt 1",
        "kmem: usage 48kB, limit 9007199254740988kB, failcnt 0",
    ] {
        assert!(domain.hear_usage(line.as_bytes()), "{line}");
    }
    let memory = Charge {
        usage: 16 << 20,
        limit: Limit::Bytes(16 << 20),
        failures: 8,
    };
    assert_eq!(domain.memory, Some(memory));
    assert_eq!(
        domain.memory_and_swap.map(|charge| charge.limit),
        Some(Limit::Max)
    );
    assert_eq!(domain.swap.map(|charge| charge.limit), Some(Limit::Bytes(0)));
    assert_eq!(domain.kernel, Some(48 << 10));
    assert!(!domain.hear_usage(b"hugetlb: usage 1kB, limit 1kB, failcnt 0"));
}

#[test]
fn the_parts_of_a_legacy_dump_add_up() {
    let mut domain = Domain::default();
    domain.hear_legacy_stats(b" cache:0KB rss:0KB shmem:0KB dirty:4KB swap:8KB");
    domain.hear_legacy_stats(
        b" cache:100KB rss:16KB rss_huge:8KB shmem:40KB dirty:0KB inactive_anon:7KB rss:x",
    );
    assert_eq!(
        (domain.anon, domain.file, domain.shmem),
        (Some(16 << 10), Some(60 << 10), Some(40 << 10))
    );
    assert_eq!(
        (domain.file_dirty, domain.swapped),
        (Some(4 << 10), Some(8 << 10))
    );
    // 3.10 has no word for shared memory.
    let mut oldest = Domain::default();
    oldest.hear_legacy_stats(b" cache:32KB rss:524188KB");
    assert_eq!((oldest.file, oldest.shmem), (Some(32 << 10), None));
}

#[test]
fn a_dump_in_one_record_and_one_of_a_record_a_key_give_the_same() {
    let text = b"anon 100\nfile 70\nkernel 30\nkernel_stack 3\npagetables 4\nshmem 20\nslab 9";
    let mut one = Domain::default();
    assert!(one.hear_stats(text));
    let mut many = Domain::default();
    for line in text.split(|byte| *byte == b'\n') {
        assert!(many.hear_stats(line));
    }
    assert_eq!(one, many);
    assert_eq!(
        (one.anon, one.file, one.shmem, one.kernel),
        (Some(100), Some(50), Some(20), Some(30))
    );
    assert!(!one.hear_stats(b"Memory cgroup min protection 0kB -- low protection 0kB"));
}

#[test]
fn the_last_figure_of_a_dump_that_may_be_cut_is_not_believed() {
    let mut text = b"anon 100\n".to_vec();
    while text.len() < CUT_BYTES_MIN {
        text.extend_from_slice(b"workingset_nodereclaim 0\n");
    }
    text.extend_from_slice(b"slab 12");
    let mut domain = Domain::default();
    domain.hear_stats(&text);
    assert_eq!((domain.anon, domain.slab), (Some(100), None));
}

#[test]
fn the_machines_pages_become_bytes_when_their_size_is_known() {
    let mut domain = Domain::default();
    let lists = "active_anon:1000 inactive_anon:200 isolated_anon:3\n active_file:50 inactive_file:6 isolated_file:0\n \
                 unevictable:7 dirty:0\n slab_reclaimable:11 slab_unreclaimable:12\n mapped:1 shmem:203 pagetables:13 \
                 bounce:0\n free:742 free_pcp:94";
    for line in [
        lists,
        "Node 0 active_anon:261868kB inactive_anon:336kB anon_thp: 0kB",
        "Node 0 DMA free:1184kB min:116kB",
        "Node 0 DMA: 0*4kB 0*8kB 1*32kB (M) = 1184kB",
        "Node 0 hugepages_total=0 hugepages_free=0",
        "Free swap  = 40kB",
        "Total swap = 80kB",
        "81790 pages RAM",
        "7105 pages reserved",
        "867 total pagecache pages",
    ] {
        domain.hear_machine(line.as_bytes());
    }
    assert_eq!(domain.page_bytes, Some(4096));
    assert_eq!(
        (domain.swap_free, domain.swap_total),
        (Some(40 << 10), Some(80 << 10))
    );
    let pages = domain.machine.expect("pages");
    assert_eq!((pages.anon_lists, pages.file_lists, pages.free), (1203, 56, 742));
    assert_eq!((pages.present, pages.reserved), (81790, 7105));
    domain.settle_machine(4096);
    assert_eq!((domain.anon, domain.shmem), (Some(1000 * 4096), Some(203 * 4096)));
    assert_eq!(
        (domain.file, domain.page_tables),
        (Some(56 * 4096), Some(13 * 4096))
    );
}

#[test]
fn slab_names_are_no_figures() {
    let mut domain = Domain::default();
    for line in [
        "Unreclaimable slab info:",
        "Name                      Used          Total",
        "RAWv6     30KB   30KB",
    ] {
        assert!(!domain.hear_machine(line.as_bytes()), "{line}");
    }
    assert_eq!(domain, Domain::default());
}

#[test]
fn a_figure_that_no_machine_has_is_none() {
    // 2^54 − 1 kB are a KiB less than 2^64 bytes, which is what is left of a counter that fell below 0.
    for usage_kb in ["18014398509481983", "99999999999999999999", "1125899906842624"] {
        let line = format!("memory: usage {usage_kb}kB, limit 18014398509481983kB, failcnt 1");
        assert_eq!(usage(line.as_bytes()), None, "{line}");
    }
    let (_, charge) =
        usage(b"memory: usage 1125899906842623kB, limit 18014398509481983kB, failcnt 1").expect("a line");
    assert_eq!((charge.usage, charge.limit.bytes()), ((1 << 60) - 1024, None));
}

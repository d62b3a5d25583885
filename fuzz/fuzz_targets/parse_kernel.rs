//! Every parser of the kernel's files over any bytes: none may panic, and what it borrows must lie in the input.

#![no_main]

use forestall_kernel::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    std::hint::black_box((
        parse::Meminfo::parse(content),
        parse::MemoryStat::parse_v1(content),
        parse::MemoryStat::parse_v2(content),
        parse::MemoryEvents::parse(content),
        parse::Pressure::parse(content),
        parse::Vmstat::parse(content),
        parse::Zoneinfo::parse(content, 65_536),
        parse::Swaps::parse(content),
        parse::ProcStatus::parse(content).unreclaimable(),
        parse::Limit::parse(content),
        parse::lru_gen_enabled(content),
        parse::count_cpus(content),
    ));
    if let Some(process) = parse::ProcStat::parse(content) {
        assert!(content.as_ptr_range().contains(&process.comm.as_ptr()));
    }
    for line in parse::memberships(content) {
        assert!(line.path.starts_with(b"/"));
    }
    for mount in parse::mounts(content) {
        assert!(parse::unescape(mount.point).count() <= mount.point.len());
    }
});

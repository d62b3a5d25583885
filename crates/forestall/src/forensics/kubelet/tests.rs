use super::*;

fn what(line: &str) -> Option<What> {
    read(line.as_bytes()).map(|deed| deed.what)
}

fn pod(name: &str, uid: Option<&str>) -> Pod {
    Pod {
        name: name.to_owned(),
        uid: uid.map(str::to_owned),
    }
}

const UID: &str = "0330b2c1-a15b-4cdd-b5e5-72d4a90bee82";
const TAG: &str = "May 28 16:05:50 node-1 kubelet[22693]: ";

/// The texts are those of the kubelet's source; the newer ones since 1.21, the older ones before.
#[test]
fn each_line_of_an_eviction_is_read() {
    let memory = || "memory".to_owned();
    let message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 81204Ki. Container web was using 900Mi, request is 0, has larger consumption of memory.";
    let told = |name: &str, uid| {
        Some(What::Message {
            pod: pod(name, uid),
            message: message.to_owned(),
        })
    };
    for (line, expected) in [
        (
            "I0528 16:05:50.514706   22693 eviction_manager.go:366] \"Eviction manager: attempting to reclaim\" resourceName=\"memory\"".to_owned(),
            Some(What::Short { resource: memory() }),
        ),
        (
            "W0110 14:41:08.646423   23589 eviction_manager.go:332] eviction manager: attempting to reclaim memory".to_owned(),
            Some(What::Short { resource: memory() }),
        ),
        (
            "I0528 16:05:50.514706   22693 eviction_manager.go:377] \"Eviction manager: must evict pod(s) to reclaim\" resourceName=\"memory\"".to_owned(),
            Some(What::MustEvict { resource: memory() }),
        ),
        (
            format!("I0528 16:05:50.6   22693 eviction_manager.go:601] \"Evicting pod\" pod=\"shop/cart-0\" podUID=\"{UID}\" message=\"{message} \""),
            told("shop/cart-0", Some(UID)),
        ),
        (
            format!("I0528 16:05:50.6   22693 event.go:307] \"Event occurred\" object=\"shop/cart-0\" fieldPath=\"\" kind=\"Pod\" type=\"Warning\" reason=\"Evicted\" message=\"{message} \""),
            told("shop/cart-0", None),
        ),
        (
            format!("I0222 21:48:12.045321    3709 server.go:691] Event(v1.ObjectReference{{Kind:\"Pod\", Namespace:\"shop\", Name:\"cart-0\", UID:\"{UID}\", APIVersion:\"v1\"}}): type: 'Warning' reason: 'Evicted' {message}"),
            told("shop/cart-0", Some(UID)),
        ),
        (
            format!("5m12s       Warning   Evicted   pod/cart-0   {message}"),
            told("cart-0", None),
        ),
        (
            format!("I0528 16:05:50.7   22693 kuberuntime_container.go:787] \"Killing container with a grace period override\" pod=\"shop/cart-0\" podUID=\"{UID}\" containerName=\"web\" containerID=\"containerd://62e04a72\" gracePeriod=1"),
            Some(What::Ends {
                pod: pod("shop/cart-0", Some(UID)),
                container: "web".to_owned(),
                id: Some("62e04a72".to_owned()),
                grace: Some(1),
            }),
        ),
        // 1.22 to 1.24 had no quotes around it.
        (
            format!("I0528 16:05:50.7   22693 kuberuntime_container.go:709] \"Killing container with a grace period\" pod=\"shop/cart-0\" podUID={UID} containerName=\"web\" containerID=\"containerd://62e04a72\" gracePeriod=30"),
            Some(What::Ends {
                pod: pod("shop/cart-0", Some(UID)),
                container: "web".to_owned(),
                id: Some("62e04a72".to_owned()),
                grace: Some(30),
            }),
        ),
        // Nobody waits for so long.
        (
            format!("I0528 16:05:50.7   22693 kuberuntime_container.go:709] \"Killing container with a grace period\" pod=\"shop/cart-0\" podUID=\"{UID}\" containerName=\"web\" containerID=\"containerd://62e04a72\" gracePeriod=9223372036854775807"),
            Some(What::Ends {
                pod: pod("shop/cart-0", Some(UID)),
                container: "web".to_owned(),
                id: Some("62e04a72".to_owned()),
                grace: None,
            }),
        ),
        // `killContainer` up to 1.18, and in 1.19 and 1.20.
        (
            "I0528 16:05:50.7   22693 kuberuntime_container.go:600] Killing container \"docker://62e04a72\" with 30 second grace period".to_owned(),
            Some(What::Ends {
                pod: Pod::default(),
                container: "62e04a72".to_owned(),
                id: Some("62e04a72".to_owned()),
                grace: Some(30),
            }),
        ),
        (
            "I0528 16:05:50.7   22693 kuberuntime_container.go:635] Killing container \"containerd://62e04a72\" with a 0 second grace period".to_owned(),
            Some(What::Ends {
                pod: Pod::default(),
                container: "62e04a72".to_owned(),
                id: Some("62e04a72".to_owned()),
                grace: Some(0),
            }),
        ),
        (
            "I0528 16:05:54.802914   22693 eviction_manager.go:627] \"Eviction manager: pod is evicted successfully\" pod=\"shop/cart-0\"".to_owned(),
            Some(What::Evicted {
                pod: pod("shop/cart-0", None),
            }),
        ),
        (
            format!("I0528 16:05:54.802914   22693 eviction_manager.go:578] eviction manager: pod cart-0_shop({UID}) is evicted successfully"),
            Some(What::Evicted {
                pod: pod("shop/cart-0", Some(UID)),
            }),
        ),
        (
            "E0528 16:05:54.802914   22693 eviction_manager.go:625] \"Eviction manager: pod failed to evict\" err=\"timeout\" pod=\"shop/cart-0\"".to_owned(),
            Some(What::Failed {
                pod: pod("shop/cart-0", None),
            }),
        ),
    ] {
        assert_eq!(what(&line), expected, "{line}");
        assert_eq!(what(&format!("{TAG}{line}")), expected, "{line}");
    }
}

#[test]
fn what_others_say_and_what_the_kernel_prints_is_no_deed_of_the_kubelets() {
    let klog = "I0528 16:05:50.5   22693 eviction_manager.go:366] \"Eviction manager: attempting to reclaim\" resourceName=\"memory\"";
    for line in [
        format!("May 28 16:05:50 node-1 kernel: {klog}"),
        format!("<4>[    1.500000] {klog}"),
        "the log says: Eviction manager: attempting to reclaim memory".to_owned(),
        "I0528 16:05:50.5   22693 eviction_manager.go:300] \"Eviction manager: synchronize housekeeping\""
            .to_owned(),
        "I0528 16:05:50.5   22693 x.go:3] \"Killing container with a grace period\" podUID=\"a\"".to_owned(),
        "viction manager: ".to_owned(),
        String::new(),
    ] {
        assert_eq!(what(&line), None, "{line}");
    }
}

#[test]
fn when_is_what_the_journal_or_else_klog_says() {
    let klog = "I0528 16:05:54.802914   22693 eviction_manager.go:627] \"Eviction manager: pod is evicted successfully\" pod=\"a/b\"";
    let micros = |line: &str| {
        let calendar = read(line.as_bytes()).expect("a deed").when.calendar;
        calendar.and_then(|calendar| calendar.unix_micros(2024, 0))
    };
    // date -u -d 2024-05-28T16:05:54Z +%s
    assert_eq!(micros(klog), Some(1_716_912_354_802_914));
    assert_eq!(micros(&format!("{TAG}{klog}")), Some(1_716_912_350_000_000));
    assert_eq!(micros(&klog.replace("I0528", "I9999")), None);
}

#[test]
fn where_blocks_end_decides_nothing_and_long_lines_are_cut() {
    let line = format!(
        "{TAG}I0528 16:05:54.8   22693 eviction_manager.go:627] \"Eviction manager: pod is evicted successfully\" pod=\"a/b\"\n"
    );
    let log = format!(
        "{line}x\n{line}{}viction manager: {line}",
        "y".repeat(3 * LINE_BYTES_MAX)
    );
    for size in [1, 77, log.len()] {
        let (mut watch, mut count) = (Watch::default(), 0);
        for block in log.as_bytes().chunks(size) {
            watch.feed(block, &mut |_| count += 1);
        }
        watch.finish(&mut |_| count += 1);
        assert_eq!(count, 2, "{size}");
    }
}

//! Who counts as innocent: whoever never holds more than it requests however it gets there, and nobody who follows one that does,
//! in whatever order they are written. Sums are made by hand.

use forestall_sim::{RunOptions, parse_scenario};

/// How many died in ten minutes, and how many of them innocently, on a node of 1,000 MiB that a process of its own fills at 10 MiB/s.
fn deaths(pod: &str, containers: &str) -> (u64, u64) {
    let text = format!(
        "title: blame\nduration: 2m\nnodes:\n  - name: a\n    memory: 1000Mi\n    host: [{{ name: daemon, oomScoreAdj: -1000, base: 100Mi, \
         load: {{ leak: {{ rate: 10Mi/s }} }} }}]\npods:\n  - name: p\n    node: 0\n{pod}    containers:\n{containers}"
    );
    let world = parse_scenario(&text).expect("fine").world;
    let report = world
        .run(RunOptions::default(), &mut |_| ())
        .expect("a sound world");
    (report.tally.deaths(), report.tally.innocent)
}

fn is_innocent(pod: &str, containers: &str) -> bool {
    let (all, innocent) = deaths(pod, containers);
    assert!(
        all > 0 && (innocent == 0 || innocent == all),
        "{innocent} of {all}"
    );
    innocent > 0
}

fn one(request: u64, load: &str) -> String {
    format!("      - {{ name: c, request: {request}Mi, base: 50Mi, load: {{ {load} }} }}\n")
}

#[test]
fn whoever_stops_within_its_request_is_innocent_however_it_grew() {
    for (load, most) in [
        ("leak: { rate: 50Mi/s, total: 150Mi }", 200),
        // Two blocks and a half are three.
        ("steps: { block: 50Mi, interval: 1s, total: 125Mi }", 200),
        ("burst: { size: 150Mi, rise: 1s, hold: 2s, every: 5s }", 200),
    ] {
        assert!(is_innocent("", &one(most, load)), "{load}");
        assert!(!is_innocent("", &one(most - 1, load)), "{load}");
    }
    // Without end it goes beyond any request.
    assert!(!is_innocent("", &one(900, "leak: { rate: 1Mi/s }")));
    // Who takes nothing by itself is innocent whatever it holds.
    assert!(is_innocent("", &one(0, "periodic: { size: 100Mi, period: 10s }")));
    // What outlives each restart is filled anew beside what was there.
    let volume = one(200, "leak: { rate: 50Mi/s, total: 150Mi, of: shmem }");
    assert!(is_innocent("", &volume));
    assert!(!is_innocent("", &volume.replace("base:", "volume: true, base:")));
}

#[test]
fn what_a_pod_requests_is_shared_by_its_containers() {
    let load = "leak: { rate: 50Mi/s, total: 150Mi }";
    let two = one(120, load) + "      - { name: d, request: 80Mi, base: 60Mi }\n";
    // 200 MiB and 60.
    assert!(!is_innocent("", &two));
    assert!(!is_innocent("    request: 259Mi\n", &two));
    assert!(is_innocent("    request: 260Mi\n", &two));
}

#[test]
fn whoever_follows_bears_the_blame_of_the_last_in_the_row_in_any_order() {
    let follower = |name, of| {
        format!(
            "      - {{ name: {name}, request: 300Mi, load: {{ follow: {{ container: {of}, share: 50% }} }} }}\n"
        )
    };
    let leader = |total| {
        format!(
            "      - {{ name: c, request: 200Mi, base: 50Mi, load: {{ leak: {{ rate: 20Mi/s, total: {total}Mi }} }} }}\n"
        )
    };
    let row = |total| [leader(total), follower("b", "c"), follower("a", "b")];
    for (total, innocent) in [(150, true), (1500, false)] {
        let [first, second, third] = row(total);
        for rows in [
            [&first, &second, &third],
            [&third, &second, &first],
            [&second, &third, &first],
        ] {
            let rows: String = rows.into_iter().map(String::as_str).collect();
            assert_eq!(is_innocent("", &rows), innocent, "{rows}");
        }
    }
    // Processes of a host follow one another, too: of two it is the follower that can be killed.
    let text = "title: blame\nduration: 2m\nnodes:\n  - name: a\n    memory: 1000Mi\n    host:\n      - { name: b, load: { follow: { container: \
                c, share: 50% } } }\n      - { name: c, oomScoreAdj: -1000, load: { leak: { rate: 10Mi/s } } }\n";
    let world = parse_scenario(text).expect("fine").world;
    let tally = world
        .run(RunOptions::default(), &mut |_| ())
        .expect("a sound world")
        .tally;
    assert!(tally.deaths() > 0);
    assert_eq!(tally.innocent, 0);
}

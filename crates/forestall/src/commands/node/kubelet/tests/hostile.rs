//! What an agent makes of files that say anything at all.

use super::*;

const CONFIG: &str = "var/lib/kubelet/config.yaml";
const PROCESS: [(&str, &str); 2] = [
    ("proc/7/comm", "kubelet\n"),
    (
        "proc/7/cmdline",
        "kubelet\0--config=/var/lib/kubelet/config.yaml\0--config-dir=/d\0",
    ),
];

fn tolerant(root: &Root) -> Found {
    Found::read_tolerantly(root.0.path(), None)
}

fn with(file: &str) -> (Root, Found) {
    let root = Root::of(&[PROCESS.as_slice(), &[(CONFIG, file)]].concat());
    let found = tolerant(&root);
    (root, found)
}

#[test]
fn what_is_not_understood_is_passed_over_by_name_and_line_and_the_rest_counts() {
    let (root, found) = with(
        "kubeReserved:\n  memory: 1Gi\nsystemReserved:\n  memory: lots\nevictionHard:\n  memory.available: 105%\n\
         evictionSoft:\n  memory.available: [1]\nevictionMaxPodGracePeriod: soon\nmemorySwap: {swapBehavior: Always}\n\
         unknownField: {a: [1, 2]}\n",
    );
    let settings = &found.settings;
    assert_eq!(value(settings.kube_reserved.as_ref()), Some(1024 * MEBI));
    assert_eq!(
        (
            &settings.system_reserved,
            &settings.eviction_hard,
            &settings.eviction_soft
        ),
        (&None, &None, &None)
    );
    let place = root.place(CONFIG);
    for (name, line) in [
        ("system-reserved", 4),
        ("eviction-hard", 6),
        ("eviction-soft", 8),
        ("eviction-max-pod-grace-period", 9),
        ("memorySwap.swapBehavior", 10),
    ] {
        let start = format!("passed over: {name} in {place}:{line}: ");
        assert!(
            found.notes.iter().any(|note| note.starts_with(&start)),
            "{start}\n{:#?}",
            found.notes
        );
    }
    assert_eq!(found.notes.len(), 5, "{:#?}", found.notes);
    assert!(!found.lacks_file);
}

#[test]
fn a_file_that_is_none_leaves_the_flags_and_is_named() {
    let deep = "[".repeat(5000);
    let long = format!("a: \"{}\"\n", "x".repeat(10 << 20));
    let many = "a: 1\n".repeat(20_000);
    for file in [
        "kubeReserved: [\n",
        "- 1",
        "\u{0}\u{1b}[2J",
        "a: &a [*a]",
        "words",
        &deep,
        &long,
        &many,
    ] {
        let (root, found) = with(file);
        let start: String = file.chars().take(20).collect();
        assert!(found.lacks_file, "{start:?}");
        assert_eq!(found.settings.kube_reserved, None);
        let place = root.place(CONFIG);
        assert!(
            found.notes.iter().any(|note| note.contains(&place)),
            "{start:?}: {:#?}",
            found.notes
        );
    }
    // Nothing said is no error.
    for file in ["", "# nothing\n", "---\n", "null\n", "{}\n"] {
        let (_root, found) = with(file);
        assert!(
            !found.lacks_file && found.notes.is_empty(),
            "{file:?}: {:#?}",
            found.notes
        );
    }
}

#[test]
fn directories_and_drop_ins_that_are_none_are_named() {
    let root = Root::of(
        &[
            PROCESS.as_slice(),
            &[
                ("var/lib/kubelet/config.yaml/a", ""),
                ("d/10.conf", "kubeReserved: 7\n"),
                ("d/20.conf", "kubeReserved: {memory: 2Gi}\n"),
            ],
        ]
        .concat(),
    );
    fs::create_dir(root.0.path().join("d/15.conf")).expect("a directory");
    std::os::unix::fs::symlink("/nowhere", root.0.path().join("d/16.conf")).expect("a link");
    let found = tolerant(&root);
    assert!(found.lacks_file);
    let note = |part: &str| found.notes.iter().any(|note| note.contains(part));
    assert!(
        note("is a directory") && note("d/10.conf: kubeReserved is no map"),
        "{:#?}",
        found.notes
    );
    assert_eq!(value(found.settings.kube_reserved.as_ref()), Some(2048 * MEBI));
}

/// Whoever runs in a pod can call a process `kubelet`, and so can any user.
#[test]
fn a_kubelet_of_a_pods_or_a_users_does_not_speak_for_the_node() {
    let root = Root::of(&[
        ("proc/5/comm", "kubelet\n"),
        (
            "proc/5/cmdline",
            "kubelet\0--eviction-hard=memory.available<95%\0",
        ),
        (
            "proc/5/cgroup",
            "0::/kubepods.slice/kubepods-burstable.slice/x.scope\n",
        ),
        ("proc/6/comm", "kubelet\n"),
        (
            "proc/6/cmdline",
            "kubelet\0--eviction-hard=memory.available<90%\0",
        ),
        ("proc/7/comm", "kubelet\n"),
        (
            "proc/7/cmdline",
            "kubelet\0--eviction-hard=memory.available<500Mi\0",
        ),
        ("proc/7/cgroup", "0::/system.slice/kubelet.service\n"),
    ]);
    let users = root.0.path().join("proc/6");
    // Only root can give a file away; to anybody else the second stands for the node as well.
    let expected = match std::os::unix::fs::chown(&users, Some(65_534), None) {
        Ok(()) => "500Mi",
        Err(_) => "90%",
    };
    let settings = root.read().settings;
    assert_eq!(value(settings.eviction_hard.as_ref()), threshold(expected));
}

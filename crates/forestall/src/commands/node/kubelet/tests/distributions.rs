//! Files and flags as distributions write them, and how a kubelet lays them over one another (k/k
//! `cmd/kubelet/app/server.go`).

use forestall_decide::kubelet::SwapBehavior;

use super::*;

/// A kubelet that runs with these words.
fn running(words: &[&str], files: &[(&str, &str)]) -> Found {
    let line = words.join("\0");
    let process = [("proc/7/comm", "kubelet\n"), ("proc/7/cmdline", line.as_str())];
    Root::of(&[process.as_slice(), files].concat()).read()
}

fn hard(found: &Found) -> Option<Threshold> {
    value(found.settings.eviction_hard.as_ref())
}

const OWN: &str = "kubelet\0--config=/k/config.yaml\0--config-dir=/k/d";

/// The hard threshold of a kubelet with a file and two drop-ins.
fn merged(file: &str, first: &str, second: &str) -> Option<Threshold> {
    let files = [
        ("k/config.yaml", file),
        ("k/d/10.conf", first),
        ("k/d/20.conf", second),
    ];
    hard(&running(&[OWN], &files))
}

/// kubeadm's own file, and the flags it leaves to the unit.
#[test]
fn kubeadm_leaves_memory_at_its_defaults() {
    let file = "apiVersion: kubelet.config.k8s.io/v1beta1\nauthentication:\n  anonymous:\n    enabled: false\n  x509:\n    \
                clientCAFile: /etc/kubernetes/pki/ca.crt\ncgroupDriver: systemd\nclusterDNS:\n- 10.96.0.10\n\
                evictionPressureTransitionPeriod: 0s\nkind: KubeletConfiguration\nmemorySwap: {}\nrotateCertificates: true\n";
    let found = running(
        &[
            "/usr/bin/kubelet",
            "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
            "--config=/var/lib/kubelet/config.yaml",
            "--container-runtime-endpoint=unix:///var/run/containerd/containerd.sock",
        ],
        &[("var/lib/kubelet/config.yaml", file)],
    );
    // `0s` is what the file says where nobody set it, and means five minutes.
    assert_eq!(found.settings, Settings::default());
    assert_eq!(found.places.len(), 2, "{:?}", found.places);
    assert!(!found.lacks_file && found.notes.is_empty(), "{:?}", found.notes);
}

#[test]
fn defaults_are_filled_in_before_drop_ins_are_laid_over() {
    let disks = "evictionHard: {nodefs.available: 5%}";
    // The file names no thresholds, so that it has the defaults; the drop-in changes one about disks.
    assert_eq!(merged("maxPods: 20", disks, ""), None);
    assert_eq!(merged(disks, "maxPods: 20", ""), Some(Threshold::off()));
    // Only the file itself can ask for the defaults of what it does not name.
    let merges = "mergeDefaultEvictionSettings: true";
    assert_eq!(merged(&format!("{merges}\n{disks}"), "", ""), None);
    assert_eq!(merged(disks, merges, ""), Some(Threshold::off()));
    // RFC 7396: null takes away, and what was taken away has no default any more.
    assert_eq!(
        merged("", "evictionHard: {memory.available: null}", ""),
        Some(Threshold::off())
    );
    assert_eq!(merged("", "evictionHard: null", ""), Some(Threshold::off()));
    assert_eq!(merged("evictionHard: null", "", ""), None);
    assert_eq!(
        merged(
            "",
            "evictionHard: {memory.available: 1Gi}",
            "evictionHard: {memory.available: 2Gi}"
        ),
        threshold("2Gi")
    );
}

#[test]
fn drop_ins_are_taken_by_name_with_directories_where_their_names_stand() {
    let say = |memory: &str| format!("kubeReserved: {{memory: {memory}}}");
    let [first, within, last] = [say("1Gi"), say("2Gi"), say("3Gi")];
    let all = [
        ("k/d/10.conf", first.as_str()),
        ("k/d/20-cli/99.conf", &within),
        ("k/d/30.conf", &last),
        ("k/d/90.yaml", "kubeReserved: {memory: 9Gi}"),
    ];
    let reserved = |count: usize| {
        let found = running(&[OWN], &all[..count]);
        value(found.settings.kube_reserved.as_ref())
    };
    assert_eq!(reserved(1), Some(1024 * MEBI));
    assert_eq!(reserved(2), Some(2048 * MEBI));
    assert_eq!(reserved(4), Some(3072 * MEBI));
}

#[test]
fn a_flag_that_is_given_again_adds_to_its_list() {
    let found = running(
        &[
            "kubelet",
            "--eviction_hard=memory.available<1Gi,nodefs.available<1%",
            "--eviction-hard",
            "nodefs.available<5%",
            "--kube-reserved=memory=1Gi",
            "--kube-reserved=cpu=1, memory = 2Gi",
            "--enforce-node-allocatable=system-reserved",
            "--enforce-node-allocatable=pods",
            "--config=",
        ],
        &[],
    );
    assert_eq!(hard(&found), threshold("1Gi"));
    assert_eq!(value(found.settings.kube_reserved.as_ref()), Some(2048 * MEBI));
    assert_eq!(value(found.settings.enforces_pods.as_ref()), Some(true));
}

/// k3s tells its kubelet of disks alone, and hides its own command line.
#[test]
fn k3s_has_no_threshold_for_memory_unless_it_is_told() {
    let disks = "evictionHard:\n  imagefs.available: 5%\n  nodefs.available: 5%\nevictionMinimumReclaim:\n  imagefs.available: 10%\n";
    let defaults = "var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf";
    let k3s = |files: &[(&str, &str)]| {
        let process = [
            ("proc/9/comm", "k3s-server\n"),
            ("proc/9/cmdline", "/usr/local/bin/k3s server\0"),
        ];
        Root::of(&[process.as_slice(), files].concat()).read()
    };
    let plain = k3s(&[(defaults, disks)]);
    assert_eq!(hard(&plain), Some(Threshold::off()));
    let source = plain.settings.eviction_hard.expect("it is said").source;
    assert!(source.ends_with("00-k3s-defaults.conf:1"), "{source}");
    // Before 1.32 there were flags alone, and the same default.
    assert_eq!(hard(&k3s(&[])), Some(Threshold::off()));
    let config = "write-kubeconfig-mode: \"0644\"\nkubelet-arg:\n- eviction-hard=memory.available<7%\n- --kube-reserved=memory=300Mi\n";
    let told = k3s(&[(defaults, disks), ("etc/rancher/k3s/config.yaml", config)]);
    assert_eq!(hard(&told), threshold("7%"));
    assert_eq!(value(told.settings.kube_reserved.as_ref()), Some(300 * MEBI));
    let dropped = k3s(&[
        ("data/agent/etc/kubelet.conf.d/00-k3s-defaults.conf", disks),
        (
            "data/agent/etc/kubelet.conf.d/50-own.conf",
            "evictionHard: {memory.available: 500Mi}",
        ),
        ("etc/rancher/k3s/config.yaml", "data-dir: /data\n"),
    ]);
    assert_eq!(hard(&dropped), threshold("500Mi"));
    let more = k3s(&[
        ("etc/rancher/k3s/config.yaml", config),
        (
            "etc/rancher/k3s/config.yaml.d/50.yaml",
            "kubelet-arg+: [system-reserved=memory=1Gi]\n",
        ),
    ]);
    assert_eq!(value(more.settings.system_reserved.as_ref()), Some(1024 * MEBI));
    assert_eq!(hard(&more), threshold("7%"));
}

/// RKE2 starts a kubelet of its own with a directory and no file: what nobody says about hard thresholds is then not there.
#[test]
fn without_a_file_of_its_own_a_kubelet_has_no_default_thresholds() {
    let words = [
        "kubelet",
        "--config-dir=/var/lib/rancher/rke2/agent/etc/kubelet.conf.d",
    ];
    assert_eq!(hard(&running(&words, &[])), Some(Threshold::off()));
    // Without a directory either it may be an old one, which has them.
    assert_eq!(hard(&running(&["kubelet", "--v=2"], &[])), None);
}

#[test]
fn the_flags_of_microk8s_are_in_a_file() {
    let found = Root::of(&[
        ("proc/9/comm", "kubelite\n"),
        ("proc/9/cmdline", "/snap/microk8s/1/kubelite\0--scheduler-args-file=/x\0"),
        (
            "var/snap/microk8s/current/args/kubelet",
            "--kubeconfig=${SNAP_DATA}/credentials/kubelet.config\n--eviction-hard=\"memory.available<100Mi,nodefs.available<1Gi\"\n",
        ),
    ])
    .read();
    assert_eq!(hard(&found), threshold("100Mi"));
    assert_eq!(found.places.len(), 1, "{:?}", found.places);
}

#[test]
fn swap_and_the_end_of_single_processes_are_read() {
    let file = "memorySwap:\n  swapBehavior: LimitedSwap\nsingleProcessOOMKill: true\n";
    let settings = running(&[OWN], &[("k/config.yaml", file)]).settings;
    assert_eq!(value(settings.swap.as_ref()), Some(SwapBehavior::LimitedSwap));
    assert_eq!(value(settings.single_process_oom_kill.as_ref()), Some(true));
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let found = running(&["kubelet", "--config=/k/config.yaml"], &[]);
    assert!(found.lacks_file);
    assert!(
        found
            .notes
            .iter()
            .any(|note| note.contains("k/config.yaml is not there")),
        "{:?}",
        found.notes
    );
}

//! Configurations and flags as they are found on nodes, in fixture trees.

mod distributions;
mod hostile;

use tempfile::TempDir;

use super::super::amount::Threshold;
use super::super::setting::Told;
use super::*;

const MEBI: u64 = 1 << 20;

struct Root(TempDir);

impl Root {
    fn of(files: &[(&str, &str)]) -> Self {
        let root = Self(TempDir::new().expect("a directory"));
        for (path, text) in files {
            let path = root.0.path().join(path);
            fs::create_dir_all(path.parent().expect("it has a parent")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        root
    }

    fn read(&self) -> Found {
        Found::read(self.0.path(), None).expect("it can be read")
    }

    fn error(&self) -> String {
        format!(
            "{:#}",
            Found::read(self.0.path(), None).expect_err("it is refused")
        )
    }

    fn place(&self, path: &str) -> String {
        self.0.path().join(path).display().to_string()
    }
}

fn threshold(text: &str) -> Option<Threshold> {
    Threshold::read(text).ok()
}

fn value<T: Clone>(told: Option<&Told<T>>) -> Option<T> {
    told.map(|told| told.value.clone())
}

#[test]
fn a_configuration_is_read_as_yaml_and_as_configz() {
    let yaml = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nclusterDNS:\n- 10.0.0.10\n\
                kubeReserved:\n  cpu: 100m\n  memory: 1638Mi\nsystemReserved:\n  memory: 104857600\n\
                evictionHard:\n  memory.available: 5%\n  nodefs.available: 10%\n\
                evictionSoft:\n  memory.available: 1Gi\nevictionSoftGracePeriod:\n  memory.available: 1m30s\n\
                evictionMaxPodGracePeriod: 60\nenforceNodeAllocatable:\n- none\n";
    let root = Root::of(&[("var/lib/kubelet/config.yaml", yaml)]);
    let found = root.read();
    let settings = &found.settings;
    let place = root.place("var/lib/kubelet/config.yaml");
    // Lines as counted in the text above.
    assert_eq!(
        settings.kube_reserved,
        Some(Told::by(&format!("{place}:7"), 1638 * MEBI))
    );
    assert_eq!(
        settings.system_reserved,
        Some(Told::by(&format!("{place}:9"), 100 * MEBI))
    );
    assert_eq!(value(settings.eviction_hard.as_ref()), threshold("5%"));
    assert_eq!(value(settings.eviction_soft.as_ref()), threshold("1Gi"));
    assert_eq!(
        value(settings.soft_grace.as_ref()).map(|span| span.0),
        Some(90_000_000)
    );
    assert_eq!(
        value(settings.pod_grace_max.as_ref()).map(|span| span.0),
        Some(60_000_000)
    );
    assert_eq!(value(settings.enforces_pods.as_ref()), Some(false));
    assert_eq!(found.places, [place]);

    let configz = r#"{"kubeletconfig":{"evictionHard":{"memory.available":"750Mi"},"kubeReserved":{"memory":"1Gi"},
                     "enforceNodeAllocatable":["pods"]}}"#;
    let root = Root::of(&[("answer.json", configz)]);
    let found = Found::read(root.0.path(), Some(&root.0.path().join("answer.json"))).expect("a configz");
    assert_eq!(value(found.settings.kube_reserved.as_ref()), Some(1024 * MEBI));
    assert_eq!(value(found.settings.eviction_hard.as_ref()), threshold("750Mi"));
    assert_eq!(value(found.settings.enforces_pods.as_ref()), Some(true));
    assert_eq!(found.settings.system_reserved, None);
}

#[test]
fn a_list_without_memory_switches_the_threshold_off() {
    let hard = |yaml: &str| {
        let found = Root::of(&[("var/lib/kubelet/config.yaml", yaml)]).read();
        value(found.settings.eviction_hard.as_ref())
    };
    assert_eq!(
        hard("evictionHard:\n  nodefs.available: 10%\n"),
        Some(Threshold::off())
    );
    assert_eq!(hard("maxPods: 30\n"), None);
    // Since 1.34 the defaults can be merged into such a list.
    assert_eq!(
        hard("mergeDefaultEvictionSettings: true\nevictionHard:\n  nodefs.available: 10%\n"),
        None
    );
}

#[test]
fn flags_are_found_in_an_environment_file() {
    let text = "# --kube-reserved=memory=1Gi\nKUBELET_FLAGS=--v=2 --eviction-hard=memory.available<750Mi,pid.available<2000 \
                --kube-reserved=cpu=100m,memory=1638Mi\nKUBELET_REGISTER=true\n";
    let root = Root::of(&[
        ("etc/default/kubelet", text),
        (
            "var/lib/kubelet/config.yaml",
            "kubeReserved:\n  memory: 2Gi\nsystemReserved:\n  memory: 3Gi\n",
        ),
    ]);
    let settings = root.read().settings;
    let kube = settings.kube_reserved.expect("it is said");
    assert_eq!(kube.value, 1638 * MEBI);
    assert_eq!(
        kube.source,
        format!("--kube-reserved in {}", root.place("etc/default/kubelet"))
    );
    assert_eq!(value(settings.eviction_hard.as_ref()), threshold("750Mi"));
    assert_eq!(value(settings.system_reserved.as_ref()), Some(3072 * MEBI));
}

#[test]
fn a_running_kubelet_says_which_files_count() {
    // As Amazon Linux 2023 starts it: a file, a directory of drop-ins, and flags over both.
    let root = Root::of(&[
        ("proc/7/comm", "kubelet\n"),
        (
            "proc/7/cmdline",
            "/usr/bin/kubelet\0--config=/etc/kubernetes/kubelet/config.json\0--config-dir\0/etc/kubernetes/kubelet/config.json.d\0\
             --eviction-soft\0memory.available<2Gi\0--eviction-soft-grace-period\0memory.available=2m0s\0",
        ),
        ("proc/8/comm", "bash\n"),
        ("proc/8/cmdline", "bash\0--kube-reserved=memory=9Gi\0"),
        (
            "etc/kubernetes/kubelet/config.json",
            r#"{"kubeReserved":{"memory":"442Mi"},"evictionHard":{"memory.available":"100Mi","nodefs.available":"10%"}}"#,
        ),
        (
            "etc/kubernetes/kubelet/config.json.d/40-nodeadm.conf",
            r#"{"evictionHard":{"nodefs.available":"5%"},"systemReserved":{"memory":"64Mi"}}"#,
        ),
        (
            "etc/kubernetes/kubelet/config.json.d/50-off.txt",
            "kubeReserved: {memory: 8Gi}",
        ),
        // Not asked, because the kubelet that runs was not started with it.
        (
            "etc/default/kubelet",
            "KUBELET_FLAGS=--kube-reserved=memory=7Gi\n",
        ),
        ("var/lib/kubelet/config.yaml", "kubeReserved:\n  memory: 6Gi\n"),
    ]);
    let found = root.read();
    let settings = found.settings;
    assert_eq!(value(settings.kube_reserved.as_ref()), Some(442 * MEBI));
    // A drop-in is merged by key: it changes the disk's threshold and leaves memory's.
    assert_eq!(value(settings.eviction_hard.as_ref()), threshold("100Mi"));
    let system = settings.system_reserved.expect("the drop-in says it");
    assert_eq!(
        system,
        Told::by(
            &format!(
                "{}:1",
                root.place("etc/kubernetes/kubelet/config.json.d/40-nodeadm.conf")
            ),
            64 * MEBI
        )
    );
    let soft = settings.eviction_soft.expect("a flag says it");
    assert_eq!(
        soft,
        Told::by(
            "--eviction-soft of the running kubelet",
            Threshold::read("2Gi").expect("an amount")
        )
    );
    assert_eq!(
        value(settings.soft_grace.as_ref()).map(|span| span.0),
        Some(120_000_000)
    );
    assert!(
        found.places.contains(&"the flags of process 7".to_owned()),
        "{:?}",
        found.places
    );
}

#[test]
fn a_flag_without_memory_switches_the_threshold_off() {
    let root = Root::of(&[
        ("proc/7/comm", "kubelet\n"),
        (
            "proc/7/cmdline",
            "kubelet\0--eviction-hard=nodefs.available<10%\0--kube-reserved=cpu=1\0",
        ),
    ]);
    let settings = root.read().settings;
    assert_eq!(value(settings.eviction_hard.as_ref()), Some(Threshold::off()));
    assert_eq!(settings.kube_reserved, None);
}

#[test]
fn nonsense_is_an_error_with_its_place_and_no_zero() {
    let root = Root::of(&[("var/lib/kubelet/config.yaml", "kubeReserved:\n  memory: plenty\n")]);
    let error = root.error();
    assert!(
        error.contains("kube-reserved in ") && error.contains("config.yaml:2: quantity \"plenty\""),
        "{error}"
    );
    let root = Root::of(&[("etc/default/kubelet", "X=--system-reserved=memory=plenty\n")]);
    assert!(root.error().contains("--system-reserved in "), "{}", root.error());
    let root = Root::of(&[("var/lib/kubelet/config.yaml", "kubeReserved: [\n")]);
    assert!(root.error().contains("config.yaml:1:15: "), "{}", root.error());
}

#[test]
fn hostile_files_are_no_panic() {
    for text in [
        "",
        "null",
        "[]",
        "evictionHard: 7",
        "kubeReserved: {memory: [1]}",
        "\u{0}\u{1b}[2J",
        "a: &a [*a]",
    ] {
        let root = Root::of(&[("var/lib/kubelet/config.yaml", text)]);
        // Either is an answer; what counts is that there is one.
        let _ = Found::read(root.0.path(), None);
    }
    let nothing = Root::of(&[]).read();
    assert_eq!(
        (nothing.settings, nothing.places, nothing.process),
        (Settings::default(), vec![], None)
    );
}

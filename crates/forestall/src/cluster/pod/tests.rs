use serde_json::{Value, json};

use super::*;

const UID: &str = "0330b2c1-a15b-4cdd-b5e5-72d4a90bee82";
const UID_NUMBER: u128 = 0x0330_b2c1_a15b_4cdd_b5e5_72d4_a90b_ee82;

/// Cgroups by arithmetic: a pod's is 1, a container's its ID's length.
struct Known;

impl Places for Known {
    fn of_pod(&self, _: PodUid) -> Option<GroupId> {
        Some(GroupId(1))
    }
    fn of_container(&self, _: PodUid, id: &str) -> Option<GroupId> {
        (!id.is_empty()).then_some(GroupId(id.len() as u64))
    }
}

fn slim(change: impl FnOnce(&mut Value)) -> SlimPod {
    let mut pod = json!({
        "metadata": {
            "name": "web-7d4b9", "namespace": "shop", "uid": UID,
            "labels": {"tier": "front", "app": "web"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "controller": true}],
        },
        "spec": {
            "priority": 1000, "priorityClassName": "web", "terminationGracePeriodSeconds": 45,
            "containers": [
                {"name": "app", "resources": {"requests": {"memory": "100Mi"}, "limits": {"memory": "1Gi"}}},
                {"name": "log", "resources": {"requests": {"cpu": "1"}}},
            ],
        },
        "status": {
            "phase": "Running", "qosClass": "Burstable",
            "containerStatuses": [
                {"name": "log", "containerID": "containerd://bbb", "restartCount": 2},
                {"name": "app", "containerID": "containerd://aa"},
                {"name": "waits", "containerID": ""},
            ],
        },
    });
    change(&mut pod);
    serde_json::from_value(pod).expect("a pod")
}

fn translated(change: impl FnOnce(&mut Value)) -> Pod {
    translate(&slim(change), &Known, None, &mut Vec::new()).expect("it has a UID")
}

#[test]
fn a_pod_is_what_its_object_says() {
    let container = |group, request, limit, restarts| PodContainer {
        group: GroupId(group),
        request: Bytes(request),
        limit,
        restarts,
    };
    let expected = Pod {
        uid: PodUid(UID_NUMBER),
        group: Some(GroupId(1)),
        namespace: "shop".into(),
        name: "web-7d4b9".into(),
        labels: vec![("app".into(), "web".into()), ("tier".into(), "front".into())],
        qos: Qos::Burstable,
        priority: 1000,
        priority_class: "web".into(),
        request: Bytes(100 << 20),
        owner: Owner::Controller,
        origin: Origin::Api,
        grace: Span::secs(45),
        containers: vec![
            container(2, 100 << 20, Limit::Bytes(Bytes(1 << 30)), 0),
            container(3, 0, Limit::Max, 2),
        ],
        ..Pod::default()
    };
    assert_eq!(translated(|_| {}), expected);
}

#[test]
fn a_static_pod_is_named_by_its_hash() {
    // A mirror pod has a UID of its own, and its cgroup is named by the hash (k/k pkg/kubelet/config/common.go).
    let pod = translated(|pod| {
        pod["metadata"]["annotations"] = json!({
            "kubernetes.io/config.hash": "0330b2c1a15b4cddb5e572d4a90bee82",
            "kubernetes.io/config.mirror": "0330b2c1a15b4cddb5e572d4a90bee82",
            "kubernetes.io/config.source": "file",
        });
        pod["metadata"]["uid"] = json!("11111111-2222-3333-4444-555555555555");
        pod["metadata"]["ownerReferences"] = json!([{"kind": "Node", "controller": true}]);
    });
    assert_eq!((pod.uid, pod.origin), (PodUid(UID_NUMBER), Origin::Static));
    assert!(pod.is_critical());
    // A hash alone makes no pod static: anybody may write that annotation.
    let pod = translated(|pod| {
        pod["metadata"]["annotations"] =
            json!({"kubernetes.io/config.hash": "11111111222233334444555555555555"});
    });
    assert_eq!((pod.uid, pod.origin), (PodUid(UID_NUMBER), Origin::Api));
}

#[test]
fn who_has_no_uid_is_left_out() {
    for uid in [
        json!(""),
        json!("7"),
        json!("0330b2c1-a15b-4cdd-b5e5-72d4a90bee8x"),
        json!(null),
    ] {
        let pod = slim(|pod| pod["metadata"]["uid"] = uid.clone());
        assert_eq!(translate(&pod, &Known, None, &mut Vec::new()), None, "{uid}");
    }
}

#[test]
fn owners_and_graces_are_told_apart() {
    let owner = |references: Value| translated(|pod| pod["metadata"]["ownerReferences"] = references).owner;
    assert_eq!(owner(json!([])), Owner::Nobody);
    assert_eq!(
        owner(json!([{"kind": "Cart"}])),
        Owner::Nobody,
        "nobody controls it"
    );
    assert_eq!(
        owner(json!([{"kind": "Cart"}, {"kind": "DaemonSet", "controller": true}])),
        Owner::DaemonSet
    );
    let grace =
        |seconds: Value| translated(|pod| pod["spec"]["terminationGracePeriodSeconds"] = seconds).grace;
    assert_eq!(grace(json!(null)), Span::secs(30));
    assert_eq!(grace(json!(0)), Span::secs(0));
    assert_eq!(grace(json!(-5)), Span::secs(1));
}

/// By hand: 256Mi for init beside the sidecar's 64Mi is 320Mi, and 100Mi + 64Mi run; with the overhead of 10Mi.
#[test]
fn requests_are_counted_as_the_kubelets_eviction_counts_them() {
    let pod = translated(|pod| {
        pod["spec"]["overhead"] = json!({"memory": "10Mi"});
        pod["spec"]["initContainers"] = json!([
            {"name": "mesh", "restartPolicy": "Always", "resources": {"requests": {"memory": "64Mi"}}},
            {"name": "migrate", "resources": {"requests": {"memory": "256Mi"}}},
        ]);
    });
    assert_eq!(pod.request, Bytes(330 << 20));
    let of_pod = translated(|pod| pod["spec"]["resources"] = json!({"requests": {"memory": "2Gi"}}));
    assert_eq!(of_pod.request, Bytes(2 << 30));
    let without = translated(|pod| pod["spec"]["resources"] = json!({"limits": {"cpu": "1"}}));
    assert_eq!(without.request, Bytes(0));
}

#[test]
fn volumes_in_memory_are_summed_and_one_without_a_size_may_be_of_any() {
    let volumes = |volumes: Value| translated(|pod| pod["spec"]["volumes"] = volumes).memory_volumes;
    let sized = json!({"name": "a", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}});
    let other = json!({"name": "b", "emptyDir": {}});
    assert_eq!(
        volumes(json!([sized, other, {"name": "c", "hostPath": {"path": "/"}}])),
        Bytes(64 << 20)
    );
    let unsized_one = json!({"name": "d", "emptyDir": {"medium": "Memory"}});
    assert_eq!(volumes(json!([sized, unsized_one])), Bytes(u64::MAX));
}

/// Both as Kubernetes 1.37 writes them (k/k pkg/kubelet/eviction/helpers.go, eviction_manager.go).
#[test]
fn an_eviction_is_told_from_a_refusal_to_let_it_begin() {
    let failed = |message: &str| {
        slim(|pod| {
            pod["status"] = json!({"phase": "Failed", "reason": "Evicted", "message": message});
        })
    };
    let evicted = failed(
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 88Mi. Container app was using 500Mi, request is 100Mi, has larger consumption of memory. ",
    );
    assert!(was_evicted_for_memory(&evicted) && has_ended(&evicted));
    let refused = failed("The node had condition: [MemoryPressure]. ");
    assert!(!was_evicted_for_memory(&refused) && has_ended(&refused));
    let disk = failed("The node was low on resource: ephemeral-storage. ");
    assert!(!was_evicted_for_memory(&disk));
    assert!(!has_ended(&slim(|_| {})));
}

/// The server's clock decides nothing: who is going is going since we saw it, whatever time its object has.
#[test]
fn when_a_pod_is_said_to_be_deleted_changes_nothing_but_that_it_is() {
    let of = |at: &str| {
        let pod = slim(|pod| {
            pod["metadata"]["deletionTimestamp"] = json!(at);
            pod["metadata"]["creationTimestamp"] = json!(at);
            pod["status"]["startTime"] = json!(at);
        });
        assert!(pod.metadata.deletion_timestamp.is_some(), "{at}");
        translate(&pod, &Known, Some(Moment(7)), &mut Vec::new()).expect("it has a UID")
    };
    let now = of("2026-11-21T07:36:33Z");
    assert_eq!(now.terminating_since, Some(Moment(7)));
    for at in ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "", "soon"] {
        assert_eq!(of(at), now, "{at}");
    }
}

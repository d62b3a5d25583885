//! What is known of other nodes, by what stands in the cluster.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forestall_decide::{Bytes, Span, WallKind};
use serde_json::{Value, json};

use super::{far, node, reading, seen_of};
use crate::cluster::node_memory::Figures;
use crate::cluster::node_memory::others::{Known, Standing, Why, read_page};
use crate::cluster::own_node::{OwnNode, Taints};

/// 2026-11-21T07:36:33Z, by GNU date.
const NOW: u64 = 1_795_246_593;

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

/// As an agent writes it that has seen it then.
fn written(second: u64) -> Value {
    let walls = [
        reading(WallKind::Kubepods, 400, Span::secs(90)),
        far(WallKind::KubeletNode, 350),
    ];
    let figures = Figures::of(&seen_of(7, &node(), &walls)).expect("a machine");
    let own = OwnNode {
        allocatable: Some(Bytes::mebi(900)),
        taints: batch(),
        ..OwnNode::default()
    };
    let figures = figures.with(Some(&own), Some(Bytes::mebi(260)));
    figures.object("n2", None, at(second))
}

fn known(object: &Value) -> Known {
    let list = json!({"kind": "NodeMemoryList", "metadata": {"continue": ""}, "items": [object]});
    let page = read_page(list.to_string().as_bytes(), at(NOW)).expect("a list");
    let [(name, known)] = &*page.nodes else {
        panic!("{:?}", page.nodes);
    };
    assert_eq!(name, "n2");
    known.clone()
}

fn standing() -> Standing {
    Standing {
        total: Bytes::mebi(1000),
        left: Bytes::mebi(350),
        runway_p10: Some(Span::secs(90)),
        is_alarmed: false,
        open: Some((Bytes::mebi(640), batch())),
    }
}

fn batch() -> Taints {
    Taints(["dedicated=batch:NoSchedule".to_owned()].into())
}

#[test]
fn what_an_agent_writes_is_known_by_another_until_its_sign_of_life_is_late() {
    for (second, expected) in [
        (NOW, Known::Now(standing())),
        (NOW - 360, Known::Now(standing())),
        (NOW - 361, Known::Once(standing())),
        // A clock that is a minute ahead is no clock of the future.
        (NOW + 60, Known::Now(standing())),
        (NOW + 61, Known::Not(Why::FromTheFuture)),
        (0, Known::Once(standing())),
    ] {
        assert_eq!(known(&written(second)), expected, "{second}");
    }
}

#[test]
fn of_another_version_of_what_is_missing_and_of_what_cannot_be_nothing_is_known() {
    let cases = [
        ("/apiVersion", json!("forestall.io/v1beta1"), Why::OtherVersion),
        ("/apiVersion", Value::Null, Why::OtherVersion),
        ("/seenAt", json!("yesterday"), Why::Missing),
        ("/seenAt", json!(7), Why::Missing),
        ("/memory", Value::Null, Why::Missing),
        ("/memory/total", json!("lots"), Why::Missing),
        ("/memory/total", json!("0Mi"), Why::Absurd),
        ("/memory/available", json!("1001Mi"), Why::Absurd),
        ("/memory/available", json!("99999999999999999999Ei"), Why::Absurd),
        ("/walls/0/left", json!("1001Mi"), Why::Absurd),
        ("/walls/1/left", Value::Null, Why::Missing),
        ("/scheduling/requested", json!(7), Why::Missing),
        ("/walls/0/runway/p50Seconds", json!(89), Why::Absurd),
        ("/walls/0/runway/p10Seconds", json!(-1), Why::Absurd),
        (
            "/walls",
            json!([{"left": "1Mi"}, {"left": "1Mi"}, {"left": "1Mi"}, {"left": "1Mi"}, {"left": "1Mi"}]),
            Why::Absurd,
        ),
    ];
    for (path, value, why) in cases {
        let mut object = written(NOW);
        *object.pointer_mut(path).expect("a field") = value.clone();
        assert_eq!(known(&object), Known::Not(why), "{path} {value}");
    }
    // Who tells of no wall is known all the same, and a wall of a version to come is one.
    let mut object = written(NOW);
    object["walls"] = json!([]);
    let none = Standing {
        left: Bytes::mebi(450),
        runway_p10: None,
        ..standing()
    };
    assert_eq!(known(&object), Known::Now(none));
    object["walls"] = json!([{"name": "moon", "left": "7Mi", "alarm": true, "more": 1}]);
    let moon = Standing {
        left: Bytes::mebi(7),
        runway_p10: None,
        is_alarmed: true,
        ..standing()
    };
    assert_eq!(known(&object), Known::Now(moon));
}

#[test]
fn one_strange_object_costs_nobody_else_and_pages_go_on() {
    let list = json!({"metadata": {"continue": "more"}, "items": [7, null, {}, {"metadata": {"name": 7}}, written(NOW)]});
    let page = read_page(list.to_string().as_bytes(), at(NOW)).expect("a list");
    assert_eq!((page.nodes.len(), &*page.rest), (1, "more"));
    for text in ["", "7", "{\"items\":{}}", "404 page not found"] {
        assert!(read_page(text.as_bytes(), at(NOW)).is_err(), "{text}");
    }
    // An agent that could not read its Node, or knows of no such thing.
    let mut object = written(NOW);
    object["scheduling"] = Value::Null;
    let untold = Standing {
        open: None,
        ..standing()
    };
    assert_eq!(known(&object), Known::Now(untold));
    let empty = read_page(br#"{"items":null}"#, at(NOW)).expect("a list");
    assert_eq!((empty.nodes.len(), &*empty.rest), (0, ""));
}

//! What the ledger calls victims.

use super::*;

#[test]
fn a_kill_is_put_to_its_pod_and_container_by_name_though_both_are_gone() {
    let machine = Machine::new();
    let root = machine.folder.path();
    let pods = root.join("var/log/pods");
    let log = pods.join("shop_cart-0_0330b2c1-a15b-4cdd-b5e5-72d4a90bee82");
    std::fs::create_dir_all(&log).expect("directories");
    let containers = root.join("var/log/containers");
    std::fs::create_dir_all(&containers).expect("directories");
    let link = containers.join("cart-0_shop_front-web.log");
    std::fs::write(&link, "").expect("a file");
    let life = machine.start(&[]);
    std::fs::remove_dir(&log).expect("it is empty");
    std::fs::remove_file(&link).expect("a file");
    for record in kill(5, 77) {
        say(&life.log, &record);
    }
    let news = machine.news();
    let [KillNews::Kill(entry)] = &news[..] else {
        panic!("{news:?}")
    };
    let whom = entry.whom(&entry.report.victims[0]);
    assert_eq!(
        (&*whom.namespace, &*whom.pod, &*whom.container, &*whom.unit),
        ("shop", "cart-0", "front", "")
    );
    life.ledger.end();
}

#[test]
fn of_a_pod_within_a_pod_the_one_that_the_agent_knows_is_named() {
    let machine = Machine::new();
    let pods = machine.folder.path().join("var/log/pods");
    let inner = "/node/kubepods/pod22222222-3333-4444-5555-666666666666/db";
    std::fs::create_dir_all(pods.join("inner_db-0_22222222-3333-4444-5555-666666666666"))
        .expect("directories");
    let life = machine.start(&[]);
    let named = |sequence, pid| {
        for record in kill(sequence, pid) {
            say(&life.log, &record.replace("/web,", &format!("/web{inner},")));
        }
        let news = machine.news();
        let [KillNews::Kill(entry)] = &news[..] else {
            panic!("{news:?}")
        };
        entry.whom(&entry.report.victims[0]).pod
    };
    assert_eq!(named(5, 77), "db-0", "it runs in the outer one");
    std::fs::create_dir(pods.join("shop_cart-0_0330b2c1-a15b-4cdd-b5e5-72d4a90bee82")).expect("a directory");
    assert_eq!(named(8, 78), "cart-0", "whatever is called so below it");
    life.ledger.end();
}

#[test]
fn what_holds_a_pods_namespaces_is_not_called_by_its_only_container() {
    let machine = Machine::new();
    let pods = machine.folder.path().join("var/log/pods");
    let log = pods.join("shop_cart-0_0330b2c1-a15b-4cdd-b5e5-72d4a90bee82");
    std::fs::create_dir_all(log.join("front")).expect("directories");
    let life = machine.start(&[]);
    let named = |sequence, pid, id: &str, change: [&str; 2]| {
        for record in kill(sequence, pid) {
            let record = record.replace("/web,", &format!("/{id},"));
            say(&life.log, &record.replace(change[0], change[1]));
        }
        let news = machine.news();
        let [KillNews::Kill(entry)] = &news[..] else {
            panic!("{news:?}")
        };
        let whom = entry.whom(&entry.report.victims[0]);
        (whom.pod, whom.container)
    };
    let called = |container: &str| ("cart-0".to_owned(), container.to_owned());
    assert_eq!(
        named(5, 77, "web", ["oom_score_adj:0", "oom_score_adj:-998"]),
        called("")
    );
    assert_eq!(named(8, 78, "web", ["java", "pause"]), called(""));
    assert_eq!(named(11, 79, "web", ["", ""]), called("front"));
    life.ledger.end();
}

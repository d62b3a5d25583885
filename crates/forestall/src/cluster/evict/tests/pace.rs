//! From an order to the server's word on it: the desk, the talk thread, TLS and a socket of this machine, beside bare requests over the same connection.
//!
//! It judges nothing: `cargo xtask bench --only evict-request` runs it, reads what it prints, and does.

use std::sync::mpsc;
use std::thread;

use tokio::runtime::{Builder, Runtime};

use super::super::super::tests::tls::{Authority, HERE, Scene};
use super::*;

/// By which the benchmark says how many rounds it wants; a test takes a few, to see that it can be measured.
const ROUNDS: &str = "FORESTALL_EVICT_ROUNDS";

#[test]
fn from_an_order_to_the_servers_word() {
    let rounds = std::env::var(ROUNDS).map_or(3, |text| text.parse().expect("a number"));
    let access = serve();
    let mut handle = Actor::start(&evicting()).expect("three threads");
    let desk = Arc::new(handle.take_desk().expect("nobody has it yet"));
    let cgroup = tempfile::tempdir().expect("a directory");
    fs::write(cgroup.path().join("cgroup.procs"), "").expect("room");
    fs::write(cgroup.path().join("cgroup.events"), "populated 0\n").expect("room");
    let shelf = Shelf::default();
    shelf.put(group_of(cgroup.path()), pod());
    let (ask_barely, mut asked) = tokio::sync::mpsc::unbounded_channel::<mpsc::Sender<Duration>>();
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || {
        runtime().block_on(async move {
            let link = Link::connect(&access).await.expect("a server");
            shelf.set_link(Some(link.clone()));
            tokio::spawn(carry_out_all(desk, shelf, "n1".into(), Told::default()));
            ready.send(()).expect("somebody waits");
            while let Some(answer) = asked.recv().await {
                let begun = std::time::Instant::now();
                link.ask(Ask::get("/")).await.expect("an answer");
                answer.send(begun.elapsed()).expect("somebody waits");
            }
        });
    });
    is_ready.recv().expect("a connection");
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begun = std::time::Instant::now();
        handle.submit(order_for(&cgroup)).expect("taken");
        loop {
            match handle.take_outcome().map(|outcome| outcome.kind) {
                Some(OutcomeKind::Progress) => ours.push(begun.elapsed()),
                Some(OutcomeKind::Done) => break,
                Some(other) => panic!("{other:?}"),
                None => thread::sleep(Duration::from_micros(50)),
            }
        }
        let (answer, answered) = mpsc::channel();
        ask_barely.send(answer).expect("the talk thread");
        bare.push(answered.recv().expect("an answer"));
    }
    let [ours, bare] = [ours, bare].map(|mut times| {
        times.sort_unstable();
        times[times.len() * 99 / 100].as_nanos()
    });
    println!("evict-request {ours} {bare}");
}

/// On a thread of its own, as a server is.
fn serve() -> super::super::super::access::Access {
    let (told, address) = mpsc::channel();
    thread::spawn(move || {
        runtime().block_on(async {
            let authority = Authority::new();
            let shown = vec![authority.vouch_today("127.0.0.1")];
            let scene = Scene::set(HERE, &authority.pem(), shown).await.expect("a port");
            told.send(scene.access.clone()).expect("somebody waits");
            std::future::pending::<()>().await;
        });
    });
    address.recv().expect("a server")
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use forestall_decide::Span;
use tempfile::TempDir;

use super::*;
use crate::config::notify::Webhook;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_program_gets_the_line_and_what_it_does_not_take_is_a_failure() {
    let folder = TempDir::new().expect("a directory");
    let file = folder.path().join("told");
    let into = format!("cat > {}", file.display());
    let minute = Duration::from_mins(1);
    exec::run(&words(&["/bin/sh", "-c", &into]), "{\"v\":1}", minute).expect("it is run");
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "{\"v\":1}\n");
    // Who reads nothing has been told all the same.
    exec::run(&words(&["/bin/true"]), "{}", minute).expect("it is run");
    for (program, said) in [
        (&["/bin/false"][..], "ended with exit status: 1"),
        (&["/nowhere/page"], "cannot be run"),
    ] {
        let why = exec::run(&words(program), "{}", minute).expect_err("it fails");
        assert!(why.contains(said), "{why}");
    }
    let why =
        exec::run(&words(&["/bin/sleep", "600"]), "{}", Duration::from_millis(50)).expect_err("too long");
    assert!(why.contains("took longer than 50 ms and was killed"), "{why}");
}

/// Answers one request with `answer`; returns what was sent.
fn serve(answer: &'static str) -> (Webhook, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let webhook = Webhook {
        host: address.clone(),
        address,
        path: "/kills".to_owned(),
    };
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            reader.read_line(&mut request).expect("text");
        }
        let length = request
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .and_then(|length| length.parse().ok())
            .expect("a length");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        stream.write_all(answer.as_bytes()).expect("a reader");
        request + &String::from_utf8(body).expect("text")
    });
    (webhook, server)
}

#[test]
fn an_address_gets_the_line_and_any_answer_but_a_good_one_is_a_failure() {
    let minute = Duration::from_mins(1);
    let (webhook, server) = serve("HTTP/1.1 204 No Content\r\n\r\n");
    webhook::post(&webhook, "{\"v\":1}", minute).expect("it is taken");
    let request = server.join().expect("it serves");
    assert!(request.starts_with("POST /kills HTTP/1.1\r\n"), "{request}");
    assert!(
        request.contains(&format!("\r\nHost: {}\r\n", webhook.host)),
        "{request}"
    );
    assert!(request.ends_with("\r\n\r\n{\"v\":1}"), "{request}");
    for (answer, said) in [
        ("HTTP/1.1 503 Busy\r\n\r\n", "answered HTTP/1.1 503 Busy"),
        ("SSH-2.0-\x1b[2J\r\n", "answered SSH-2.0-\\x1b[2J"),
        ("", "answered nothing"),
    ] {
        let (webhook, server) = serve(answer);
        assert_eq!(webhook::post(&webhook, "{}", minute), Err(said.to_owned()));
        server.join().expect("it serves");
    }
    // Somebody who never answers, and nobody: a port that was free a moment ago may be another test's by now, the first one is nobody's.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = |address: String| Webhook {
        host: address.clone(),
        address,
        path: "/".to_owned(),
    };
    let hangs = at(listener.local_addr().expect("an address").to_string());
    assert!(webhook::post(&hangs, "{}", Duration::from_millis(50)).is_err());
    let why = webhook::post(&at("127.0.0.1:1".to_owned()), "{}", minute).expect_err("nobody listens");
    assert!(why.contains("refused"), "{why}");
}

#[test]
fn who_hangs_delays_nobody_and_what_finds_no_room_is_counted() {
    let told = Arc::new(Told::default());
    let mut notifications = Notifications::new(Arc::clone(&told), 0);
    assert!(!notifications.wants("killed"));
    let folder = TempDir::new().expect("a directory");
    let gate = folder.path().join("gate");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        &gate,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
    )
    .expect("a pipe");
    let waits = format!("read go < {}", gate.display());
    let settings = |exec: Vec<String>| Notify {
        exec,
        timeout: Span::secs(60),
        ..Notify::default()
    };
    notifications
        .follow(&settings(words(&["/bin/sh", "-c", &waits])))
        .expect("a thread");
    assert!(notifications.wants("killed") && !notifications.wants("alarm"));
    notifications.tell("{}".to_owned());
    // Opened once the program reads it: one is under way, and the queue holds the others.
    let mut go = std::fs::OpenOptions::new()
        .write(true)
        .open(&gate)
        .expect("it is read");
    for _ in 0..QUEUE_MAX + 10 {
        notifications.tell("{}".to_owned());
    }
    assert_eq!(told.dropped.load(Relaxed), 10);
    // New settings hold for what still waits.
    notifications
        .follow(&settings(words(&["/bin/true"])))
        .expect("no other thread");
    go.write_all(b"go\n").expect("it is read");
    notifications.queue = None;
    let all = QUEUE_MAX as u64 + 1;
    let by = std::time::Instant::now() + Duration::from_mins(1);
    while told.read(Way::Exec, true) < all {
        assert!(std::time::Instant::now() < by, "{told:?}");
        thread::yield_now();
    }
    assert_eq!((told.read(Way::Exec, false), told.take_failure()), (0, None));
}

use std::io::Write;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType as Kind, mknodat};
use tempfile::TempDir;

use super::*;

const TEXT: Wanted = Wanted {
    what: "recipe",
    bytes_max: 1 << 20,
    mark: b"",
    may_flow: true,
};
const FILE: Wanted = Wanted {
    may_flow: false,
    ..TEXT
};

/// Long for a machine, and short for whoever waits for a test.
const SHORT: Duration = Duration::from_millis(20);

fn fifo(dir: &TempDir) -> PathBuf {
    let path = dir.path().join("fifo");
    mknodat(CWD, &path, Kind::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
    path
}

fn error(path: &Path, wanted: &Wanted) -> String {
    read(path, wanted).expect_err("it is refused").to_string()
}

#[test]
fn only_what_can_be_read_to_its_end_is_opened() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("file");
    std::fs::write(&path, "salt").expect("a file");
    assert_eq!(read(&path, &FILE).expect("a file"), b"salt");
    assert_eq!(read_system(&path).expect("a file"), b"salt");

    assert!(error(dir.path(), &TEXT).ends_with("is a directory; name the file in it"));
    let missing = read(&dir.path().join("none"), &TEXT).expect_err("nothing there");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(
        missing.to_string().contains("cannot read the recipe: "),
        "{missing}"
    );
    for wanted in [&TEXT, &FILE] {
        // Without end, without anything, and the terminal of whoever runs this.
        for device in ["/dev/zero", "/dev/null", "/dev/tty"] {
            let said = error(Path::new(device), wanted);
            assert!(said.starts_with(device), "{said}");
            assert!(
                said.contains("is a device, not a regular file; write the recipe")
                    || said.contains("cannot read the recipe: "),
                "{said}"
            );
        }
        let socket = dir.path().join("socket");
        let _ = std::fs::remove_file(&socket);
        let _listener = UnixListener::bind(&socket).expect("a socket");
        assert!(error(&socket, wanted).contains("is a socket, not a regular file"));
    }
    let fifo = fifo(&dir);
    assert!(error(&fifo, &FILE).contains("is a FIFO, not a regular file; write the recipe to a file"));
    let refused = read_system(&fifo).expect_err("a FIFO");
    assert_eq!(refused.to_string(), "is a FIFO, not a regular file");
}

#[test]
fn a_pipe_is_read_to_its_end_and_nobody_waits_for_a_writer_that_is_not_there() {
    let dir = TempDir::new().expect("a directory");
    let fifo = fifo(&dir);
    assert!(error(&fifo, &TEXT).contains("nobody writes to it; name the file with the recipe"));

    // A writer that is there and says nothing.
    let held = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&fifo)
        .expect("it opens for both");
    match read_within(&fifo, &TEXT, SHORT).expect_err("silence") {
        Failure::Refused(ErrorKind::TimedOut, _, advice) => {
            assert_eq!(advice, "is the recipe still being written?");
        }
        other => panic!("{other:?}"),
    }
    // One that has said something, and says no more.
    (&held).write_all(b"salt").expect("room in the pipe");
    assert_eq!(
        read_within(&fifo, &TEXT, SHORT).expect_err("silence").kind(),
        ErrorKind::TimedOut
    );
    drop(held);

    // As a shell does for `<(…)`: a pipe under a name of this process, whose writer may be gone already.
    let (reader, mut writer) = io::pipe().expect("a pipe");
    writer.write_all(b"salt, pepper").expect("room in the pipe");
    drop(writer);
    let name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
    assert_eq!(
        read_text(Path::new(&name), &TEXT).expect("all of it"),
        "salt, pepper"
    );

    // More than fits into a pipe at once: the writer goes on while it is read.
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
    let long = std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&vec![b'x'; 500_000]));
        read(Path::new(&name), &TEXT).map(|bytes| bytes.len())
    });
    assert_eq!(long.expect("all of it"), 500_000);
}

#[test]
fn of_what_begins_otherwise_no_more_is_read_than_shows_it() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("file");
    let marked = Wanted {
        mark: b"salt",
        ..FILE
    };
    for (content, read_of_it) in [
        (&b"salt, pepper"[..], &b"salt, pepper"[..]),
        (b"sugar, pepper", b"suga"),
        (b"sa", b"sa"),
        (b"", b""),
    ] {
        std::fs::write(&path, content).expect("a file");
        assert_eq!(read(&path, &marked).expect("a file"), read_of_it);
    }
}

#[test]
fn what_is_too_large_is_some_other_file() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("file");
    let small = Wanted {
        bytes_max: 1 << 20,
        ..FILE
    };
    std::fs::write(&path, vec![b'x'; 1 << 20]).expect("a file");
    assert_eq!(read(&path, &small).expect("just so").len(), 1 << 20);
    std::fs::write(&path, vec![b'x'; (1 << 20) + 1]).expect("a file");
    assert!(error(&path, &small).contains("is larger than 1MiB, which no recipe is"));
    // A pipe that never ends is left.
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
    std::thread::scope(|scope| {
        scope.spawn(move || while writer.write_all(&[b'x'; 4096]).is_ok() {});
        let small = Wanted {
            may_flow: true,
            ..small
        };
        assert!(error(Path::new(&name), &small).contains("is larger than 1MiB"));
        drop(reader);
    });
}

#[test]
fn text_that_is_none_is_told_with_its_place() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("file");
    // The letters before it count, and not their bytes: "fenouil à " has ten of them.
    let cases: [(&[u8], &str); 3] = [
        (b"salt\npepper\n\xff", "3:1"),
        (b"salt\r\nfenouil \xc3\xa0 \xe9\n", "2:11"),
        (b"\xffsalt", "1:1"),
    ];
    for (content, place) in cases {
        std::fs::write(&path, content).expect("a file");
        let said = read_text(&path, &FILE).expect_err("no UTF-8").to_string();
        let expected = format!("{}:{place}: is not UTF-8; save the file as UTF-8", path.display());
        assert_eq!(said, expected);
    }
}

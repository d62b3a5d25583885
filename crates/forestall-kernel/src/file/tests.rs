use super::*;

fn written(content: &[u8]) -> (tempfile::TempDir, HeldFile) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("memory.current");
    std::fs::write(&path, content).expect("a written file");
    let held = HeldFile::open(&path).expect("an open file");
    (dir, held)
}

#[test]
fn a_held_file_shows_what_is_there_now() {
    let (dir, held) = written(b"4096\n");
    let mut buffer = Buffer::with_capacity(64);
    assert_eq!(held.read_into(&mut buffer).expect("readable"), b"4096\n");
    std::fs::write(dir.path().join("memory.current"), b"8\n").expect("rewritten");
    assert_eq!(held.read_into(&mut buffer).expect("readable"), b"8\n");
    assert_eq!(buffer.as_bytes(), b"8\n");
}

#[test]
fn a_file_that_does_not_fit_says_so_and_fits_after_enlarging() {
    let (_dir, held) = written(b"0123456789");
    let mut buffer = Buffer::with_capacity(10);
    let error = held.read_into(&mut buffer).expect_err("the end was not seen");
    assert_eq!(error.label(), "truncated");
    buffer.enlarge(11);
    assert_eq!(held.read_into(&mut buffer).expect("fits"), b"0123456789");
}

#[test]
fn enlarging_never_shrinks() {
    let mut buffer = Buffer::with_capacity(100);
    buffer.enlarge(10);
    assert_eq!(buffer.capacity(), 100);
}

#[test]
fn an_empty_buffer_is_truncation_and_not_an_empty_file() {
    let (_dir, held) = written(b"1");
    let mut buffer = Buffer::with_capacity(0);
    assert_eq!(
        held.read_into(&mut buffer).expect_err("no room").label(),
        "truncated"
    );
}

#[test]
fn pieces_are_put_together_until_an_empty_read() {
    // A file of records is handed out record by record.
    let source = b"some line\nnext line\n";
    let mut buffer = Buffer::with_capacity(64);
    let fill = buffer.fill(Pieces::Many, |rest, offset| {
        let from = usize::try_from(offset).expect("small");
        let piece = &source[from..source.len().min(from + 7)];
        rest[..piece.len()].copy_from_slice(piece);
        Ok(piece.len())
    });
    assert_eq!(fill, Ok(Fill::Whole));
    assert_eq!(buffer.as_bytes(), source);
}

#[test]
fn an_interrupted_read_is_tried_again() {
    let mut buffer = Buffer::with_capacity(8);
    let mut answers = [Err(Errno::INTR), Ok(3), Ok(0)].into_iter();
    let fill = buffer.fill(Pieces::Many, |_, _| answers.next().expect("three reads"));
    assert_eq!(fill, Ok(Fill::Whole));
    assert_eq!(buffer.as_bytes().len(), 3);
}

#[test]
fn a_failure_half_way_leaves_nothing_behind() {
    let mut buffer = Buffer::with_capacity(8);
    let mut answers = [Ok(3), Err(Errno::NODEV)].into_iter();
    assert_eq!(
        buffer.fill(Pieces::Many, |_, _| answers.next().expect("two reads")),
        Err(Errno::NODEV)
    );
    assert!(buffer.as_bytes().is_empty());
}

#[test]
fn a_missing_file_is_gone_and_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let error = HeldFile::open(&dir.path().join("memory.peak")).expect_err("not there");
    assert!(error.is_gone());
    assert!(error.to_string().contains("memory.peak"));
}

#[test]
fn a_file_is_opened_below_a_held_directory() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("memory.max"), b"max\n").expect("written");
    let handle = std::fs::File::open(dir.path()).expect("a directory handle");
    let held =
        HeldFile::open_at(&handle, Path::new("memory.max"), Path::new("/shown/memory.max")).expect("open");
    assert_eq!(held.path(), Path::new("/shown/memory.max"));
    assert_eq!(
        held.read_into(&mut Buffer::with_capacity(16)).expect("readable"),
        b"max\n"
    );
}

#[test]
fn enlarging_while_reading_finds_the_size_and_stops_at_its_bound() {
    let (_dir, held) = written(&[b'x'; 5000]);
    let mut buffer = Buffer::with_capacity(16);
    assert_eq!(
        held.read_enlarging(&mut buffer, 1 << 20).map(<[u8]>::len),
        Ok(5000)
    );
    assert_eq!(buffer.capacity(), 8192);
    let mut small = Buffer::with_capacity(16);
    assert_eq!(
        held.read_enlarging(&mut small, 4999)
            .expect_err("too long")
            .label(),
        "truncated"
    );
    assert_eq!(small.capacity(), 4999);
}

#[test]
fn a_file_in_one_piece_ends_with_a_short_read_and_not_with_a_full_one() {
    let mut buffer = Buffer::with_capacity(8);
    let mut answers = [Ok(5)].into_iter();
    let fill = buffer.fill(Pieces::One, |_, _| answers.next().expect("one read"));
    assert_eq!((fill, buffer.as_bytes().len()), (Ok(Fill::Whole), 5));
    // All eight bytes were filled: whether there are more is not known.
    let fill = buffer.fill(Pieces::One, |_, _| Ok(8));
    assert_eq!(fill, Ok(Fill::Truncated));
}

#[test]
fn a_file_known_to_come_in_one_piece_is_read_whole() {
    let (_dir, held) = written(b"some avg10=0.00\n");
    let held = held.in_pieces(Pieces::One);
    assert_eq!(
        held.read_into(&mut Buffer::with_capacity(64)).expect("readable"),
        b"some avg10=0.00\n"
    );
    assert_eq!(
        held.read_into(&mut Buffer::with_capacity(8))
            .expect_err("too long")
            .label(),
        "truncated"
    );
}

//! Files that somebody removes or replaces under a running book.

use super::*;

#[test]
fn files_that_were_taken_away_or_replaced_are_not_written_to() {
    let folder = TempDir::new().expect("a directory");
    let directory = folder.path().join("ledger");
    let lose: [fn(&Path); 2] = [
        |directory| std::fs::remove_dir_all(directory).expect("removed"),
        |directory| {
            std::fs::rename(directory, directory.with_extension("old")).expect("moved");
            std::fs::create_dir(directory).expect("room");
            std::fs::write(directory.join(NEWER), "another").expect("room");
        },
    ];
    for lose in lose {
        let mut book = Book::open(&directory).expect("a ledger");
        book.append(&[entry(1)], tally(5)).expect("room");
        lose(&directory);
        book.append(&[entry(7)], tally(9))
            .expect_err("nobody would find it");
        assert!(book.is_stale(), "it has to begin again");
        drop(book);
        let _ = std::fs::remove_dir_all(&directory);
        // Whoever begins again has a place to write to.
        let mut book = Book::open_or_hold(&directory).expect("a ledger");
        book.append(&[entry(7)], tally(9)).expect("room");
        drop(book);
        assert_eq!(Pages::read(&directory).expect("read").entries, [entry(7)]);
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}

/// It is the turn that finds them gone, and the write behind it made a file without a head, which nobody could read.
#[test]
fn files_that_were_gone_when_their_turn_came_are_not_begun_in_the_middle() {
    let folder = TempDir::new().expect("a directory");
    let directory = folder.path().join("ledger");
    let mut book = Book::open(&directory).expect("a ledger");
    book.append(&[entry(1)], tally(2)).expect("room");
    std::fs::remove_dir_all(&directory).expect("removed");
    book.size = FILE_BYTES_MAX + 1;
    for sequence in [3, 5] {
        let told = book.append(&[entry(sequence)], tally(sequence + 1));
        let found = Pages::read(&directory).expect("it can be read").entries;
        assert!(told.is_err() && found.is_empty(), "{told:?}, {found:?}");
        assert!(book.is_stale(), "it has to begin again");
    }
    drop(book);
    let mut book = Book::open_or_hold(&directory).expect("a ledger");
    book.append(&[entry(7)], tally(9)).expect("room");
    assert_eq!(Pages::read(&directory).expect("a ledger").entries, [entry(7)]);
}

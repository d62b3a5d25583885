use std::collections::VecDeque;
use std::os::unix::net::UnixDatagram;

use super::*;

/// What a device would answer, read by read.
enum Answer {
    Bytes(&'static [u8]),
    Failure(Errno),
}
use Answer::{Bytes, Failure};

/// The numbers of the records that come before the device has no more, and what was counted.
fn read_all(answers: impl IntoIterator<Item = Answer>) -> (Vec<u64>, Tally) {
    let mut answers: VecDeque<Answer> = answers.into_iter().collect();
    let mut buffer = [0; 64];
    let mut tally = Tally::default();
    let mut numbers = Vec::new();
    while let Some(length) = advance(&mut buffer, &mut tally, |buffer| match answers.pop_front() {
        Some(Bytes(bytes)) => {
            buffer[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        }
        Some(Failure(errno)) => Err(errno),
        None => Err(Errno::AGAIN),
    })
    .expect("the device stays of use")
    {
        let record = Record::parse(&buffer[..length]).expect("a record");
        numbers.push(record.sequence);
    }
    (numbers, tally)
}

#[test]
fn an_overrun_is_survived_and_counted_from_the_numbers() {
    let (numbers, tally) = read_all([
        Bytes(b"6,10,1,-;a\n"),
        Bytes(b"6,11,2,-;b\n"),
        Failure(Errno::PIPE),
        Bytes(b"6,170012,3,-;c\n"),
        Bytes(b"6,170013,4,-;d\n"),
    ]);
    assert_eq!(numbers, [10, 11, 170_012, 170_013]);
    // 12 to 170,011.
    assert_eq!((tally.lost, tally.oversize), (170_000, 0));
}

#[test]
fn what_was_gone_before_the_first_record_is_not_counted_as_lost() {
    let (numbers, tally) = read_all([Failure(Errno::PIPE), Bytes(b"6,500,1,-;a\n")]);
    assert_eq!((numbers, tally.lost), (vec![500], 0));
}

#[test]
fn a_record_that_does_not_fit_is_skipped_and_not_counted_twice() {
    let (numbers, tally) = read_all([
        Failure(Errno::INVAL),
        Bytes(b"6,10,1,-;a\n"),
        Failure(Errno::INVAL),
        Failure(Errno::INTR),
        Bytes(b"6,12,1,-;b\n"),
        Failure(Errno::INVAL),
        Failure(Errno::PIPE),
        // 13 did not fit, 14 and 15 were overrun.
        Bytes(b"6,16,1,-;c\n"),
    ]);
    assert_eq!(numbers, [10, 12, 16]);
    assert_eq!((tally.oversize, tally.lost), (3, 2));
}

#[test]
fn what_is_no_record_is_counted_and_passed_over() {
    let (numbers, tally) = read_all([Bytes(b"nonsense"), Bytes(b"6,1,1,-;a\n")]);
    assert_eq!((numbers, tally.malformed, tally.lost), (vec![1], 1, 0));
}

#[test]
fn numbers_that_go_back_are_no_loss() {
    let (_, tally) = read_all([Bytes(b"6,18446744073709551615,1,-;a\n"), Bytes(b"6,5,1,-;b\n")]);
    assert_eq!(tally.lost, 0);
}

#[test]
fn any_other_failure_is_told() {
    let mut tally = Tally::default();
    let failed = advance(&mut [0; 8], &mut tally, |_| Err(Errno::BADF));
    assert_eq!(failed, Err(Errno::BADF));
}

#[test]
fn records_come_one_a_read_and_without_waiting() {
    // A datagram socket hands out one message a read, as the device does.
    let (writer, reader) = UnixDatagram::pair().expect("a pair");
    reader.set_nonblocking(true).expect("set");
    let mut kmsg = KmsgReader::over(reader.into(), Path::new("/dev/kmsg"));
    assert_eq!(kmsg.next_record().expect("of use"), None);
    writer
        .send(b"3,41,7,-,caller=T9;one\\x0atwo\n KEY=value\n")
        .expect("sent");
    writer.send(b"12,43,8,-;three\n").expect("sent");
    {
        let record = kmsg.next_record().expect("of use").expect("a record");
        let mut buffer = [0; 16];
        assert_eq!(crate::kmsg::unescape_into(record.text, &mut buffer), b"one\ntwo");
        assert!(record.is_kernels());
    }
    let record = kmsg.next_record().expect("of use").expect("a record");
    assert_eq!((record.sequence, record.is_kernels()), (43, false));
    assert_eq!(kmsg.next_record().expect("of use"), None);
    assert_eq!((kmsg.lost(), kmsg.oversize(), kmsg.malformed()), (1, 0, 0));
}

#[test]
fn a_device_that_is_not_there_is_told_by_its_path() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("kmsg");
    let error = KmsgReader::open(&path, Start::Now).expect_err("not there");
    assert!(error.is_gone());
    assert_eq!(error.path(), path);
}

#[test]
fn a_file_is_read_from_where_was_asked_for() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("kmsg");
    std::fs::write(&path, "6,1,2,-;text\n").expect("written");
    let mut oldest = KmsgReader::open(&path, Start::Oldest).expect("open");
    assert_eq!(
        oldest
            .next_record()
            .expect("of use")
            .map(|record| record.sequence),
        Some(1)
    );
    let mut now = KmsgReader::open(&path, Start::Now).expect("open");
    assert_eq!(now.next_record().expect("of use"), None);
}

//! Behind damage no machine's figures are told as another one's: a key says nothing of whose it is, the head before it does.

use forestall_trace::{Item, Reader, Version};

/// One of the recordings that are kept.
fn kept(name: &str) -> Vec<u8> {
    let path = format!("{}/../../traces/{name}.ftr", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("it is kept there")
}

/// What is found, a line each.
fn lines(bytes: &[u8]) -> Vec<String> {
    let mut reader = Reader::open(bytes).expect("the first head is whole");
    let mut lines = Vec::new();
    while let Some(item) = reader.read() {
        lines.push(format!("{item:?}"));
    }
    lines
}

/// What a recording says as the second one of a file.
fn as_second(bytes: &[u8]) -> Vec<String> {
    let mut lines = lines(bytes);
    lines[0] = lines[0].replace("Opening", "Run");
    lines
}

/// Up to where the head of a recording reaches; its length takes two bytes.
fn head_bytes(bytes: &[u8]) -> usize {
    assert!(bytes[11] >= 0x80 && bytes[12] < 0x80);
    13 + (usize::from(bytes[11] & 0x7f) | usize::from(bytes[12]) << 7) + 4
}

#[test]
fn a_recording_whose_head_is_damaged_is_left_out_whole() {
    let (first, second, third) = (
        kept("lab-leak-container"),
        kept("lab-healthy-plateau"),
        kept("lab-leak-node-shadow"),
    );
    let alone = lines(&first);
    let left_out = |item: Item<'_>| format!("{item:?}");
    let (offset, bytes, newer) = (7452, 10967, None);
    let torn = [&alone[..], &[left_out(Item::Torn { offset, bytes, newer })]].concat();
    let damaged = [
        &alone[..],
        &[left_out(Item::Damaged { offset, bytes, newer })],
        &as_second(&third),
    ]
    .concat();
    let joined = |spoilt: &[u8]| [&first, spoilt].concat();
    assert_eq!(lines(&joined(&second))[alone.len()..], as_second(&second));
    let places = (0..16).chain((16..head_bytes(&second)).step_by(97)).chain([40]);
    // The ninth and tenth byte are the version: a newer major one is named, a newer minor one is read.
    for (place, bit) in places
        .filter(|place| !matches!(place, 8 | 9))
        .flat_map(|place| [(place, 0), (place, 7)])
    {
        let mut spoilt = second.clone();
        spoilt[place] ^= 1 << bit;
        assert!(lines(&joined(&spoilt)) == torn, "bit {bit} of byte {place}");
    }
    let mut spoilt = second;
    spoilt[40] ^= 1;
    assert_eq!(lines(&[joined(&spoilt), third].concat()), damaged);
}

#[test]
fn a_segment_of_a_newer_major_version_is_left_out_whole_and_named() {
    let (first, mut second, third) = (
        kept("lab-leak-container"),
        kept("lab-leak-node-shadow"),
        kept("lab-healthy-plateau"),
    );
    second[8] = 2;
    let alone = lines(&first);
    let newer = Some(Version { major: 2, minor: 0 });
    let (offset, bytes) = (7452, 11749);
    let two = [&first[..], &second].concat();
    let torn = format!("{:?}", Item::Torn { offset, bytes, newer });
    assert_eq!(lines(&two), [&alone[..], &[torn]].concat());
    let damaged = format!("{:?}", Item::Damaged { offset, bytes, newer });
    let all = [&two[..], &third].concat();
    assert_eq!(lines(&all), [&alone[..], &[damaged], &as_second(&third)].concat());
    // It is named as well behind one whose head is damaged.
    let mut spoilt = third;
    spoilt[40] ^= 1;
    let said = lines(&[&first[..], &spoilt, &second].concat());
    let (bytes, newer) = (10967, None);
    let damaged = format!("{:?}", Item::Damaged { offset, bytes, newer });
    let (offset, bytes, newer) = (7452 + 10967, 11749, Some(Version { major: 2, minor: 0 }));
    let torn = format!("{:?}", Item::Torn { offset, bytes, newer });
    assert_eq!(said[alone.len()..], [damaged, torn]);
}

/// Whatever is changed before it, a length that now reaches over the head among it.
#[test]
fn a_recording_behind_damage_is_read_from_its_head() {
    let (first, second) = (kept("lab-leak-container"), kept("lab-healthy-plateau"));
    let wanted = as_second(&second);
    let joined = [&first[..], &second].concat();
    for place in first.len() - 60..first.len() {
        for bit in 0..8 {
            let mut spoilt = joined.clone();
            spoilt[place] ^= 1 << bit;
            let read = lines(&spoilt);
            assert!(read.ends_with(&wanted), "bit {bit} of byte {place}");
            let said = &read[read.len() - wanted.len() - 1];
            assert!(said.starts_with("Damaged"), "bit {bit} of byte {place}: {said}");
        }
    }
}

/// Three keys in one segment: a bit of whatever stands there, be it a frame's kind, its length, its content or its CRC, or a key's mark.
#[test]
fn a_flipped_bit_within_a_segment_costs_what_follows_up_to_the_next_key() {
    let bytes = kept("lab-leak-node-shadow");
    let whole = lines(&bytes);
    let is_mark = |place: &usize| bytes[*place..].starts_with(b"\xc7FKEY\r\n\0");
    let marks: Vec<usize> = (0..bytes.len()).filter(is_mark).collect();
    assert_eq!(marks, [1098, 5862, 11076]);
    let mut reader = Reader::open(&bytes).expect("it is whole");
    let mut edges = Vec::new();
    while reader.read().is_some() {
        edges.push(reader.offset());
    }
    let last = marks[2];
    let heads = edges.iter().step_by(3).flat_map(|edge| [*edge, *edge + 1]);
    let places = heads
        .chain((marks[0]..last).step_by(31))
        .chain(marks[1]..marks[1] + 10);
    for place in places.filter(|place| (marks[0]..last).contains(place)) {
        let mut spoilt = bytes.clone();
        spoilt[place] ^= 1 << (place % 8);
        let read = lines(&spoilt);
        let next = marks
            .iter()
            .find(|mark| **mark > place)
            .expect("the last one is behind it");
        let behind = edges.iter().filter(|edge| *edge > next).count();
        assert!(read.ends_with(&whole[whole.len() - behind..]), "byte {place}");
        let said = &read[read.len() - behind - 2..read.len() - behind];
        assert!(
            said[0].starts_with("Damaged") && said[1].starts_with("Begin"),
            "byte {place}: {said:?}"
        );
    }
}

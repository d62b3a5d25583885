//! A trace says what was recorded, or says that it cannot: whatever is cut off, flipped or newer.

mod made;

use forestall_decide::{Bytes, GroupId, GroupKind, Input, Moment, NodeSample, Policy, Sample, Span};
use forestall_trace::{Encoder, Error, Item, Origin, Reader};
use made::{Owned, input, read_segment, write};
use proptest::prelude::*;

fn read_all(segments: &[Vec<u8>]) -> Vec<String> {
    let mut lines = Vec::new();
    let bytes = segments.concat();
    read_segment(
        &mut Reader::open(&bytes).expect("it was just written"),
        &mut lines,
    );
    lines
}

/// Every line that is an input was recorded, in this order; nothing is made up.
fn is_part_of(read: &[String], written: &[String]) -> bool {
    let mut written = written.iter();
    read.iter()
        .filter(|line| line.starts_with(|letter: char| letter.is_ascii_digit()))
        .all(|line| written.any(|other| other == line))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_recorded_is_read(inputs in proptest::collection::vec(input(), 0..60)) {
        let (segments, lines) = write(&inputs);
        let read = read_all(&segments);
        prop_assert!(read[0].starts_with("begin Opening"));
        for (got, wanted) in read[1..].iter().zip(&lines) {
            prop_assert_eq!(got, wanted);
        }
        prop_assert_eq!(read.len(), lines.len() + 1);
    }

    #[test]
    fn a_segment_can_be_read_without_those_before_it(inputs in proptest::collection::vec(input(), 1..60)) {
        let (segments, lines) = write(&inputs);
        for from in 0..segments.len() {
            let read = read_all(&segments[from..]);
            prop_assert!(read[0].starts_with("begin Opening"));
            prop_assert!(lines.ends_with(&read[1..]), "from segment {}", from);
        }
        // One in the middle is missing, and something was in it: a fresh engine, and it is said why.
        if segments.len() > 2 && read_all(&segments[1..2]).len() > 1 {
            let read = read_all(&[&segments[..1], &segments[2..]].concat());
            let begins = read.iter().filter(|line| line.starts_with("begin Gap")).count();
            prop_assert_eq!(begins, 1);
            prop_assert!(is_part_of(&read, &lines));
        }
    }

    #[test]
    fn a_flipped_bit_costs_what_follows_up_to_a_key_and_is_said(
        inputs in proptest::collection::vec(input(), 1..40), place in any::<proptest::sample::Index>(), bit in 0_u8..8,
    ) {
        let (mut segments, lines) = write(&inputs);
        let at = place.index(segments[0].len());
        segments[0][at] ^= 1 << bit;
        let Ok(mut reader) = Reader::open(&segments[0]) else { return Ok(()) };
        let mut read = Vec::new();
        read_segment(&mut reader, &mut read);
        let said = read.iter().any(|line| line.starts_with("damaged") || line.starts_with("torn"));
        // The version's minor number is not covered by a checksum: a reader takes a newer one as it is.
        prop_assert!(said || at == 9);
        prop_assert!(is_part_of(&read, &lines));
    }

    #[test]
    fn any_bytes_are_read_to_their_end(junk in proptest::collection::vec(any::<u8>(), 0..400), at in any::<proptest::sample::Index>()) {
        let (segments, lines) = write(&[(5, Owned::Sample(small_sample(1).into())), (5, Owned::Sample(small_sample(2).into()))]);
        let mut bytes = segments[0].clone();
        let place = at.index(bytes.len());
        bytes.splice(place..place, junk.iter().copied());
        if let Ok(mut reader) = Reader::open(&bytes) {
            let mut read = Vec::new();
            read_segment(&mut reader, &mut read);
            prop_assert!(is_part_of(&read, &lines));
        }
        if let Ok(mut reader) = Reader::open(&junk) {
            read_segment(&mut reader, &mut Vec::new());
        }
    }
}

fn small_sample(pages: u64) -> Sample {
    Sample {
        node: NodeSample {
            free: Bytes(pages * 4096),
            ..NodeSample::default()
        },
        ..Sample::default()
    }
}

/// Several keys in one segment, so that there is something behind every cut.
fn long_trace(count: u64) -> (Vec<u8>, Vec<String>) {
    let inputs: Vec<_> = (0..count)
        .map(|at| (1_000_000, Owned::Sample(small_sample(at * at).into())))
        .collect();
    let (mut segments, lines) = write(&inputs);
    (segments.remove(0), lines)
}

#[test]
fn a_trace_cut_at_any_byte_gives_what_was_whole() {
    let (bytes, lines) = long_trace(70);
    let whole = read_all(std::slice::from_ref(&bytes)).len();
    let mut opened = 0;
    for end in 0..bytes.len() {
        let cut = &bytes[..end];
        let mut read = Vec::new();
        match Reader::open(cut) {
            Err(error) => assert!(matches!(error, Error::Head(_) | Error::NoTrace), "{end}: {error}"),
            Ok(mut reader) => {
                opened += 1;
                read_segment(&mut reader, &mut read);
                assert!(is_part_of(&read, &lines), "{end}");
                assert!(read.len() <= whole, "{end}");
            }
        }
    }
    assert!(opened > 500, "a cut behind the head leaves a trace: {opened}");
}

#[test]
fn a_frame_that_is_missing_shows_although_all_others_are_whole() {
    let (bytes, lines) = long_trace(40);
    let mut reader = Reader::open(&bytes).expect("it was just written");
    let mut edges = Vec::new();
    while reader.read().is_some() {
        edges.push(reader.offset());
    }
    // Without the tenth frame the eleventh is whole, and its figures would be told against the wrong ones.
    let without = [&bytes[..edges[10]], &bytes[edges[11]..]].concat();
    let mut reader = Reader::open(&without).expect("the head is untouched");
    let mut read = Vec::new();
    read_segment(&mut reader, &mut read);
    assert_eq!(read[1..11], lines[..10]);
    assert!(read[11].starts_with("torn"), "{}", read[11]);
}

#[test]
fn after_damage_reading_goes_on_at_the_next_key() {
    let (mut bytes, lines) = long_trace(600);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    let mut reader = Reader::open(&bytes).expect("the head is untouched");
    let mut read = Vec::new();
    read_segment(&mut reader, &mut read);
    let damaged = read
        .iter()
        .position(|line| line.starts_with("damaged"))
        .expect("it is said");
    assert!(
        read[damaged + 1].starts_with("begin Gap"),
        "{}",
        read[damaged + 1]
    );
    assert_eq!(read.last(), lines.last());
    let lost = lines.len() + 3 - read.len();
    // A key is an eighth of what follows it: few samples are lost.
    assert!((1..200).contains(&lost), "{lost} lost");
    assert!(is_part_of(&read, &lines));
}

#[test]
fn a_newer_trace_is_read_as_far_as_it_is_understood_or_refused() {
    let (mut bytes, lines) = long_trace(3);
    // The two bytes behind the mark are the version.
    bytes[9] = 200;
    assert_eq!(read_all(std::slice::from_ref(&bytes))[1..], lines[..]);
    bytes[8] = 2;
    let error = Reader::open(&bytes).expect_err("another major number");
    assert_eq!(error, Error::Newer { major: 2, minor: 200 });
    assert!(error.to_string().contains("newer forestall"));
    assert_eq!(Reader::open(b"mode: shadow\n").err(), Some(Error::NoTrace));
}

#[test]
fn a_run_that_was_ended_is_told_from_one_that_was_cut_at_the_end_of_a_frame() {
    let mut encoder = Encoder::new(Origin::default(), Policy::default());
    let mut out = Vec::new();
    encoder.open_segment(Moment(0), 0, &mut out);
    encoder.input(Moment(1), Input::Sample(&small_sample(1)), &mut out);
    let before = out.len();
    encoder.end(&mut out);
    let last = |bytes: &[u8]| read_all(&[bytes.to_vec()]).pop();
    assert_eq!(last(&out).as_deref(), Some("end"));
    let open = last(&out[..before]).expect("a sample");
    assert!(open != "end" && !open.starts_with("torn"), "{open}");
    // An end that is not whole is none.
    let end = out.len() - 1;
    assert!(last(&out[..end]).is_some_and(|line| line.starts_with("torn")));
    out[end] ^= 1;
    assert!(last(&out).is_some_and(|line| line.starts_with("torn")));
}

#[test]
fn an_older_trace_does_not_say_what_a_look_took_of_a_processor() {
    // Recorded before 1.2, by its head.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces/lab-leak-container.ftr");
    let bytes = std::fs::read(path).expect("it is kept there");
    assert_eq!(bytes[8..10], [1, 0]);
    let mut reader = Reader::open(&bytes).expect("it is a trace");
    let mut looks = 0;
    while let Some(item) = reader.read() {
        if let Item::Input(_, Input::Sample(Sample { node, .. })) = item {
            assert!(node.sample_cost > Span(0));
            assert_eq!(node.sample_processor, None);
            looks += 1;
        }
    }
    assert_eq!(looks, 85);
}

#[test]
fn a_steady_container_costs_a_bit_and_a_growing_one_a_few_bytes() {
    let mut encoder = Encoder::new(Origin::default(), Policy::default());
    let mut out = Vec::new();
    encoder.open_segment(Moment(0), 0, &mut out);
    let mut sample = small_sample(1);
    let template = made::pod(1, 1, true, 1);
    sample.groups = (0..100)
        .map(|id| forestall_decide::GroupSample {
            id: GroupId(id),
            kind: GroupKind::Container(template.qos),
            leaf: true,
            populated: true,
            limit: forestall_decide::Limit::Max,
            current: Bytes::mebi(id),
            anon: Bytes::mebi(id),
            swap_limit: forestall_decide::Limit::Max,
            ..forestall_decide::GroupSample::default()
        })
        .collect();
    let mut now = 1_000_000;
    encoder.input(Moment(now), Input::Sample(&sample), &mut out);
    let mut size = |encoder: &mut Encoder, sample: &Sample| {
        now += 1_000_000;
        let before = out.len();
        encoder.input(Moment(now), Input::Sample(sample), &mut out);
        out.len() - before
    };
    // 100 bits; kind, length, checksum, time, flags and the node's empty mask beside them.
    assert_eq!(size(&mut encoder, &sample), 13 + 1 + 1 + 4 + 3 + 1 + 1);
    sample.groups[7].current += Bytes(40960);
    sample.groups[7].anon += Bytes(40960);
    // Beside the bits a mask of one byte and two differences of one byte each.
    assert_eq!(size(&mut encoder, &sample), 24 + 3);
    assert!(matches!(
        Reader::open(&out).expect("it was just written").read(),
        Some(Item::Begin(_))
    ));
}

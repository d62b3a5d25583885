//! Which segments of a trace are one machine's recording, where several machines' lie behind one another.
//!
//! Moments begin anew with each boot, and numbers of cgroups and processes mean somebody else in another one. What was recorded
//! in one boot of one machine can be read as one story, and nothing else can. It refuses to guess: where the boot is not told
//! (a trace without names), each run of a recorder stands for itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::Error;
use crate::header::Origin;
use crate::reader::Reader;

/// One machine's recording, from one boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Whose it is, as its first segment says.
    pub origin: Origin,
    parts: Vec<Range<usize>>,
}

impl Recording {
    /// Every recording of a trace, in the order in which they begin there. A segment without a single input counts with the one
    /// before it. Fails where [`Reader::open`] does.
    pub fn all(bytes: &[u8]) -> Result<Vec<Self>, Error> {
        let mut reader = Reader::open(bytes)?;
        let mut parts = vec![(0, reader.origin().clone())];
        while reader.advance() {
            let begins = reader.segment_offset();
            if parts.last().is_some_and(|(last, _)| *last != begins) {
                parts.push((begins, reader.origin().clone()));
            }
        }
        let ends = parts.iter().skip(1).map(|(begins, _)| *begins);
        let ends: Vec<usize> = ends.chain([bytes.len()]).collect();
        let (mut all, mut places) = (Vec::<Self>::new(), BTreeMap::new());
        for ((begins, origin), end) in parts.into_iter().zip(ends) {
            let place = *places.entry(whose(&origin)).or_insert(all.len());
            match all.get_mut(place) {
                Some(known) => known.parts.push(begins..end),
                None => all.push(Self {
                    origin,
                    parts: std::iter::once(begins..end).collect(),
                }),
            }
        }
        Ok(all)
    }

    /// Its own segments out of the bytes that it was found in: a trace of its own.
    pub fn of<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let part = |part: &Range<usize>| bytes.get(part.clone()).unwrap_or_default();
        match &self.parts[..] {
            [only] => Cow::Borrowed(part(only)),
            parts => Cow::Owned(parts.iter().map(part).collect::<Vec<_>>().concat()),
        }
    }
}

/// What is equal for all segments of a recording and for no other's: there may be as many as a file has room for, so that they are
/// not compared one by one.
fn whose(origin: &Origin) -> (Box<str>, Box<str>, Option<u64>) {
    let run = origin.boot.is_empty().then_some(origin.run);
    (origin.node.clone(), origin.boot.clone(), run)
}

#[cfg(test)]
mod tests {
    use forestall_decide::{Input, Moment, Policy};

    use super::*;
    use crate::encoder::Encoder;
    use crate::frame::{self, MARK};
    use crate::header::{MAGIC, VERSION};
    use crate::record::Writer;

    fn segment(node: &str, boot: &str, run: u64, segment: u64) -> Vec<u8> {
        let origin = Origin {
            run,
            segment,
            node: node.into(),
            boot: boot.into(),
            ..Origin::default()
        };
        let mut encoder = Encoder::new(origin, Policy::default());
        let mut out = Vec::new();
        encoder.open_segment(Moment(0), 0, &mut out);
        encoder.input(Moment(1), Input::Policy(&Policy::default()), &mut out);
        out
    }

    /// Of each recording the node, the boot, and which of the segments are its own.
    fn found(segments: &[Vec<u8>]) -> Vec<(String, String, Vec<usize>)> {
        let bytes = segments.concat();
        let all = Recording::all(&bytes).expect("it is a trace");
        all.iter()
            .map(|recording| {
                let own = recording.of(&bytes);
                let mut rest = &*own;
                let mut places = Vec::new();
                while let Some(place) = segments.iter().position(|segment| rest.starts_with(segment)) {
                    places.push(place);
                    rest = &rest[segments[place].len()..];
                }
                assert!(rest.is_empty());
                let Origin { node, boot, .. } = &recording.origin;
                (node.to_string(), boot.to_string(), places)
            })
            .collect()
    }

    #[test]
    fn a_boot_of_a_machine_is_one_recording_wherever_its_segments_lie() {
        let segments = [
            segment("a", "boot-1", 1, 0),
            segment("b", "boot-2", 2, 0),
            segment("a", "boot-1", 3, 0),
            segment("a", "boot-4", 4, 0),
            segment("b", "boot-2", 2, 1),
        ];
        let of =
            |node: &str, boot: &str, places: &[usize]| (node.to_owned(), boot.to_owned(), places.to_vec());
        assert_eq!(
            found(&segments),
            [
                of("a", "boot-1", &[0, 2]),
                of("b", "boot-2", &[1, 4]),
                of("a", "boot-4", &[3])
            ]
        );
    }

    #[test]
    fn where_the_boot_is_not_told_a_run_stands_for_itself() {
        let segments = [
            segment("node", "", 1, 0),
            segment("node", "", 2, 0),
            segment("node", "", 1, 1),
        ];
        let places: Vec<_> = found(&segments).into_iter().map(|(.., places)| places).collect();
        assert_eq!(places, [vec![0, 2], vec![1]]);
    }

    /// To compare each with all others would take 3,200,000,000 comparisons.
    #[test]
    fn of_many_boots_each_is_found_without_asking_all_others() {
        let mut bytes = Vec::new();
        for boot in 0..80_000 {
            bytes.extend_from_slice(&MAGIC);
            bytes.extend_from_slice(&[VERSION.major, VERSION.minor]);
            let mut head = Vec::new();
            // The run and the boot, as they stand in a head.
            let mut writer = Writer::new(&mut head);
            writer.number(1, boot);
            writer.bytes(6, format!("boot-{boot}").as_bytes());
            frame::write(frame::kind::HEAD, &head, 0, &mut bytes);
            bytes.extend_from_slice(&MARK);
            frame::write(frame::kind::KEY, &[], 0, &mut bytes);
        }
        let all = Recording::all(&bytes).expect("it is a trace");
        assert_eq!(all.len(), 80_000);
        assert_eq!(&*all[79_999].origin.boot, "boot-79999");
    }

    #[test]
    fn a_tail_that_is_cut_off_stays_with_whom_it_belongs_to() {
        let mut cut = segment("a", "1", 1, 0);
        cut.pop();
        let bytes = [&cut[..], &segment("b", "2", 2, 0)].concat();
        let all = Recording::all(&bytes).expect("it is a trace");
        let [first, second] = &all[..] else {
            panic!("{all:?}")
        };
        assert_eq!((first.of(&bytes).len(), &*second.origin.node), (cut.len(), "b"));
    }
}

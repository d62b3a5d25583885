//! `forestall trace cut` and `anonymise`: a trace made from another one, input by input.
//!
//! The figures and their moments are copied as they are. Where the original has a gap, so has the copy; a cut begins with
//! what was known at its first input, like the recording of an agent that was started then. It refuses to make one trace of several
//! recordings: which one is meant has to be said.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::bail;
use forestall_decide::kubelet::KubeletConfig;
use forestall_decide::{GroupId, Input, Moment, PodUid, Pods, Policy, ProcessId, Sample};
use forestall_trace::{Encoder, Item, Names, Origin, Reader, Version};

use super::date::write_date;
use super::pseudonym::{Pseudonyms, release_number};
use super::source::{Source, When, newer_than_known};
use crate::exit::Exit;
use crate::log::escape;

/// What is kept, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rewrite {
    pub(super) from: Option<When>,
    pub(super) to: Option<When>,
    /// Which of several recordings, from 1 on.
    pub(super) recording: Option<usize>,
    pub(super) anonymous: bool,
}

impl Rewrite {
    /// Refuses bounds that nothing can lie between, in a trace that begins then.
    fn check_order(&self, begins: u64) -> anyhow::Result<()> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from.unix_micros(begins) >= to.unix_micros(begins)
        {
            bail!("--from is not before --to: nothing lies between them");
        }
        Ok(())
    }

    /// Why nothing of a trace that has inputs between these moments is left.
    fn why_nothing(&self, begins: u64, ends: u64) -> String {
        let lies = format!(
            "the trace, which lies between {} and {}",
            write_date(begins),
            write_date(ends)
        );
        if self.from.is_some_and(|from| from.is_after(ends, begins)) {
            format!("--from is after the end of {lies}")
        } else if self.to.is_some_and(|to| to.unix_micros(begins) <= begins) {
            format!("--to is not after the beginning of {lies}")
        } else {
            format!("nothing was recorded between --from and --to in {lies}")
        }
    }
}

/// What an engine holds besides samples, as of the last input read.
#[derive(Debug, Default)]
struct Known {
    began: Option<Moment>,
    policy: Policy,
    kubelet: Option<KubeletConfig>,
    pods: Option<Pods>,
}

#[derive(Debug, Default)]
struct Copier {
    known: Known,
    encoder: Option<Encoder>,
    pseudonyms: Option<Pseudonyms>,
    groups: BTreeSet<GroupId>,
    processes: BTreeSet<ProcessId>,
    /// Bytes were passed over before the next input.
    damage: u64,
    counts: Counts,
    out: Vec<u8>,
}

/// What was copied, and what could not be.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    inputs: u64,
    /// Inputs of a newer program.
    unknown: u64,
    /// Bytes that do not hold what was written, among what is copied.
    damaged: u64,
    /// The newest format among the segments.
    newest: Option<Version>,
}

/// Writes the copy.
pub(super) fn run(path: &Path, output: &Path, rewrite: &Rewrite) -> anyhow::Result<Exit> {
    let source = Source::load(path)?.choose(path, rewrite.recording)?;
    let shown = escape::text(&output.display().to_string());
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(output)
        .map_err(|error| {
            let advice = match error.kind() {
                std::io::ErrorKind::AlreadyExists => "; name a file that does not exist yet",
                _ => "",
            };
            anyhow::Error::from(error).context(format!("{shown}: cannot be created{advice}"))
        })?;
    let mut file = BufWriter::new(file);
    let counts = copy(&source, rewrite, &mut file)
        .and_then(|counted| {
            file.flush().and_then(|()| file.get_ref().sync_all())?;
            Ok(counted)
        })
        .inspect_err(|_| {
            // It was made by us a moment ago and holds nothing of use.
            let _ = std::fs::remove_file(output);
        })
        .map_err(|error| {
            if error.is::<std::io::Error>() {
                error.context(format!("{shown}: cannot be written"))
            } else {
                error
            }
        })?;
    let missing = if counts.unknown > 0 {
        format!("; {} of a newer program could not be copied", counts.unknown)
    } else {
        String::new()
    };
    super::super::print(format!("{} inputs written to {shown}{missing}\n", counts.inputs).as_bytes())?;
    let damaged = (counts.damaged > 0).then(|| {
        format!(
            "{} damaged bytes could not be copied; the copy says where inputs are lost",
            counts.damaged
        )
    });
    let newer = counts.newest.and_then(newer_than_known);
    let whole = counts.unknown == 0 && damaged.is_none() && newer.is_none() && source.notes.is_empty();
    for why in damaged.into_iter().chain(newer) {
        // Nothing is left to tell it to if stderr is gone as well.
        let _ = writeln!(
            std::io::stderr(),
            "forestall: {}: {why}",
            escape::text(&path.display().to_string())
        );
    }
    Ok(if whole { Exit::Clean } else { Exit::Stale })
}

fn copy(source: &Source, rewrite: &Rewrite, file: &mut impl Write) -> anyhow::Result<Counts> {
    let mut reader = source.reader()?;
    let mut copier = Copier::default();
    if rewrite.anonymous {
        copier.pseudonyms = Some(Pseudonyms::numbering(uids(&mut source.reader()?)));
    }
    let (mut begins, mut ends) = (None, None);
    while reader.advance() {
        copier.counts.newest = copier.counts.newest.max(Some(reader.version()));
        let Some(item) = reader.item() else { break };
        match item {
            Item::Begin(begin) => {
                let begins = *begins.get_or_insert(reader.unix_micros(begin.at));
                rewrite.check_order(begins)?;
                copier.break_off(begin.missing.unwrap_or(1));
                copier.known = Known {
                    began: Some(begin.at),
                    policy: *begin.policy,
                    kubelet: begin.kubelet.cloned(),
                    pods: begin.pods.cloned(),
                };
            }
            Item::Input(at, recorded) => {
                let unix = reader.unix_micros(at);
                let begins = *begins.get_or_insert(unix);
                ends = ends.max(Some(unix));
                let early = rewrite.from.is_some_and(|from| from.is_after(unix, begins));
                if early {
                    (copier.known.began, copier.damage) = (None, 0);
                } else if rewrite.to.is_none_or(|to| to.is_after(unix, begins)) {
                    copier.input(&reader, at, recorded);
                } else {
                    // It is meant to end here.
                    copier.end();
                }
                copier.remember(recorded);
            }
            Item::End => copier.end(),
            Item::Lost(count) => {
                if let Some(encoder) = &mut copier.encoder {
                    encoder.lost(count, &mut copier.out);
                }
            }
            Item::Unknown(_) => copier.counts.unknown += 1,
            Item::Damaged { bytes, .. } => copier.damage += bytes as u64,
            Item::Torn { bytes, .. } => {
                copier.damage += bytes as u64;
                copier.break_off(1);
            }
        }
        file.write_all(&copier.out)?;
        copier.out.clear();
    }
    if copier.counts.inputs == 0 {
        let Some((begins, ends)) = begins.zip(ends) else {
            bail!("the trace holds no input");
        };
        bail!("{}", rewrite.why_nothing(begins, ends));
    }
    Ok(copier.counts)
}

/// Everybody whom the trace knows.
fn uids(reader: &mut Reader<'_>) -> BTreeSet<PodUid> {
    let mut uids = BTreeSet::new();
    while reader.advance() {
        let pods = match reader.item() {
            Some(Item::Begin(begin)) => begin.pods,
            Some(Item::Input(_, Input::Pods(pods))) => Some(pods),
            _ => None,
        };
        uids.extend(pods.iter().flat_map(|pods| &pods.list).map(|pod| pod.uid));
    }
    uids
}

impl Copier {
    fn input(&mut self, reader: &Reader<'_>, at: Moment, recorded: Input<'_>) {
        if self.encoder.is_none() {
            self.open(reader, at);
        }
        let names = match recorded {
            Input::Sample(sample) => self.new_names(sample, reader.names()),
            _ => Names::default(),
        };
        let Some(encoder) = &mut self.encoder else { return };
        encoder.set_clock(at, reader.unix_micros(at));
        encoder.name(&names);
        match (recorded, &mut self.pseudonyms) {
            (Input::Pods(pods), Some(pseudonyms)) => {
                let pods = pseudonyms.pods(pods);
                encoder.input(at, Input::Pods(&pods), &mut self.out);
            }
            _ => encoder.input(at, recorded, &mut self.out),
        }
        self.counts.inputs += 1;
        self.counts.damaged += core::mem::take(&mut self.damage);
    }

    /// Here the copy stops being one story. Where that is for damage, and amid what is copied, it says that so many inputs are lost.
    fn break_off(&mut self, lost: u64) {
        if let Some(mut encoder) = self.encoder.take()
            && self.damage > 0
        {
            encoder.lost(lost, &mut self.out);
            self.counts.damaged += core::mem::take(&mut self.damage);
        }
    }

    /// The copy of this run is whole.
    fn end(&mut self) {
        if let Some(mut encoder) = self.encoder.take() {
            encoder.end(&mut self.out);
        }
    }

    /// Begins a segment with what is known.
    fn open(&mut self, reader: &Reader<'_>, at: Moment) {
        let origin = match self.pseudonyms {
            Some(_) => Origin {
                node: "node".into(),
                boot: "".into(),
                kernel: release_number(&reader.origin().kernel).into(),
                ..reader.origin().clone()
            },
            None => reader.origin().clone(),
        };
        let pods = self.known.pods.as_ref();
        let pods = pods.map(|pods| match &mut self.pseudonyms {
            Some(pseudonyms) => pseudonyms.pods(pods),
            None => pods.clone(),
        });
        let mut encoder = Encoder::resume(origin, self.known.policy, self.known.kubelet.clone(), pods);
        let began = self.known.began.take().unwrap_or(at);
        encoder.open_segment(began, reader.unix_micros(began), &mut self.out);
        self.groups.clear();
        self.processes.clear();
        self.encoder = Some(encoder);
    }

    /// The names of those who have not been named in this segment.
    fn new_names(&mut self, sample: &Sample, known: &Names) -> Names {
        let mut names = Names::default();
        for group in &sample.groups {
            let Some(path) = known.group(group.id).filter(|_| self.groups.insert(group.id)) else {
                continue;
            };
            match &mut self.pseudonyms {
                Some(pseudonyms) => names.name_group(group.id, &pseudonyms.path(path)),
                None => names.name_group(group.id, path),
            }
        }
        for process in &sample.processes {
            let Some(name) = known
                .process(process.id)
                .filter(|_| self.processes.insert(process.id))
            else {
                continue;
            };
            match &mut self.pseudonyms {
                Some(pseudonyms) => names.name_process(process.id, &pseudonyms.process(name)),
                None => names.name_process(process.id, name),
            }
        }
        names
    }

    fn remember(&mut self, recorded: Input<'_>) {
        match recorded {
            Input::Policy(policy) => self.known.policy = *policy,
            Input::KubeletConfig(config) => self.known.kubelet = Some(config.clone()),
            Input::Pods(pods) => self.known.pods = Some(pods.clone()),
            Input::Sample(_) | Input::Outcome(_) => {}
        }
    }
}

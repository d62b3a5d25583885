//! A judgement as text: for the terminal, and as a page of the documentation.
use std::fmt::Write;

use super::halves::{Class, Half};
use super::judge::{ERROR_MAX_PERMILLE, Judgement};
use super::measured::Clock;

const INTRODUCTION: &str = "\
# The simulator beside real kernels

Written by `cargo xtask calibrate --write`. Each row is a run of the lab in which nobody saves anybody: a stock kernel under
emulation, real cgroups, a real kill. The same plan is simulated, and both first deaths stand side by side. Time counts from the
culprit's start; an error is the distance of both moments as a share of the real one, which is the run's length. A death that only one
side knows counts as 100 %.

Half of the scenarios fit the parameters below, with all their runs; the other half is judged and had no part in them. The halves
alternate by name, among fast and slow scenarios apart. Fast is a culprit that is planned to take at least 40 thousandths of the
machine's memory a second.

What was measured is kept in `xtask/src/calibrate/measured.jsonl`, and a test holds the medians. `cargo xtask calibrate --measure
--kernel 6.1 leak-node` runs the lab again, with an agent in shadow that records, and keeps what its trace and the guest's reports say.
";

/// One clock's judgement.
pub(crate) fn section(judgement: &Judgement) -> String {
    let mut text = format!("## {}\n\n{}\n\n", title(judgement.clock), about(judgement.clock));
    _ = writeln!(text, "{}", judgement.medians());
    let (counted, all) = judgement.coverage();
    _ = writeln!(text, "Of the lab's {all} scenarios {counted} are counted here.");
    let (calm, right) = judgement.calm;
    _ = writeln!(
        text,
        "Runs in which nobody ended: {calm}; in {right} of them nobody was predicted to.\n"
    );
    for (scenario, why) in &judgement.without_row {
        _ = writeln!(text, "- No row for `{scenario}`: {why}.");
    }
    if !judgement.without_row.is_empty() {
        text.push('\n');
    }
    _ = writeln!(text, "{}\n{}", judgement.table(), judgement.fitted());
    text
}

/// The verdict, a line a clock.
pub(crate) fn verdict(judgement: &Judgement) -> String {
    let medians = Class::ALL.map(|class| {
        let error = judgement.median_permille(Half::Judge, class);
        let error = error.map_or("nothing judged".to_owned(), |error| {
            format!("{}.{} %", error / 10, error % 10)
        });
        format!("{} {error}", class.word())
    });
    let (limit, word) = (
        ERROR_MAX_PERMILLE / 10,
        if judgement.holds() {
            "holds"
        } else {
            "does NOT hold"
        },
    );
    format!(
        "{}: median error {} of a run's length; at most {limit} % {word}",
        title(judgement.clock),
        medians.join(", ")
    )
}

/// The whole page.
pub(crate) fn page(judgements: &[Judgement]) -> String {
    let verdicts: Vec<String> = judgements
        .iter()
        .map(|judgement| format!("- {}.", verdict(judgement)))
        .collect();
    let sections: Vec<String> = judgements.iter().map(section).collect();
    format!(
        "{INTRODUCTION}\n{}\n\n{}\n{}\n",
        verdicts.join("\n"),
        sections.concat().trim_end(),
        CAUSES.trim_end()
    )
}

const CAUSES: &str = "
## What is far off, and why

- Under the machine's clock the guests of kernels 6.12 and 7 ran beside compilers, and were kept waiting for seconds (the lab's own
  figure `starved_millis`). What a guest could not do in that time comes later in reality; the simulator does not know. Under the counted
  clock the same scenarios are where they should be.
- `page-cache` under the machine's clock: the stand-in for the kubelet looks every ten seconds, so an eviction that is missed at one
  look comes ten seconds later, and how long a file takes to be laid out on the disk decides between two looks. That is read off
  traces, and those are all of the counted clock, where it takes longer.
- `page-cache` under the counted clock on kernel 6.12: its trace shows the file laid out after 51 s, where 6.1 takes 14; from there on
  both go alike. One speed stands for all kernels, from a run of 6.1, and no fitted scenario lays out a file on 6.12.
- Swap is not counted (`swap-forbidden`, `swap-locked`, `zram-leak`): when the last page of a compressed pool is taken is a matter of what
  the pages hold, and how fast they go there of the machine, and neither is in the simulator's lines.
- A scenario of which no run is kept says nothing either way. `healthy-stream` lacks one under the counted clock alone; nobody ends in
  it, so that it would count among the calm runs.
- `burst` under the machine's clock: it takes what the machine gives, and that differed by 2.5 between the runs.
";

const fn title(clock: Clock) -> &'static str {
    match clock {
        Clock::Counted => "Counted clock",
        Clock::Machine => "The machine's clock",
    }
}

const fn about(clock: Clock) -> &'static str {
    match clock {
        Clock::Counted => {
            "The guest has one processor, and its clock goes on with its instructions: other work on the machine changes nothing. An \
             agent in shadow records."
        }
        Clock::Machine => {
            "The lab as it runs otherwise: two processors, the machine's own time, other work beside it, no agent. What a trace tells is \
             taken from the runs above."
        }
    }
}

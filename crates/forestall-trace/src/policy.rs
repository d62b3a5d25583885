//! A policy as a record.

use forestall_decide::{Bytes, BytesPerSecond, Policy, Rung, Rungs, Span};

use crate::code::Code;
use crate::record::{Writer, read_fields};

/// Appends a policy. A field that is added to it does not compile before it is recorded, since it can change a decision.
pub(crate) fn write(policy: &Policy, writer: &mut Writer<'_>) {
    let Policy {
        mode,
        preset,
        victims,
        rungs,
        culprit_share_permille,
        term_grace,
        effect_deadline,
        kill_cooldown,
        tick_calm,
        tick_idle,
        fill_rate,
        tick_near,
        tick_min,
        kubelet_eviction_hard,
        war_story_used_permille,
        war_story_cache_permille,
        gist_available_bytes_min,
    } = *policy;
    writer.number(1, mode.code());
    writer.number(2, preset.code());
    writer.number(3, victims.code());
    writer.number(4, mask(rungs));
    writer.number(7, culprit_share_permille);
    writer.number(8, term_grace.0);
    writer.number(9, effect_deadline.0);
    writer.number(10, kill_cooldown.0);
    writer.number(11, tick_calm.0);
    writer.number(12, tick_idle.0);
    writer.number(13, fill_rate.0);
    writer.number(14, tick_near.0);
    writer.number(15, tick_min.0);
    writer.number(16, kubelet_eviction_hard.0);
    writer.number(17, war_story_used_permille);
    writer.number(18, war_story_cache_permille);
    writer.number(19, gist_available_bytes_min.0);
}

/// A set of rungs by their numbers.
fn mask(rungs: Rungs) -> u64 {
    let on = Rung::ALL.into_iter().filter(|rung| rungs.has(*rung));
    on.fold(0, |mask, rung| mask | 1 << rung.code())
}

/// The set again; nothing where it has a rung that is not known.
fn unmask(mask: u64) -> Option<Rungs> {
    let set = Rung::ALL.into_iter().filter(|rung| mask & 1 << rung.code() != 0);
    let rungs = set.fold(Rungs::NONE, |set, rung| set.with(rung, true));
    (self::mask(rungs) == mask).then_some(rungs)
}

/// Reads a policy; what it does not say is as it is by default.
pub(crate) fn read(bytes: &[u8]) -> Option<Policy> {
    let mut policy = Policy::default();
    read_fields(bytes, |tag, value| {
        match tag {
            1 => policy.mode = Code::of(value.number()?)?,
            2 => policy.preset = Code::of(value.number()?)?,
            3 => policy.victims = Code::of(value.number()?)?,
            4 => policy.rungs = unmask(value.number()?)?,
            7 => policy.culprit_share_permille = value.number()?,
            8 => policy.term_grace = Span(value.number()?),
            9 => policy.effect_deadline = Span(value.number()?),
            10 => policy.kill_cooldown = Span(value.number()?),
            11 => policy.tick_calm = Span(value.number()?),
            12 => policy.tick_idle = Span(value.number()?),
            13 => policy.fill_rate = BytesPerSecond(value.number()?),
            14 => policy.tick_near = Span(value.number()?),
            15 => policy.tick_min = Span(value.number()?),
            16 => policy.kubelet_eviction_hard = Bytes(value.number()?),
            17 => policy.war_story_used_permille = value.number()?,
            18 => policy.war_story_cache_permille = value.number()?,
            19 => policy.gist_available_bytes_min = Bytes(value.number()?),
            _ => {}
        }
        Some(())
    })?;
    Some(policy)
}

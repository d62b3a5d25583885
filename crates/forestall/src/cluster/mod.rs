//! Kubernetes: this node's pods as the API server knows them, on their way to the guard.
//!
//! It runs on the talk thread and may wait for the network as long as its deadlines allow. What it refuses to do: decide, read another node's pods,
//! and go on without checking the server's certificate.

mod access;
mod asks;
mod attempt;
mod budget;
mod condition;
mod destination;
mod error;
mod event;
mod evict;
mod follow;
mod header;
mod identity;
mod known;
mod kubelet;
mod line;
mod link;
mod news;
mod node_memory;
mod notice;
mod own_node;
mod places;
mod pod;
mod proxy;
mod rights;
mod seen;
mod series;
mod shelf;
mod slim;
mod taint;
mod tls;
mod token;

pub(crate) use self::access::Access;
pub(crate) use self::attempt::{NodeWitness, Told};
pub(crate) use self::budget::Purse;
pub(crate) use self::condition::{NodeSources, keep as keep_conditions};
pub(crate) use self::error::Trouble;
pub(crate) use self::evict::{Witness, carry_out_all};
pub(crate) use self::header::Skew;
pub(crate) use self::kubelet::{Believed, KubeletAudience, ask_kubelet};
pub(crate) use self::line::{Audience, Line};
pub(crate) use self::node_memory::keep as keep_node_memory;
pub(crate) use self::notice::{KillWord, Notices};
pub(crate) use self::shelf::{Named, Shelf};
pub(crate) use self::taint::TaintWish;

#[cfg(test)]
mod tests;

//! Where victims lived, by the names that Kubernetes has for it; a kernel's log knows none of them, and an agent's ledger does.

use super::page::Page;
use crate::ledger::Home;
use crate::log::escape;

/// So many are told.
const HOMES_MAX: usize = 3;

/// Where victims lived, by the names that Kubernetes has for it, each once.
pub(super) fn show(page: &mut Page, homes: &[Home]) {
    let mut said: Vec<String> = Vec::new();
    for home in homes.iter().filter(|home| !home.pod.is_empty()) {
        let mut words = escape::text(&format!("{}/{}", home.namespace, home.pod));
        if !home.container.is_empty() {
            words = format!("{words}, container {}", escape::text(&home.container));
        }
        if !said.contains(&words) {
            said.push(words);
        }
    }
    let more = said.len().saturating_sub(HOMES_MAX);
    for (place, words) in said.iter().take(HOMES_MAX).enumerate() {
        page.line(if place == 0 { "pod" } else { "" }, words);
    }
    if more > 0 {
        page.line("", &format!("and {more} more; -o json has them"));
    }
}

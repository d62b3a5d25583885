//! What the kubelet of this machine runs with, for the engine: its flags and files, read when the agent starts and whenever
//! the kubelet was started anew. `forestall node` reads and reckons the same.
//!
//! It opens files and a command line, so that its place is the start and later the talk thread. It refuses to guess: what is
//! not understood is passed over and named, and of a kubelet whose own file cannot be read only what its flags say is known. It
//! refuses to take a file that was changed under a running kubelet for what that one runs with, because a kubelet reads it at its
//! start.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forestall_decide::kubelet::{ConfigSource, KubeletConfig, Signal};
use forestall_decide::{Bytes, Span};

use crate::commands::node::amount::Threshold;
use crate::commands::node::configure::Configured;
use crate::commands::node::division::Division;
use crate::commands::node::kubelet::Found;
use crate::commands::node::machine::Machine;
use crate::commands::node::setting::{Settings, Told};
use crate::config::KubeletFile;
use crate::log::Level;

/// Knows what was read last, and when that is worth doing again.
#[derive(Debug)]
pub(crate) struct KubeletWatch {
    root: PathBuf,
    file: KubeletFile,
    seen: Option<Seen>,
    /// What it has said itself, which counts before all files.
    heard: Option<Found>,
}

#[derive(Debug)]
struct Seen {
    found: Found,
    stamps: Vec<Option<Stamp>>,
    /// It was told that a file has changed.
    is_told: bool,
}

/// What changes with a file: device and inode, size, and time of its last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp([u64; 3], [i64; 2]);

/// What one look has found.
#[derive(Debug)]
pub(crate) struct KubeletNews {
    /// For the engine; `None` where it is not known what the kubelet runs with.
    pub(crate) config: Option<Arc<KubeletConfig>>,
    /// For the log.
    pub(crate) lines: Vec<(Level, String)>,
}

impl KubeletWatch {
    /// Of the machine below `root`. Reads nothing yet.
    pub(crate) fn new(root: &Path, file: &KubeletFile) -> Self {
        Self {
            root: root.to_owned(),
            file: file.clone(),
            seen: None,
            heard: None,
        }
    }

    /// Takes the kubelet's own answer (`/configz`); `None` where it is the one before. From the first on its files are not read any more: it may run with
    /// something else.
    pub(crate) fn hear(&mut self, configz: &str) -> Option<KubeletNews> {
        if self.file == KubeletFile::Off {
            return None;
        }
        let found = match Found::of_configz(configz) {
            Ok(found) => found,
            Err(why) => {
                let why = format!("what the kubelet says of itself is not understood: {why}");
                return Some(KubeletNews {
                    config: None,
                    lines: vec![(Level::Warn, why)],
                });
            }
        };
        if self.heard.as_ref() == Some(&found) {
            return None;
        }
        let news = KubeletNews::of(&self.root, &found, ConfigSource::Configz);
        self.heard = Some(found);
        Some(news)
    }

    /// Forgets what was read, so that it is read again.
    pub(crate) fn forget(&mut self) {
        (self.seen, self.heard) = (None, None);
    }

    /// Reads, the first time and where there may be something new since; `None` where there is not. `is_present`: the guard
    /// sees a kubelet. Costs a few calls while the same kubelet runs, and nothing while there is none.
    pub(crate) fn look(&mut self, is_present: bool) -> Option<KubeletNews> {
        let named = match &self.file {
            KubeletFile::Off => return None,
            _ if self.heard.is_some() => return None,
            KubeletFile::Auto => None,
            KubeletFile::At(path) => Some(path.as_path()),
        };
        if let Some(seen) = &mut self.seen {
            // The next one is told the same, as far as anybody knows.
            if !is_present && named.is_none() {
                return None;
            }
            let has_changed = stamps(&seen.found.files) != seen.stamps;
            match seen.found.process {
                Some(process) if process.is_running(&self.root) => {
                    return (has_changed && !seen.is_told).then(|| {
                        seen.is_told = true;
                        KubeletNews::changed()
                    });
                }
                None if named.is_some() && !has_changed => return None,
                _ => {}
            }
        }
        let found = Found::read_tolerantly(&self.root, named);
        let is_nothing = found.process.is_none() && found.places.is_empty() && found.notes.is_empty();
        let stamps = stamps(&found.files);
        let is_news = match &self.seen {
            None => !is_nothing,
            Some(seen) => seen.found != found || seen.stamps != stamps,
        };
        let news = is_news.then(|| KubeletNews::of(&self.root, &found, ConfigSource::File));
        self.seen = Some(Seen {
            found,
            stamps,
            is_told: false,
        });
        news
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |path: &PathBuf| {
        let about = fs::metadata(path).ok()?;
        Some(Stamp(
            [about.dev(), about.ino(), about.size()],
            [about.ctime(), about.ctime_nsec()],
        ))
    };
    files.iter().map(stamp).collect()
}

impl KubeletNews {
    fn changed() -> Self {
        let line =
            "a file of the kubelet's configuration was changed: it holds when the kubelet is started again";
        Self {
            config: None,
            lines: vec![(Level::Info, line.to_owned())],
        }
    }

    fn of(root: &Path, found: &Found, source: ConfigSource) -> Self {
        let mut lines: Vec<_> = found
            .notes
            .iter()
            .map(|note| (Level::Warn, note.clone()))
            .collect();
        let is_known = !(found.lacks_file && found.settings.eviction_hard.is_none())
            && (found.process.is_some() || !found.places.is_empty());
        if !is_known {
            let why = "what this node's kubelet runs with is not known: kubeletEvictionHard is assumed; make its files readable \
                       below root, or name its configuration by kubeletConfig";
            lines.push((Level::Warn, why.to_owned()));
            return Self { config: None, lines };
        }
        let mut settings = found.settings.clone();
        if let (Some(soft), None) = (&settings.eviction_soft, &settings.soft_grace) {
            let why = format!(
                "passed over: eviction-soft in {} has no grace period, and no kubelet starts with such",
                soft.source
            );
            lines.push((Level::Warn, why));
            settings.eviction_soft = None;
        }
        let machine = match Machine::read(root) {
            Ok(machine) => machine,
            Err(error) => {
                lines.push(say_unreckoned(&error));
                return Self { config: None, lines };
            }
        };
        for why in pass_over_impossible(Bytes(machine.total), &mut settings) {
            lines.push((Level::Warn, why));
        }
        if settings.eviction_hard.is_none() && found.settings.eviction_hard.is_some() {
            let why = "when this node's kubelet evicts is not known: kubeletEvictionHard is assumed until its configuration \
                       is mended and the kubelet started again";
            lines.push((Level::Warn, why.to_owned()));
            return Self { config: None, lines };
        }
        let configured = Configured::of_machine(&machine, settings.clone());
        let config = match configured {
            Ok(node) => {
                lines.push((Level::Info, describe(found, &settings, &node)));
                lines.extend(node.notes.into_iter().map(|note| (Level::Info, note)));
                Some(Arc::new(KubeletConfig {
                    source,
                    ..node.config
                }))
            }
            Err(error) => {
                lines.push(say_unreckoned(&error));
                None
            }
        };
        Self { config, lines }
    }
}

fn say_unreckoned(error: &anyhow::Error) -> (Level, String) {
    (
        Level::Warn,
        format!("what the kubelet runs with cannot be reckoned: {error:#}"),
    )
}

/// Takes away the figures that no kubelet starts with on a machine of this `capacity`, by the check that `forestall node`
/// refuses them with, and says of each where it stands and why. None of them is what a kubelet runs with.
fn pass_over_impossible(capacity: Bytes, settings: &mut Settings) -> Vec<String> {
    let fits = |trial: &Settings| -> Result<(), String> {
        // The kubelet's own check at its start counts neither huge pages nor what the kernel holds now.
        let mut node = Configured::bare(capacity, Bytes::ZERO);
        node.apply(trial.clone()).map_err(|error| format!("{error:#}"))?;
        Division::of(&node.config, None).map(drop)
    };
    let mut passed_over = Vec::new();
    let mut pass_over = |name: &str, source: &str, why: &str| {
        passed_over.push(format!("passed over: {name} in {source}: {why}"));
    };
    // Figure by figure, each beside those before it, so that the one to blame is named.
    let mut trial = Settings {
        eviction_hard: Some(Told::by("nobody", Threshold::off())),
        ..Settings::default()
    };
    if let Some(told) = &settings.kube_reserved {
        trial.kube_reserved = Some(told.clone());
        if let Err(why) = fits(&trial) {
            pass_over("kube-reserved", &told.source, &why);
            (settings.kube_reserved, trial.kube_reserved) = (None, None);
        }
    }
    if let Some(told) = &settings.system_reserved {
        trial.system_reserved = Some(told.clone());
        if let Err(why) = fits(&trial) {
            pass_over("system-reserved", &told.source, &why);
            (settings.system_reserved, trial.system_reserved) = (None, None);
        }
    }
    if let Some(told) = &settings.eviction_hard {
        trial.eviction_hard = Some(told.clone());
        if let Err(why) = fits(&trial) {
            pass_over("eviction-hard", &told.source, &why);
            settings.eviction_hard = None;
        }
    }
    passed_over
}

/// What it runs with, who says so, and what is left at its default.
fn describe(found: &Found, settings: &Settings, node: &Configured) -> String {
    let (config, origins) = (&node.config, &node.origins);
    let mut line = format!("the kubelet's configuration: {}:", found.places.join(", "));
    // Writing to a String cannot fail.
    match config.hard(Signal::MemoryAvailable) {
        bytes if bytes.0 > 0 => {
            let source = origins.eviction_hard.as_deref().unwrap_or_default();
            let _ = write!(line, " evicts below {bytes} available ({source})");
        }
        _ => line.push_str(" evicts for no shortage of memory by a hard threshold"),
    }
    let soft = config
        .thresholds
        .iter()
        .find(|threshold| threshold.grace > Span(0));
    if let Some(soft) = soft {
        let source = origins.eviction_soft.as_deref().unwrap_or_default();
        let _ = write!(line, ", below {} for {} ({source})", soft.value, soft.grace);
    }
    let _ = write!(
        line,
        ", reserves {} for Kubernetes ({}) and {} for the system ({}), leaves {} to all pods",
        config.kube_reserved,
        origins.kube_reserved,
        config.system_reserved,
        origins.system_reserved,
        config.kubepods_limit()
    );
    let unsaid = settings.unsaid();
    if !unsaid.is_empty() {
        let _ = write!(line, "; left at the kubelet's defaults: {}", unsaid.join(", "));
    }
    line
}

#[cfg(test)]
mod tests;

//! Where the agent learns what the node's kubelet runs with.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Invalid;

/// The value of `kubeletConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum KubeletFile {
    /// From the flags and files of the kubelet that runs, or from the usual places.
    #[default]
    Auto,
    /// From nowhere.
    Off,
    /// From this file, as the agent sees it.
    At(PathBuf),
}

impl fmt::Display for KubeletFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => out.write_str("auto"),
            Self::Off => out.write_str("none"),
            Self::At(path) => path.display().fmt(out),
        }
    }
}

impl KubeletFile {
    /// Tells `auto` and `none` from a path. Where the agent is started says nothing of where the kubelet's file is, so that a path
    /// begins with a slash.
    pub(super) fn check(typed: Option<&Path>) -> Result<Self, Invalid> {
        let Some(path) = typed else {
            return Ok(Self::Auto);
        };
        match path.to_str() {
            Some("auto") => Ok(Self::Auto),
            Some("none") => Ok(Self::Off),
            _ if path.is_absolute() => Ok(Self::At(path.to_owned())),
            _ => Err(Invalid::new(format!(
                "kubeletConfig: {:?} is no path from the root on; write one such as /var/lib/kubelet/config.yaml, auto or none",
                path.display().to_string()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_from_a_word() {
        let check = |text: &str| KubeletFile::check(Some(Path::new(text)));
        for text in ["auto", "none", "/var/lib/kubelet/config.yaml", "/auto"] {
            assert_eq!(check(text).map(|file| file.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(KubeletFile::check(None), Ok(KubeletFile::Auto));
        for word in ["off", "", "./auto", "relative/x"] {
            let refused = check(word).map_err(|wrong| wrong.to_string());
            assert!(
                refused.is_err_and(|why| why.starts_with("kubeletConfig: ") && why.contains("auto or none"))
            );
        }
    }
}

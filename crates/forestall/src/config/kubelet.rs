//! Where the agent learns what the node's kubelet runs with.

use std::fmt;
use std::path::PathBuf;

/// The value of `kubelet.config`.
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

/// Reads `auto`, `none` or a path, which has a slash in it.
pub(crate) fn parse_kubelet_file(text: &str) -> Result<KubeletFile, String> {
    match text {
        "auto" => Ok(KubeletFile::Auto),
        "none" => Ok(KubeletFile::Off),
        path if path.contains('/') => Ok(KubeletFile::At(PathBuf::from(path))),
        other => Err(format!(
            "{other:?} is no path of a file; write /var/lib/kubelet/config.yaml, ./config.yaml, auto or none"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_from_a_word() {
        for text in ["auto", "none", "/var/lib/kubelet/config.yaml", "./auto"] {
            assert_eq!(
                parse_kubelet_file(text).map(|file| file.to_string()),
                Ok(text.to_owned())
            );
        }
        assert!(parse_kubelet_file("off").is_err_and(|why| why.contains("auto or none")));
        assert!(parse_kubelet_file("").is_err());
    }
}

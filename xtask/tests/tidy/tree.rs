//! The project's text files in memory, and the parts of them that rules look at.

use std::fmt;
use std::fs;
use std::path::Path;

/// Folders that hold nothing of the project's own.
const SKIPPED: [&str; 4] = [".git", "target", "cache", "node_modules"];

/// One text file; the path is relative to the root of the clone, with `/`.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Every text file.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

/// One breach of one rule.
pub(crate) struct Breach {
    pub(crate) path: String,
    /// Counted from 1; 0 where it is about the whole file.
    pub(crate) line: usize,
    /// What is wrong, and what to do instead.
    pub(crate) what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// The breaches, one a line.
pub(crate) fn list(breaches: &[Breach]) -> String {
    breaches
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

impl Tree {
    /// The clone this test was built from.
    pub(crate) fn of_project() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("xtask lies in the clone");
        let mut tree = Self { files: Vec::new() };
        tree.add_folder(root, "");
        assert!(
            tree.files.len() > 20,
            "only {} files found below {}",
            tree.files.len(),
            root.display()
        );
        tree
    }

    /// A tree made up for a test.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        Self {
            files: files.iter().map(file).collect(),
        }
    }

    fn add_folder(&mut self, folder: &Path, prefix: &str) {
        let mut entries: Vec<_> = fs::read_dir(folder)
            .expect("a folder of the clone")
            .flatten()
            .collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().expect("a file of the clone");
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                self.add_folder(&entry.path(), &format!("{path}/"));
            } else if kind.is_file() {
                // What is not UTF-8 is no text (recorded kernel logs, images), and has no rule.
                if let Ok(text) = fs::read_to_string(entry.path()) {
                    self.files.push(File { path, text });
                }
            }
        }
    }

    /// The file at `path`.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether `path` is a file or a folder.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        self.files
            .iter()
            .any(|file| file.path == path || file.path.starts_with(&folder))
    }

    /// Every file of Rust.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.has_extension("rs"))
    }
}

impl File {
    /// Whether the name ends in `.extension`.
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|found| found == extension)
    }

    /// Whether the whole file is test code, by its name.
    pub(crate) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/") || self.path.contains("/benches/")
    }

    /// A breach at `line` of this file, counted from 1.
    pub(crate) fn breach(&self, line: usize, what: impl Into<String>) -> Breach {
        Breach {
            path: self.path.clone(),
            line,
            what: what.into(),
        }
    }

    /// The lines with their numbers, comments cut off. A `//` inside of a string ends the line too, which can hide code
    /// from a rule and never invents any.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or(line)))
    }

    /// The same without the test module at the end of the file.
    pub(crate) fn production_code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().take_while(|(_, line)| line.trim() != "#[cfg(test)]")
    }
}

/// Whether `word` stands in `line` as a whole word.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

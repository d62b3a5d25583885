//! What holds of any bytes that somebody calls a log: both commands read them or refuse them, what is shown has nothing raw in it, no kill is
//! made up, and where a block ends decides nothing. The fuzzer asks the same.

use std::path::Path;

use forestall_kernel::oom::Report;
use serde_json::Value;

use super::{EndArgs, ExplainArgs, Output, explained};
use crate::commands::kills::list_log;
use crate::commands::terminal::Terminal;
use crate::forensics::shape::{self, Shape};
use crate::forensics::source::{Listener, Stages};

/// However strange a log is, its explanation fits a screen or two.
const LINES_MAX: usize = 80;

/// Judges `content`, which is in the file `path`.
pub(crate) fn judge(content: &[u8], path: &Path) {
    let terminal = Terminal {
        columns: 100,
        colour: false,
    };
    let explain = |output| {
        let args = ExplainArgs {
            who: None,
            last: false,
            log: Some(path.to_owned()),
            trace: None,
            ledger: None,
            output,
            end: EndArgs::default(),
        };
        explained(&args, terminal).map(|(text, _)| text)
    };
    let list = |output| {
        let mut out = Vec::new();
        list_log(Some(path), output, true, &mut out).map(|_| String::from_utf8(out).expect("text"))
    };
    let Ok(shape) = shape::judge(content) else {
        assert!(explain(Output::Table).is_err() && list(Output::Table).is_err());
        return;
    };
    let table = explain(Output::Table).expect("it is read");
    assert!(table.lines().count() <= LINES_MAX, "{table}");
    let (explanation, kills) = (
        explain(Output::Json).expect("read"),
        list(Output::Json).expect("read"),
    );
    for shown in [
        &table,
        &explanation,
        &kills,
        &explain(Output::Wide).expect("read"),
        &list(Output::Wide).expect("read"),
    ] {
        let is_plain = |letter: char| letter == '\n' || !letter.is_control() && !is_direction(letter);
        assert!(shown.chars().all(is_plain), "{shown:?}");
    }
    let value = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let count = value(&kills)["kills"].as_u64();
    assert_eq!(count, value(&explanation)["kills_in_log"].as_u64());
    // A line ends with either, and a text in quotation marks may have several in it.
    let ends = content.split(|byte| b"\n\r".contains(byte)).count();
    let lines = (ends + memchr::memmem::find_iter(content, b"\\n").count()) as u64;
    // A journal's record may have many lines in it, and so may a document.
    assert!(
        shape != Shape::Text || count <= Some(lines),
        "{count:?} of {lines} lines"
    );
    let whole = read(content, content.len().max(1), shape);
    assert_eq!(read(content, 1 + content.len() % 37, shape), whole);
}

/// Letters that turn a line around, or hide.
fn is_direction(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

struct Ear(Vec<Report>);

impl Listener for Ear {
    fn hear(&mut self, report: Report) {
        self.0.push(report);
    }

    fn is_done(&self) -> bool {
        false
    }
}

fn read(content: &[u8], size: usize, shape: Shape) -> Vec<Report> {
    let (mut ear, mut stages) = (Ear(Vec::new()), Stages::new(shape));
    for block in content.chunks(size) {
        stages.feed(block, &mut ear);
    }
    stages.finish(&mut ear);
    ear.0
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Captures with every other record cut, doubled or out of its place, and logs that are none.
    #[test]
    fn whatever_is_called_a_log_is_read_or_refused() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../forestall-kernel/tests/oom");
        let kill = "Out of memory: Killed process 7 (a) total-vm:8kB, anon-rss:4kB";
        let mut logs = vec![
            format!("x\r[ 1.5] {kill}\r[ 9.5] {}\r", kill.replace('7', "8")).into_bytes(),
            format!("a \"[ 1.5] {kill}\\n[ 9.5] {}\"", kill.replace('7', "8")).into_bytes(),
            format!(
                "[[\"1\",\"{kill}\"],[\"9000000000\",\"{}\"]]",
                kill.replace('7', "8")
            )
            .into_bytes(),
            b"\x1f\x8b\x08\0".to_vec(),
            b"\xff\xfeO\0u\0t\0 \0o\0f\0".to_vec(),
            Vec::new(),
        ];
        for name in ["4.15-v1-weird-comm", "5.10-v2-oom-group", "6.14-v2-storm"] {
            let log = std::fs::read(folder.join(format!("{name}.kmsg"))).expect("a capture");
            let records: Vec<&[u8]> = log.split(|byte| *byte == b'\n').collect();
            let changed = (0..).zip(&records).flat_map(|(place, record)| match place % 5 {
                0 => vec![record.get(..record.len() / 2).unwrap_or_default()],
                1 => vec![*record, *record],
                2 => vec![records[records.len() - 1 - place], *record],
                _ => vec![*record],
            });
            logs.push(changed.collect::<Vec<_>>().join(&b'\n'));
        }
        for log in logs {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(&log).expect("room");
            judge(&log, file.path());
        }
    }
}

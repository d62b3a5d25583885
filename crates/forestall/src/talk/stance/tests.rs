use std::path::Path;
use std::sync::Arc;

use forestall_decide::Rungs;

use super::super::{Ending, Eye, LeftOut, Pages, TalkSetup};
use super::*;
use crate::agent::shared::{self, Board, Command, Commands};
use crate::agent::{AgentArgs, Ground, Kept, KubeletWatch, node_before_its_first_pod, start_a_pod};
use crate::cluster::Notices;
use crate::config;
use crate::log::sink::Sink;
use crate::log::{Logger, Style};

/// A talker on this ground with these flags, as it is before its runtime; what it orders; and what it says.
pub(in crate::talk) fn talker(
    root: &Path,
    ground: Ground,
    args: AgentArgs,
) -> (Talker, Commands, std::io::PipeReader) {
    let ends = shared::open().expect("an eventfd");
    let settings = config::load(&args).expect("it is sound");
    let (log, writer) = std::io::pipe().expect("a pipe");
    let eye = Eye::new(Arc::clone(&ends.board), ends.commander.clone());
    let mut talker = Talker {
        pages: Arc::new(Pages::new(Arc::clone(&ends.board), eye.clone())),
        eye,
        seen: Board::empty_snapshot(),
        ending: Arc::new(Ending::default()),
        late: false,
        left_out: LeftOut::default(),
        is_untold: false,
        kubelet_config: None,
        notices: Notices::default(),
        setup: TalkSetup {
            cluster: None,
            desk: None,
            board: ends.board,
            inbox: ends.inbox,
            commander: ends.commander,
            logger: Logger::new(Sink::new(writer.into()), Style::Json, None, Mode::Shadow),
            kubelet: KubeletWatch::new(root, &settings.kubelet),
            kubelet_news: None,
            granted: ground.grants(&settings.policy),
            mode: settings.policy.mode,
            kept: Kept::new(&args),
            unkept: None,
            file: None,
            args,
            settings,
            ground,
            unplaced: None,
            holder: None,
            nice: 0,
            notifier: None,
        },
    };
    talker.setup.file = talker.mark_file();
    (talker, ends.commands, log)
}

/// What it said until it ended.
pub(in crate::talk) fn said_by(mut talker: Talker, log: std::io::PipeReader) -> String {
    talker.setup.logger.flush();
    drop(talker);
    std::io::read_to_string(log).expect("text")
}

#[test]
fn what_the_first_pod_proves_is_told_to_the_guard_and_in_the_log() {
    let (root, ground) = node_before_its_first_pod();
    let (mut talker, commands, log) = talker(root.path(), ground, AgentArgs::default());
    let board = Arc::clone(&talker.setup.board);
    let kills = |rungs: Rungs| rungs.has(Rung::Kill);
    let lacks_kill = || board.degraded().iter().any(|degraded| degraded.what == "kill");
    assert!(talker.waits_for_rights() && !kills(talker.setup.granted.rungs));
    talker.try_rights_again();
    assert_eq!(commands.take(), None, "nothing has changed");

    start_a_pod(root.path());
    // As many as a guard that is stuck leaves lie.
    let stuck = talker.setup.settings.policy;
    while talker.setup.commander.policy(stuck) {}
    talker.try_rights_again();
    assert!(talker.waits_for_rights(), "the guard does not know yet");
    while commands.take().is_some() {}
    talker.try_rights_again();
    match commands.take() {
        Some(Command::Policy(policy)) => assert!(kills(policy.rungs)),
        other => panic!("{other:?}"),
    }
    assert!(!talker.waits_for_rights() && !lacks_kill());
    let said = said_by(talker, log);
    let lines = said
        .lines()
        .filter(|line| line.contains("kill can be used from now on"));
    assert_eq!(lines.count(), 1, "{said}");
}

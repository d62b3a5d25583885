use std::sync::Arc;

use forestall_decide::Rungs;

use super::super::{Ending, Eye, LeftOut, Pages, TalkSetup};
use super::*;
use crate::agent::shared::{self, Board, Command};
use crate::agent::{AgentArgs, KubeletWatch, node_before_its_first_pod, start_a_pod};
use crate::config;
use crate::log::sink::Sink;
use crate::log::{Logger, Style};

#[test]
fn what_the_first_pod_proves_is_told_to_the_guard_and_in_the_log() {
    let (root, ground) = node_before_its_first_pod();
    let ends = shared::open().expect("an eventfd");
    let args = AgentArgs::default();
    let settings = config::load(&args).expect("the defaults are sound");
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
        file: None,
        kubelet_config: None,
        setup: TalkSetup {
            cluster: None,
            desk: None,
            board: Arc::clone(&ends.board),
            inbox: ends.inbox,
            commander: ends.commander,
            logger: Logger::new(Sink::new(writer.into()), Style::Json, None, Mode::Shadow),
            kubelet: KubeletWatch::new(root.path(), &settings.kubelet),
            kubelet_news: None,
            granted: ground.grants(&settings.policy),
            mode: settings.policy.mode,
            args,
            settings,
            ground,
            unplaced: None,
            holder: None,
            nice: 0,
            notifier: None,
        },
    };
    let kills = |rungs: Rungs| rungs.has(Rung::Kill);
    let lacks_kill = || {
        ends.board
            .degraded()
            .iter()
            .any(|degraded| degraded.what == "kill")
    };
    assert!(talker.waits_for_rights() && !kills(talker.setup.granted.rungs));
    talker.try_rights_again();
    assert_eq!(ends.commands.take(), None, "nothing has changed");

    start_a_pod(root.path());
    // As many as a guard that is stuck leaves lie.
    let stuck = talker.setup.settings.policy;
    while talker.setup.commander.policy(stuck) {}
    talker.try_rights_again();
    assert!(talker.waits_for_rights(), "the guard does not know yet");
    while ends.commands.take().is_some() {}
    talker.try_rights_again();
    match ends.commands.take() {
        Some(Command::Policy(policy)) => assert!(kills(policy.rungs)),
        other => panic!("{other:?}"),
    }
    assert!(!talker.waits_for_rights() && !lacks_kill());
    talker.setup.logger.flush();
    drop(talker);
    let said = std::io::read_to_string(log).expect("text");
    let lines = said
        .lines()
        .filter(|line| line.contains("kill can be used from now on"));
    assert_eq!(lines.count(), 1, "{said}");
}

//! Walls as they are shown: live on a terminal, and once a minute.

use super::*;

#[test]
fn the_live_view_shows_the_machines_walls_and_those_that_move() {
    let mut ends = shared::open().expect("an eventfd");
    let at = clock::now();
    let still = WallReading {
        wall: WallKind::Container,
        scope: Some(GroupId(9)),
        runway: Runway::FOREVER,
        confidence: Confidence::None,
        alarmed: false,
        stall_some_permille: 0,
        culprit: None,
        ..reading()
    };
    let kernel = WallReading {
        wall: WallKind::Kernel,
        scope: None,
        ..still
    };
    let readings = [kernel, reading(), still];
    ends.post.publish(
        &Tick::plain(at),
        &Sample::default(),
        &Decision {
            readings: &readings,
            ..quiet()
        },
        &Fixed,
    );
    let mut seen = Board::empty_snapshot();
    ends.board.read_snapshot(&mut seen);
    let text = said(Style::Plain { colour: false }, |logger| logger.live(&seen, at));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    // The nearest first.
    assert!(
        lines[0].contains("kubepods") && lines[0].contains("by /kubepods/x"),
        "{text}"
    );
    assert!(
        lines[1].contains("kernel") && lines[1].contains("runway -"),
        "{text}"
    );
    let status = json(&said(Style::Json, |logger| logger.status(&seen, &ends.board)));
    assert_eq!(
        (&status["walls_total"], &status["walls"][0]["wall"]),
        (&3.into(), &"kubepods".into())
    );
    let message = status["message"].as_str().expect("text");
    assert!(
        message.ends_with("; nearest by runway: kubepods, 12s (96.0MiB left)"),
        "{message}"
    );
    assert_eq!(said(Style::Json, |logger| logger.live(&seen, at)), "");
}

#[test]
fn figures_of_walls_that_are_older_than_those_beside_them_say_how_old_they_are() {
    let mut ends = shared::open().expect("an eventfd");
    let at = |secs: u64| Moment(secs * 1_000_000);
    let far = WallReading {
        wall: WallKind::Kernel,
        scope: None,
        runway: Runway::FOREVER,
        culprit: None,
        ..reading()
    };
    let readings = [
        far,
        WallReading {
            wall: WallKind::KubeletNode,
            distance: Bytes::mebi(300),
            ..far
        },
    ];
    let decision = Decision {
        readings: &readings,
        ..quiet()
    };
    ends.post
        .publish(&Tick::plain(at(10)), &Sample::default(), &decision, &Fixed);
    let mut seen = Board::empty_snapshot();
    let mut told = |board: &Board, now| {
        board.read_snapshot(&mut seen);
        let live = said(Style::Plain { colour: false }, |logger| logger.live(&seen, now));
        let lines: Vec<String> = live.lines().map(str::to_owned).collect();
        let status = json(&said(Style::Json, |logger| logger.status(&seen, board)));
        (lines, status)
    };
    // All of one look, and that was just now: the time before the line is that of its figures.
    let (lines, status) = told(&ends.board, at(11));
    assert!(lines.iter().all(|line| !line.contains(" ago")), "{lines:?}");
    assert_eq!(status["walls_age_millis"], 0);
    let (lines, _) = told(&ends.board, at(15));
    assert!(
        lines.len() == 2 && lines.iter().all(|line| line.ends_with("  5.0s ago")),
        "{lines:?}"
    );
    // A glance brings what is left of the kernel's wall up to date, and nothing else.
    ends.post.glance(
        at(40),
        Span(40),
        Span::secs(1),
        &NodeSample::default(),
        Bytes::mebi(200),
    );
    let (lines, status) = told(&ends.board, at(41));
    assert!(
        lines[0].contains("200.0MiB left") && lines[0].ends_with("  left 1.0s ago, the rest 31s ago"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("300.0MiB left") && lines[1].ends_with("  31s ago"),
        "{lines:?}"
    );
    assert_eq!(status["walls_age_millis"], 30_000);
    let message = status["message"].as_str().expect("text");
    assert!(
        message.ends_with("; nearest by what is left: kernel, 200.0MiB"),
        "{message}"
    );
    ends.post.glance(
        at(42),
        Span(40),
        Span::secs(1),
        &NodeSample::default(),
        Bytes::mebi(400),
    );
    let (_, status) = told(&ends.board, at(43));
    let message = status["message"].as_str().expect("text");
    assert!(
        message.ends_with("; nearest by what is left 32s before: kubelet-node, 300.0MiB"),
        "{message}"
    );
}

use tokio::sync::mpsc::Receiver;

use super::*;
use crate::agent::shared::{self, Ends};

fn listener() -> (Ends, Listener, Receiver<News>) {
    let ends = shared::open().expect("an eventfd");
    let (tell, news) = channel(UNSAID_MAX);
    let listener = Listener {
        board: Arc::clone(&ends.board),
        commander: ends.commander.clone(),
        tell,
    };
    (ends, listener, news)
}

fn said(news: &mut Receiver<News>) -> Vec<String> {
    std::iter::from_fn(|| news.try_recv().ok())
        .filter_map(|news| match news {
            News::Say(_, what) => Some(what),
            _ => None,
        })
        .collect()
}

#[test]
fn a_clock_that_is_off_is_told_once_and_when_it_is_right_again() {
    let (ends, mut listener, mut news) = listener();
    let mut hear = |millis| {
        listener.skew(Skew { millis });
        said(&mut news)
    };
    assert_eq!(hear(4_000), [""; 0]);
    let told = hear(-3_600_500);
    assert!(
        told[0].contains("3600 s behind this machine's") && told.len() == 1,
        "{told:?}"
    );
    assert_eq!(hear(-3_600_900), [""; 0]);
    assert_eq!(hear(0), ["the API server's clock and this machine's agree again"]);
    assert!(hear(i64::MIN)[0].contains("behind"));
    let told = hear(90_000);
    assert_eq!(told, [""; 0], "it is off as before");
    let shown = ends.board.api().expect("a cluster").skew;
    assert_eq!(shown, Some(Skew { millis: 90_000 }));
}

#[test]
fn pods_that_are_left_out_are_told_once_and_when_there_is_room_again() {
    let (ends, mut listener, mut news) = listener();
    let mut hear = |left_out| {
        listener.pods(Pods::default(), left_out);
        said(&mut news)
    };
    assert_eq!(hear(0), [""; 0]);
    assert!(hear(5_904)[0].starts_with("5904 pods of this node are not followed"));
    assert_eq!(hear(5_914), [""; 0]);
    assert_eq!(ends.board.api().expect("a cluster").left_out, 5_914);
    assert_eq!(hear(0), ["all pods of this node are followed again"]);
}

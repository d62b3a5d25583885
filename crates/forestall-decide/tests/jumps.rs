//! What one jump is not: growth.

mod world;

use forestall_decide::{GroupId, Span, Target};
use world::{MIB, World, enforcing};

/// What takes the place of something else is charged before that is given back, as a huge page is (mm/khugepaged.c).
#[test]
fn one_jump_close_to_the_wall_ends_nobody_and_a_leak_there_does() {
    let close = |rate_mebi: u64| {
        let mut world = World::new(1024, 600);
        world.container(1, 395);
        world.container(2, 200);
        let begun = world.now;
        let mut jumped = false;
        world.run(&mut enforcing(), Span::secs(40), |world| {
            let late = world.now.since(begun) > Span::secs(20);
            let killed = !world.killed().is_empty();
            let other = world.of(2);
            other.rate = if late && !killed { rate_mebi * MIB } else { 0 };
            if rate_mebi == 0 && late && !jumped {
                jumped = true;
                other.anon += 2 * MIB;
            } else if rate_mebi == 0 && jumped {
                other.anon = 200 * MIB;
            }
        });
        (world.killed(), world.kernel_kills)
    };
    assert_eq!(close(0), (vec![], 0));
    assert_eq!(close(1), (vec![Target::Group(GroupId(2))], 0));
}

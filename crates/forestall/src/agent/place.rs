//! From an engine's action, which knows numbers only, to an order that carries the open handle of its target.

use forestall_act::{CgroupPlace, CgroupVersion, Order, Place};
use forestall_decide::{Action, GroupId, ProcessId, Target};
use forestall_kernel::cgroup::Version;
use forestall_sense::Sensor;

use super::shared::Names;

/// The order for an action, or `None` when its target is gone already.
pub(crate) fn place_order(action: &Action, sensor: &Sensor) -> Option<Order> {
    let place = match action.target {
        Target::Node => Place::Node,
        Target::Process(id) => Place::Process {
            id,
            home: find_home(id, sensor),
        },
        Target::Group(id) => Place::Cgroup(find_place(id, sensor)?),
    };
    Some(Order {
        action: *action,
        place,
    })
}

/// Where the last sample saw the process. A home that is not followed any more is none.
fn find_home(id: ProcessId, sensor: &Sensor) -> Option<CgroupPlace> {
    let process = sensor.last().processes.iter().find(|process| process.id == id)?;
    find_place(process.group?, sensor)
}

fn find_place(id: GroupId, sensor: &Sensor) -> Option<CgroupPlace> {
    let member = sensor.roster().find(id)?;
    let kind = sensor.last().groups.iter().find(|group| group.id == id)?.kind;
    Some(CgroupPlace {
        dir: member.handle,
        id,
        kind,
        path: member.location,
        version: act_version(member.version),
    })
}

/// The version as the act threads know it.
pub(super) const fn act_version(version: Version) -> CgroupVersion {
    match version {
        Version::V1 => CgroupVersion::V1,
        Version::V2 => CgroupVersion::V2,
    }
}

/// The names the sensor knows things by.
pub(crate) struct SensorNames<'a>(pub(crate) &'a Sensor);

impl Names for SensorNames<'_> {
    fn group(&self, id: GroupId) -> Option<&[u8]> {
        self.0.roster().find(id).map(|member| member.path)
    }

    fn process(&self, id: ProcessId) -> Option<&[u8]> {
        self.0.process_name(id)
    }
}

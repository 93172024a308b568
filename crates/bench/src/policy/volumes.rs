//! PersistentVolumes: reserved agents with a volume each, which is shared or not.

use super::agents_and_frameworks;
use super::cluster::{Cluster, entry, ports};
use crate::{Case, Scale, Watch};
use allocator::Sorter;
use resources::{Identity, Resources, Value};
use std::fmt;
use wire::v1;
use wire::v1::framework_info::capability::Type as Capability;

const ROUNDS: u32 = 6;

/// Which of the volumes are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharedness {
    Regular,
    Shared,
    Mixed,
}

impl fmt::Display for Sharedness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sharedness::Regular => "regular",
            Sharedness::Shared => "shared",
            Sharedness::Mixed => "mixed",
        })
    }
}

pub(super) fn cases(scale: Scale) -> Vec<Case> {
    let sizes = agents_and_frameworks(scale).into_iter();
    let all = sizes.flat_map(|(agents, frameworks)| {
        [Sharedness::Regular, Sharedness::Shared, Sharedness::Mixed].map(|sharedness| {
            let size: [(_, &dyn fmt::Display); 3] =
                [("agents", &agents), ("frameworks", &frameworks), ("volumes", &sharedness)];
            Case::new("PersistentVolumes", size, move |w| run(agents, frameworks, sharedness, w))
        })
    });
    all.collect()
}

fn volume(agent: u32, shared: bool) -> Resources {
    let persistence =
        v1::resource::disk_info::Persistence { id: format!("id{agent}"), principal: None };
    let volume = v1::Volume {
        mode: v1::volume::Mode::Rw as i32,
        container_path: format!("path{agent}"),
        ..v1::Volume::default()
    };
    let disk = v1::resource::DiskInfo {
        persistence: Some(persistence),
        volume: Some(volume),
        ..Default::default()
    };
    let reserved = Resources::parse("disk(test):1", "*").expect("resources");
    let reserved = reserved.iter().next().expect("one resource");
    let identity = Identity { disk: Some(Box::new(disk)), shared, ..(*reserved.identity).clone() };
    entry(identity, Value::Scalar(1_024_000))
}

fn run(agents: u32, frameworks: u32, sharedness: Sharedness, watch: &mut Watch) {
    let mut cluster = Cluster::new(Sorter::Drf);
    let capabilities: &[Capability] =
        if sharedness == Sharedness::Regular { &[] } else { &[Capability::SharedResources] };
    watch.lap("add frameworks", || {
        (0..frameworks).for_each(|id| cluster.add_framework(id, "test", capabilities));
    });
    let reserved = |text: &str| Resources::parse(text, "test").expect("resources");
    let common = reserved("cpus:24;mem:4096;disk:3072;ports:[31000-32000]");
    let used = reserved(&format!("cpus:16;mem:1024;disk:1024;ports:{}", ports(16)));
    let used = used.allocated_to("test");
    watch.lap("add agents and offer them", || {
        for id in 0..agents {
            let shared = match sharedness {
                Sharedness::Regular => false,
                Sharedness::Shared => true,
                Sharedness::Mixed => id % 2 == 0,
            };
            let mut total = common.clone();
            total += &volume(id, shared);
            cluster.add_agent(id, &total, Some((id % frameworks, &used)));
            cluster.serve();
        }
        cluster.settle();
    });
    for _ in 0..ROUNDS {
        cluster.decline(None);
        cluster.cycle(watch, "cycle");
        assert_eq!(cluster.offers.len(), agents as usize, "each agent is offered to somebody");
        let with_volume =
            cluster.offers.iter().filter(|o| o.resources.iter().any(|e| e.is_volume()));
        assert_eq!(with_volume.count(), agents as usize, "with its volume");
    }
    cluster.check();
}

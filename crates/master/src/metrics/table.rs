//! All that a master measures.

use http_api::prometheus::{HOST, Metric, Table, counter, gauge, histogram, sometimes, timer};
use std::sync::LazyLock;

const CLUSTER: &[Metric] = &[
    gauge("master/elected", "1 if this master leads, else 0."),
    gauge("master/uptime_secs", "Time since the start of this process."),
    gauge(
        "master/slaves_{connected,disconnected}",
        "Registered agents, by whether their link is open.",
    ),
    gauge("master/slaves_{active,inactive}", "Registered agents, by whether they can be offered."),
    gauge("master/slaves_unreachable", "Agents that were marked unreachable and are not back."),
    gauge(
        "master/frameworks_{connected,disconnected}",
        "Frameworks, by whether their event stream is open.",
    ),
    gauge(
        "master/frameworks_{active,inactive}",
        "Frameworks, by whether they can be offered something.",
    ),
    gauge("master/outstanding_offers", "Offers that are not answered."),
    gauge("master/operator_event_stream_subscribers", "Event streams of operators."),
    gauge("master/tasks_{staging,starting,running,killing,unreachable}", "Tasks in this state."),
    counter(
        "master/tasks_{finished,failed,killed,lost,error,dropped,gone,gone_by_operator}",
        "Tasks that came to this state, as seen by this master.",
    ),
    counter(
        "master/tasks_preempted",
        "Tasks that were ended because others wanted back what was lent.",
    ),
    sometimes(counter(
        "master/<task_state>/<source>/<reason>",
        "Ends of tasks, by state, source and reason.",
    )),
    gauge(
        "master/{cpus,gpus,mem,disk}_total",
        "What agents have and may not be taken back; MB of mem and disk.",
    ),
    gauge("master/{cpus,gpus,mem,disk}_used", "The part of it that tasks and executors have."),
    gauge("master/{cpus,gpus,mem,disk}_percent", "The same as a fraction of 1."),
    gauge(
        "master/{cpus,gpus,mem,disk}_revocable_{total,used,percent}",
        "The same of what may be taken back.",
    ),
    gauge(
        "master/operations/{total,pending,recovering,unreachable}",
        "Operations on resources, by state.",
    ),
    gauge(
        "master/operations/{finished,failed,error,dropped,gone_by_operator}",
        "Operations on resources that came to this state.",
    ),
    gauge(
        "master/operations/{reserve,unreserve,create,destroy,grow_volume,shrink_volume,create_disk,destroy_disk}/{total,pending,recovering,unreachable,finished,failed,error,dropped,gone_by_operator}",
        "The same of one kind of operations.",
    ),
];

const MESSAGES: &[Metric] = &[
    counter(
        "master/messages_{register_framework,reregister_framework,unregister_framework,deactivate_framework,kill_task,status_update_acknowledgement,operation_status_update_acknowledgement,resource_request,launch_tasks,decline_offers,revive_offers,suppress_offers,reconcile_operations,reconcile_tasks,framework_to_executor}",
        "Calls of frameworks, by what they ask for.",
    ),
    counter(
        "master/messages_{register_slave,reregister_slave,unregister_slave,status_update,operation_status_update,exited_executor,update_slave,executor_to_framework,authenticate}",
        "Messages of agents, by kind.",
    ),
    counter(
        "master/{valid,invalid}_framework_to_executor_messages",
        "Messages to executors: on their way, or to nobody.",
    ),
    counter(
        "master/{valid,invalid}_executor_to_framework_messages",
        "Messages to frameworks: on their way, or to nobody.",
    ),
    counter(
        "master/{valid,invalid}_status_updates",
        "Statuses of tasks of known and unknown frameworks.",
    ),
    counter(
        "master/{valid,invalid}_status_update_acknowledgements",
        "Acknowledgements for agents that are there, and that are not.",
    ),
    counter(
        "master/{valid,invalid}_operation_status_updates",
        "Statuses of known and unknown operations.",
    ),
    counter(
        "master/{valid,invalid}_operation_status_update_acknowledgements",
        "Acknowledgements of known and unknown operations.",
    ),
    counter(
        "master/invalid_agent_updates",
        "Changes of an agent's resources that do not fit what is known of it.",
    ),
    counter(
        "master/dropped_messages",
        "Always 0: a master that does not lead refuses messages with an answer.",
    ),
    counter("master/http_cache_hits", "Always 0: every reader gets a snapshot of its own."),
    gauge(
        "master/event_queue_messages",
        "Always 0: there is one queue, see event_queue_dispatches.",
    ),
    gauge("master/event_queue_dispatches", "Inputs that wait for the core."),
    gauge("master/event_queue_http_requests", "Requests that wait for an answer of the core."),
];

const AGENTS: &[Metric] = &[
    counter(
        "master/slave_{registrations,reregistrations,removals}",
        "Agents that came, came back and were removed.",
    ),
    counter(
        "master/slave_removals/reason_{unhealthy,unregistered,registered}",
        "Agents that were removed, by reason.",
    ),
    counter(
        "master/recovery_slave_removals",
        "Agents that did not come back after a failover of masters.",
    ),
    counter(
        "master/slave_unreachable_{scheduled,completed,canceled}",
        "Agents that were to be marked unreachable, were, and came back before.",
    ),
    counter(
        "master/slave_shutdowns_{scheduled,completed,canceled}",
        "Always 0: agents are marked unreachable instead.",
    ),
];

const OFFERS: &[Metric] = &[
    histogram(
        "master/offer_wait",
        "Time from when resources of an agent became free, by its arrival or the end of a task, until they were offered. Where nobody wants them that is long.",
    ),
    histogram(
        "master/offer_held",
        "Time from an offer until its framework accepted or declined it.",
    ),
    histogram(
        "master/task_launch",
        "Time from the ACCEPT that launched a task until this master knew that it runs.",
    ),
    counter(
        "master/frameworks_backed_off",
        "Times that a framework came later in turn for leaving offers unused.",
    ),
    counter(
        "master/offers_rescinded_by_lease",
        "Offers that were held while others waited, and rescinded.",
    ),
    counter(
        "master/offers_recalled",
        "Offers that were rescinded because a guarantee or its lender wanted them.",
    ),
    sometimes(counter(
        "master/soft_offers_{claimed,lost}",
        "Offers that several frameworks had: the first to accept, and the others.",
    )),
    counter("master/inverse_offers_{sent,accepted,declined,rescinded}", "Inverse offers."),
    counter("allocator/mesos/allocation_runs", "Allocation cycles."),
    timer("allocator/mesos/allocation_run", "Time of one allocation cycle."),
    timer(
        "allocator/mesos/allocation_run_latency",
        "Time that a cycle was waited for after it was due.",
    ),
    gauge(
        "allocator/{event_queue_dispatches,mesos/event_queue_dispatches}",
        "1 if a cycle is due and has not run.",
    ),
    gauge(
        "allocator/mesos/resources/{cpus,mem,disk}/{total,offered_or_allocated}",
        "What there is, and what of it is taken.",
    ),
    sometimes(gauge(
        "allocator/mesos/roles/<role>/shares/dominant",
        "Dominant share of a role, as a fraction of 1.",
    )),
    sometimes(gauge(
        "allocator/mesos/offer_filters/roles/<role>/active",
        "Refusals of frameworks of a role that hold now.",
    )),
    sometimes(gauge(
        "allocator/mesos/quota/roles/<role>/resources/<name>/{guarantee,limit,consumed,offered_or_allocated}",
        "Quota of a role, and what counts against it.",
    )),
    sometimes(gauge(
        "allocator/lent/roles/<role>/resources/<name>",
        "What is kept for a role and lent to others.",
    )),
    sometimes(gauge(
        "allocator/shares/roles/<role>/active",
        "1 if the schedule of a role's share holds now.",
    )),
    sometimes(gauge(
        "allocator/shares/roles/<role>/resources/<name>/guarantee",
        "What a role's share keeps for it now.",
    )),
];

const REGISTRY: &[Metric] = &[
    gauge("registrar/queued_operations", "Changes of the registry that are not durable yet."),
    gauge("registrar/registry_size_bytes", "Keys and values of the registry."),
    timer("registrar/state_fetch", "Time to read the registry when this master began to lead."),
    timer("registrar/state_store", "Time to make changes of the registry durable."),
    gauge("registrar/log/recovered", "1 if this master has read the registry."),
    sometimes(gauge(
        "registrar/log/ensemble_size",
        "Masters that replicate the registry and vote.",
    )),
];

const FRAMEWORKS: &[Metric] = &[
    sometimes(gauge("master/frameworks/<name>/<id>/subscribed", "1 if its event stream is open.")),
    sometimes(gauge(
        "master/frameworks/<name>/<id>/roles/<role>/suppressed",
        "1 if it wants no offers for this role.",
    )),
    sometimes(gauge(
        "master/frameworks/<name>/<id>/tasks/active/<task_state>",
        "Its tasks in this state.",
    )),
    sometimes(counter(
        "master/frameworks/<name>/<id>/tasks/terminal/<task_state>",
        "Its tasks that ended so.",
    )),
    sometimes(counter(
        "master/frameworks/<name>/<id>/offers/{sent,accepted,declined,rescinded}",
        "Offers to it.",
    )),
    sometimes(counter(
        "master/frameworks/<name>/<id>/{calls,events,operations}",
        "Its calls, events to it, operations it asked for.",
    )),
    sometimes(counter(
        "master/frameworks/<name>/<id>/{calls,events,operations}/<type>",
        "The same of one type.",
    )),
];

/// All of them.
pub(crate) static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::new(&[CLUSTER, OFFERS, AGENTS, FRAMEWORKS, MESSAGES, REGISTRY, HOST]));

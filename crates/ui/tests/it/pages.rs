//! What pages say.

use resources::Resources;
use ui::pages::{
    self, AgentRow, AgentState, Counts, Directory, Entry, File, FrameworkRow, FrameworkState, Kind,
    Overview, TaskRow,
};
use ui::{Amounts, Frame, Page, Place, Query, Sample, security_policy};
use wire::v1;

const EVIL: &str = "<script>alert('x')</script>\"&amp;";

fn html(page: &Page) -> String {
    page.whole(&Frame { cluster: Some(EVIL.to_owned()), now: 1_000_000.0, ..Frame::default() })
}

/// No tag but the page's own, no script in an attribute.
#[track_caller]
fn harmless(html: &str) {
    assert!(!html.contains("<script>"), "{html}");
    assert!(!html.contains("'x')<"), "{html}");
    for attribute in [" onclick", " onload", " onerror", "\"javascript:", " style="] {
        let tags = html.split('<').skip(1).map(|tag| tag.split('>').next().unwrap_or_default());
        for tag in tags {
            assert!(!tag.contains(attribute), "<{tag}>");
        }
    }
}

fn task(id: &str, name: &str, state: v1::TaskState, at: f64) -> v1::Task {
    let status = v1::TaskStatus {
        task_id: id.into(),
        state: state as i32,
        timestamp: Some(at),
        message: Some(EVIL.to_owned()),
        ..v1::TaskStatus::default()
    };
    v1::Task {
        name: name.to_owned(),
        task_id: id.into(),
        framework_id: EVIL.into(),
        agent_id: "agent-1".into(),
        state: state as i32,
        statuses: vec![status],
        ..v1::Task::default()
    }
}

fn row<'a>(wire: &'a v1::Task, resources: &'a Resources) -> TaskRow<'a> {
    TaskRow { wire, resources, framework: EVIL, host: EVIL, kind: Kind::Active }
}

fn agent(id: &str) -> AgentRow<'_> {
    AgentRow {
        id,
        host: EVIL,
        state: AgentState::Active,
        total: Amounts([4000, 1_024_000, 0, 0]),
        used: Amounts([1500, 512_000, 0, 0]),
        offered: Amounts::default(),
        tasks: 1,
        registered: 999_000.0,
    }
}

#[test]
fn names_with_html_are_text_on_every_list() {
    let (wire, none) = (task(EVIL, EVIL, v1::TaskState::TaskRunning, 999_990.0), Resources::new());
    let query = Query::parse("framework=%3Cscript%3E&q=%3Cscript%3E&x=%22%3E%3Cscript%3E");
    let list = html(&pages::tasks(vec![row(&wire, &none)], &[EVIL], 1e6, &query));
    harmless(&list);
    let all = pages::tasks(vec![row(&wire, &none)], &[EVIL], 1e6, &Query::default());
    let list = html(&all);
    harmless(&list);
    assert!(list.contains("&lt;script&gt;alert('x')&lt;/script&gt;"), "{list}");
    assert!(list.contains("/ui/frameworks/%3Cscript%3E"), "{list}");
    harmless(&html(&pages::agents(vec![agent(EVIL)], 1, 1e6, &Query::default())));
    let model = pages::Task {
        row: row(&wire, &none),
        resources: EVIL.to_owned(),
        sandbox: Err(EVIL.to_owned()),
    };
    harmless(&html(&pages::task(&model, 1e6)));
    harmless(&html(&pages::problem(EVIL, EVIL, true)));
    let place = Place::task(EVIL, EVIL);
    let entry = Entry { name: EVIL.to_owned(), owner: EVIL.to_owned(), ..Entry::default() };
    let directory = Directory { place: place.clone(), path: EVIL.to_owned(), entries: vec![entry] };
    harmless(&html(&pages::directory(&directory, 1e6)));
    harmless(&html(&pages::file(&File { place, path: EVIL.to_owned(), size: 3 })));
}

fn framework(info: &v1::FrameworkInfo) -> String {
    let row = FrameworkRow {
        id: "f-1",
        info,
        state: FrameworkState::Connected,
        roles: vec![EVIL.to_owned()],
        used: Amounts::default(),
        offered: Amounts::default(),
        tasks: 0,
        offers: 0,
        registered: 1.0,
    };
    let model = pages::Framework {
        row,
        reregistered: 0.0,
        disconnected: None,
        unregistered: None,
        suppressed: Vec::new(),
        is_constrained: false,
        why: Vec::new(),
        offers: Vec::new(),
        executors: Vec::new(),
        tasks: Vec::new(),
        counters: Vec::new(),
    };
    html(&pages::framework(model, Amounts::default(), 1e6))
}

#[test]
fn a_framework_can_link_to_the_web_and_to_nothing_else() {
    let of = |url: &str| v1::FrameworkInfo {
        name: EVIL.to_owned(),
        webui_url: Some(url.to_owned()),
        ..v1::FrameworkInfo::default()
    };
    for url in
        ["javascript:alert(1)", " JavaScript:alert(1)", "data:text/html,x", "//evil", "vbscript:x"]
    {
        let page = framework(&of(url));
        harmless(&page);
        assert!(!page.contains("Its own UI"), "{url}");
    }
    assert!(
        framework(&of("https://scheduler.example/ui"))
            .contains("href=\"https://scheduler.example/ui\"")
    );
}

#[test]
fn lists_say_where_one_is_and_are_never_long() {
    let none = Resources::new();
    let wires: Vec<_> = (0..100_000)
        .map(|n| task(&format!("t-{n:05}"), "web", v1::TaskState::TaskRunning, f64::from(n)))
        .collect();
    let rows = || wires.iter().map(|wire| row(wire, &none)).collect();
    let first = html(&pages::tasks(rows(), &[], 1e6, &Query::default()));
    assert!(first.contains("1–50 of 100,000 tasks"), "the first page");
    assert!(first.contains("t-99999") && !first.contains("t-99949"), "the newest come first");
    let all = html(&pages::tasks(
        rows(),
        &[],
        1e6,
        &Query::parse("size=10000000&page=77777777777777777777"),
    ));
    assert!(all.contains("99,501–100,000 of 100,000 tasks"));
    assert!(all.len() < 2 << 20, "{} bytes", all.len());
    let found = html(&pages::tasks(rows(), &[], 1e6, &Query::parse("q=T-00042")));
    assert!(found.contains("1 task<") && found.contains("t-00042"));
}

#[test]
fn states_choose_tasks() {
    let none = Resources::new();
    let states = [
        v1::TaskState::TaskRunning,
        v1::TaskState::TaskFailed,
        v1::TaskState::TaskLost,
        v1::TaskState::TaskFinished,
    ];
    let wires = states.map(|state| task(&format!("{state:?}"), "", state, 1.0));
    let shown = |query: &str| {
        let rows = wires.iter().map(|wire| {
            let is_over = wire.state() != v1::TaskState::TaskRunning;
            TaskRow {
                kind: if is_over { Kind::Completed } else { Kind::Active },
                ..row(wire, &none)
            }
        });
        let page = html(&pages::tasks(rows.collect(), &[], 1e6, &Query::parse(query)));
        wires
            .iter()
            .map(|wire| page.contains(&format!(">{}<", wire.task_id.value)))
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(""), [true, false, false, false]);
    assert_eq!(shown("state=completed"), [false, true, true, true]);
    assert_eq!(shown("state=failed"), [false, true, true, false]);
    assert_eq!(shown("state=finished"), [false, false, false, true]);
    assert_eq!(shown("state=all"), [true; 4]);
    assert_eq!(shown("state=all&framework=other"), [false; 4]);
}

#[test]
fn the_overview_shows_resources_in_units_with_an_hour_of_samples() {
    let total = Amounts([64_000, 262_144_000, 1_048_576_000, 0]);
    let samples: Vec<Sample> = (0..360)
        .map(|n| Sample {
            at: 1e6 - 3600.0 + f64::from(n) * 10.0,
            total,
            running: 5,
            ..Sample::default()
        })
        .collect();
    let overview = Overview {
        now: 1e6,
        counts: Counts { agents_active: 2, tasks_running: 1234, ..Counts::default() },
        total,
        used: Amounts([12_500, 3_584_000, 0, 0]),
        samples: &samples,
        agents: vec![agent("a-1")],
        ..Overview::default()
    };
    let page = html(&pages::overview(overview));
    harmless(&page);
    for text in
        ["1,234", "12.5", " of 64<", "3.5 GiB", "256 GiB", "1 TiB", "CPUs over the last hour"]
    {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("GPUs"), "there are none");
}

#[test]
fn a_large_cluster_is_a_short_overview() {
    let ids: Vec<String> = (0..5000).map(|n| format!("agent-{n}")).collect();
    let agents = ids.iter().map(|id| agent(id)).collect();
    let page = html(&pages::overview(Overview { agents, ..Overview::default() }));
    assert!(page.len() < 64 << 10, "{} bytes", page.len());
}

#[test]
fn the_policy_names_masters_and_lets_nothing_else_in() {
    let masters = ["10.0.0.1:5050", "m-2.example:5050", "evil; script-src *", "[::1]:5050"];
    let policy = security_policy(&masters.map(str::to_owned));
    assert!(policy.contains("script-src 'self';"));
    assert!(policy.contains("http://10.0.0.1:5050 https://10.0.0.1:5050"));
    assert!(policy.contains("http://[::1]:5050"));
    assert!(!policy.contains("evil"));
    assert_eq!(policy.matches("script-src").count(), 1);
}

#[test]
fn numbers_are_written_as_people_read_them() {
    use ui::format::{ago, bytes, count, duration, mib, milli, percent, utc};
    assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!(
        [0, 250, 12_500, 64_000, 1_200_001, -500].map(milli),
        ["0", "0.25", "12.5", "64", "1,200.001", "-0.5"]
    );
    assert_eq!(
        [0, 512_000, 1_024_000, 3_584_000, 262_144_000, 1_048_576_000].map(mib),
        ["0", "512 MiB", "1 GiB", "3.5 GiB", "256 GiB", "1 TiB"]
    );
    assert_eq!([17, 1536, 1 << 30].map(bytes), ["17 B", "1.5 KiB", "1 GiB"]);
    assert_eq!(
        [(0, 10), (1, 1000), (5, 10), (9_999, 10_000), (10, 10), (1, 0)]
            .map(|(a, b)| percent(a, b)),
        ["0%", "<1%", "50%", ">99%", "100%", "0%"]
    );
    assert_eq!(
        [0.0, 0.25, 45.0, 150.0, 7300.0, 259_200.0].map(duration),
        ["0 s", "250 ms", "45 s", "2 min", "2 h 1 min", "3 d"]
    );
    assert_eq!(
        [ago(100.0, 100.5), ago(100.0, 40.0), ago(100.0, 400.0)],
        ["just now", "60 s ago", "in 5 min"]
    );
    assert_eq!(utc(0.0), "1970-01-01 00:00:00Z");
    assert_eq!(utc(f64::MAX), "an impossible time");
    assert_eq!(utc(f64::NAN), "1970-01-01 00:00:00Z");
}

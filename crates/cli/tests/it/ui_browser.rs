//! The web UI in Chromium: what a person sees and does.

use crate::running::framework;
use crate::ui::{EVIL, launch};
use std::path::PathBuf;
use std::time::Duration;
use testkit::cluster::free_ports;
use testkit::framework::{Framework, FrameworkOptions};
use testkit::zookeeper::Ensemble;
use testkit::{Browser, Cluster, ClusterOptions, wait};

const PROGRAM: &str = env!("CARGO_BIN_EXE_proffer");
/// Where pictures go, if they are wanted.
const PICTURES: &str = "PROFFER_TEST_PICTURES";

fn browser() -> Option<Browser> {
    let browser = Browser::start();
    if browser.is_none() {
        eprintln!(
            "skipped: the web UI in a browser (chromium and chromium-driver are not installed)"
        );
    }
    browser
}

fn picture(browser: &Browser, name: &str) {
    if let Some(directory) = std::env::var_os(PICTURES) {
        browser.picture(&PathBuf::from(directory).join(format!("{name}.png")));
    }
}

/// Nothing of the page lies beside the window.
#[track_caller]
fn fits(browser: &Browser) {
    let widths = browser.script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]",
    );
    assert_eq!(widths[0], widths[1], "{}", browser.url());
}

#[test]
fn a_person_finds_the_way_from_the_cluster_to_what_a_task_prints() {
    let Some(browser) = browser() else { return };
    let cluster = Cluster::start(ClusterOptions::new(PROGRAM, 2));
    let master = cluster.master();
    let options = FrameworkOptions {
        name: "printing".to_owned(),
        roles: vec!["eng/ads".to_owned()],
        ..FrameworkOptions::default()
    };
    let mut framework = Framework::subscribe(&master, &options);
    let command = "n=0; while true; do n=$((n+1)); echo line $n '<i>'; sleep 1; done";
    launch(&mut framework, "printer-1", EVIL, command);

    browser.open(&format!("http://{master}/"));
    browser.wait_for_text("Tasks running");
    browser.wait_for("document.querySelector('#live').dataset.state === 'live'");
    picture(&browser, "overview");

    // From framework to task to its output, by clicks.
    browser.click("#nav a[href='/ui/frameworks']");
    browser.wait_for_text("printing");
    browser.click("tbody th a");
    browser.wait_for_text("for role 'eng/ads'");
    picture(&browser, "framework");
    browser.click("a[href$='/tasks/printer-1']");
    browser.wait_for_text("History");
    browser.wait_for_text("line 1 <i>");
    let name = browser.script("return document.querySelector('h1').textContent");
    assert_eq!(name, EVIL, "a name is text");
    assert_ne!(browser.script("return document.title"), "evil");
    picture(&browser, "task");
    browser.click("#sandbox h3 a");
    browser.wait_for("document.querySelector('#log')?.textContent.includes('line 2 ')");
    let seen = browser.script("return document.querySelector('#log').textContent.length");
    let more = format!("document.querySelector('#log').textContent.length > {seen}");
    browser.wait_for(&more);
    picture(&browser, "follow");
    browser.click("h1.path a");
    browser.wait_for_text("stderr");

    // A list changes by itself, without losing what is being written.
    browser.open(&format!("http://{master}/ui/tasks"));
    browser.wait_for("document.querySelectorAll('tbody tr').length === 1");
    browser.script("window.kept = true; document.querySelector('#search').focus()");
    browser.press("prin");
    launch(&mut framework, "printer-2", "second", "exec sleep 1000");
    browser.wait_for("document.querySelectorAll('tbody tr').length === 2");
    let state =
        "return [window.kept, document.querySelector('#search').value, document.activeElement.id]";
    assert_eq!(browser.script(state), serde_json::json!([true, "prin", "search"]));
    picture(&browser, "tasks");

    // By keys alone.
    browser.script("document.activeElement.blur()");
    browser.press("ga");
    browser.wait_for("location.pathname === '/ui/agents' && document.readyState === 'complete'");
    browser.press("?");
    browser.wait_for("document.querySelector('#help').open");
    browser.script("document.querySelector('#help').close()");
    browser.press("/");
    browser.wait_for("document.activeElement.id === 'search'");

    // Addresses of the peer's UI.
    let id = &framework.id;
    browser.open(&format!("http://{master}/#/frameworks/{id}"));
    browser.wait_for(&format!("location.pathname === '/ui/frameworks/{id}'"));
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn pages_fit_a_phone_and_are_dark_where_that_is_preferred() {
    let Some(browser) = browser() else { return };
    let cluster = Cluster::start(ClusterOptions::new(PROGRAM, 1));
    let master = cluster.master();
    let mut framework = framework(&master, None);
    launch(
        &mut framework,
        "a-task-with-quite-a-long-identifier-that-does-not-fit",
        "web",
        "exec sleep 1000",
    );
    browser.resize(360, 740);
    let id = &framework.id;
    let task = "a-task-with-quite-a-long-identifier-that-does-not-fit";
    let paths = [
        "/".to_owned(),
        "/ui/agents".to_owned(),
        "/ui/frameworks".to_owned(),
        format!("/ui/frameworks/{id}"),
        "/ui/tasks".to_owned(),
        format!("/ui/frameworks/{id}/tasks/{task}"),
        format!("/ui/frameworks/{id}/tasks/{task}/files"),
        format!("/ui/frameworks/{id}/tasks/{task}/files?path=stdout"),
        "/ui/roles".to_owned(),
        "/ui/roles/%2A".to_owned(),
        "/ui/offers".to_owned(),
        "/ui/maintenance".to_owned(),
        "/ui/masters".to_owned(),
        "/ui/search?q=web".to_owned(),
    ];
    for (number, path) in paths.iter().enumerate() {
        browser.open(&format!("http://{master}{path}"));
        browser.wait_for("document.querySelector('main h1') !== null");
        fits(&browser);
        picture(&browser, &format!("phone-{number}"));
    }

    let ground = "return getComputedStyle(document.body).backgroundColor";
    browser.prefer("light");
    let light = browser.script(ground);
    browser.prefer("dark");
    let dark = browser.script(ground);
    assert_ne!(light, dark);
    picture(&browser, "phone-dark");
    // A choice holds against the system, and on the next page.
    browser.click("#theme");
    assert_eq!(browser.script(ground), light);
    browser.open(&format!("http://{master}/ui/roles"));
    assert_eq!(browser.script(ground), light);
}

/// Opens a page at a standby, kills the leader, and sees the page go on at the next one.
fn follows_the_next_leader(browser: &Browser, cluster: &mut Cluster, ports: &[u16]) {
    let leader = cluster.leader();
    // By way of one that stands by.
    let standby = (leader + 1) % 3;
    browser.open(&format!("http://{}/ui/agents", cluster.master_number(standby)));
    let port = |n: usize| ports[n].to_string();
    browser.wait_for(&format!("location.port === '{}'", port(leader)));
    browser.wait_for("document.querySelectorAll('tbody tr').length === 1");
    browser.wait_for("document.querySelector('#live').dataset.state === 'live'");

    cluster.kill_master_number(leader);
    let next = wait::until("the next leader", Duration::from_secs(60), || {
        Some(cluster.leader_besides(Some(leader)))
    });
    browser.wait_for(&format!(
        "location.port === '{}' && location.pathname === '/ui/agents'",
        port(next)
    ));
    browser.wait_for("document.querySelector('#live').dataset.state === 'live'");
    browser.wait_for("document.querySelectorAll('tbody tr').length === 1");
}

fn three_masters(
    flags: impl Fn(&[u16]) -> Vec<String>,
    name: Option<String>,
) -> (Cluster, Vec<u16>) {
    let ports = free_ports(3);
    let mut options = ClusterOptions::new(PROGRAM, 1);
    options.masters = 3;
    options.master_ports = ports.clone();
    options.master_flags = flags(&ports);
    options.master_name = name;
    (Cluster::start(options), ports)
}

#[test]
fn a_page_follows_the_next_leader() {
    let Some(browser) = browser() else { return };
    let flags = |ports: &[u16]| {
        let peers: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        vec!["--coordination=raft".to_owned(), format!("--peers={}", peers.join(","))]
    };
    let (mut cluster, ports) = three_masters(flags, None);
    follows_the_next_leader(&browser, &mut cluster, &ports);
    // One of three can't lead: that is said, and is over when the others are back.
    let last = cluster.leader();
    let others = (0..3).filter(|n| *n != last);
    others.clone().for_each(|n| cluster.kill_master_number(n));
    wait::until("the end of a leader without others", Duration::from_secs(60), || {
        cluster.ended_master_number(last)
    });
    cluster.start_master_number(last);
    wait::until("a master without a leader", Duration::from_secs(60), || {
        browser.open(&format!("http://{}/ui/agents", cluster.master_number(last)));
        let text = browser.script("return document.body.innerText");
        text.as_str().filter(|text| text.contains("No master leads")).map(|_| ())
    });
    others.for_each(|n| cluster.start_master_number(n));
    browser.wait_for("document.querySelector('#live')?.dataset.state === 'live'");
    browser.wait_for("document.querySelectorAll('tbody tr').length === 1");
}

#[test]
fn a_page_follows_the_next_leader_of_masters_that_meet_in_zookeeper() {
    let Some(browser) = browser() else { return };
    let Some(ensemble) = Ensemble::start(1) else { return };
    let url = ensemble.url("", "mesos");
    let flags = |_: &[u16]| vec![format!("--zk={url}"), "--zk_session_timeout=2secs".to_owned()];
    let (mut cluster, ports) = three_masters(flags, Some(url.clone()));
    follows_the_next_leader(&browser, &mut cluster, &ports);
}

#[test]
fn a_lost_connection_is_shown_until_it_is_back() {
    let Some(browser) = browser() else { return };
    let mut cluster = Cluster::start(ClusterOptions::new(PROGRAM, 1));
    browser.open(&format!("http://{}/ui/agents", cluster.master()));
    browser.wait_for("document.querySelector('#live').dataset.state === 'live'");
    browser.script("window.kept = true");
    cluster.kill_master();
    browser.wait_for("!document.querySelector('#lost').hidden");
    browser.wait_for_text("The connection to the master is lost");
    picture(&browser, "lost");
    cluster.start_master();
    browser.wait_for("document.querySelector('#lost').hidden");
    browser.wait_for("document.querySelector('#live').dataset.state === 'live'");
    assert_eq!(browser.script("return window.kept"), true, "the page is the same");
}

//! Memory: limits, lacks and shortness of it.

use super::*;

#[tokio::test]
async fn who_takes_too_much_memory_is_ended_for_that_and_others_go_on() {
    let Some(mut host) = Cgrouped::new("cgroups/mem") else { return };
    let other = host.start_with("other", "sleep 1000", &[("mem", 64.0)], &[]).await;
    // Only a child of the main process takes it.
    let hog = "sh -c 'x=0123456789abcdef; while :; do x=$x$x; done'; echo lived; sleep 1000";
    host.start_with("hog", hog, &[("mem", 40.0)], &[]).await;
    let end = host.end().await;
    assert_eq!(end.container_id, "hog");
    let limitation = end.limitation.expect("a limitation");
    assert_eq!(limitation.reason, Reason::ContainerLimitationMemory);
    assert!(limitation.message.starts_with("Memory limit exceeded: "), "{}", limitation.message);
    if !host.is_v2("memory") {
        let want = "Memory limit exceeded: Requested: 40MB Maximum Used: ";
        assert!(limitation.message.starts_with(want), "{}", limitation.message);
    }
    assert!(limitation.message.contains("\nMEMORY STATISTICS"), "{}", limitation.message);
    let amount = limitation.resources[0].scalar.as_ref().expect("an amount").value;
    assert_eq!(limitation.resources[0].name, "mem");
    assert!((30.0..=40.0).contains(&amount), "{amount}");
    assert!(is_alive(&other.to_string()));
    host.mesos.destroy("other");
    let end = host.end().await;
    assert_eq!((end.status, end.limitation), (Some(9), None));
    assert_eq!(host.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_lack_of_memory_is_known_to_the_agent_that_comes_after_the_cgroup_is_gone() {
    let Some(mut host) = Cgrouped::new("cgroups/mem") else { return };
    let hog = "x=0123456789abcdef; while :; do x=$x$x; done";
    for id in ["told", "bare"] {
        host.start_with(id, &format!("({hog}); sleep 1000"), &[("mem", 32.0)], &[]).await;
    }
    let mut told = BTreeMap::new();
    for _ in 0..2 {
        let end = host.end().await;
        told.insert(end.container_id, end.limitation.expect("a reason"));
    }
    assert_eq!(host.left(), Vec::<PathBuf>::new());
    // The agent dies before it has stored the ends. Of one container not even the reason could be written.
    std::fs::remove_file(host.directory.join("run/containers/bare/limitation")).expect("removed");
    let next = host.next();
    let found = next.mesos.recover().await.expect("recovery");
    let reasons: BTreeMap<_, _> =
        found.into_iter().map(|f| (f.container_id, f.limitation.expect("a reason"))).collect();
    assert_eq!(reasons["told"], told["told"]);
    assert_eq!(reasons["bare"].reason, Reason::ContainerLimitationMemory);
    assert_eq!(reasons["bare"].message, "Memory limit exceeded");
}

#[tokio::test]
async fn shortness_of_memory_is_counted() {
    let Some(mut host) = Cgrouped::new("cgroups/mem,cgroups/pids") else { return };
    // What is written to a disk can be given back, so that memory is short but never missing.
    let disk = std::path::Path::new("/var/tmp");
    let disk = if disk.is_dir() { disk.to_owned() } else { host.directory.clone() };
    let disk = disk.join(format!("{}-pressure", host.options.root));
    let write = format!(
        "while [ ! -e gate ]; do sleep 0.02; done; \
         while :; do head -c 104857600 /dev/zero > {0}; cat {0} > /dev/null; done",
        disk.display()
    );
    let supervisor = host.start_with("a", &write, &[("mem", 40.0)], &[]).await;
    let used = host.usage("a", supervisor);
    if host.is_v2("memory") {
        if used.mem_low_pressure_counter.is_none() {
            eprintln!("skipped: this kernel does not tell of pressure (psi=1)");
            return;
        }
        // From here on everything that is taken is waited for.
        let place = host.hierarchies().place("memory").expect("it is there");
        let high = place.mount.join(&host.options.root).join("a/memory.high");
        std::fs::write(high, "4194304").expect("written");
    }
    assert_eq!(used.mem_low_pressure_counter, Some(0), "{used:?}");
    assert!(used.processes() >= 1 && used.threads() >= 1, "{used:?}");
    std::fs::write(host.sandbox("a").join("gate"), "").expect("the gate opens");
    let counted = || Some(host.usage("a", supervisor).mem_low_pressure_counter());
    let low = found("it is counted", || counted().filter(|low| *low > 0)).await;
    let used = host.usage("a", supervisor);
    assert!(used.mem_low_pressure_counter() >= low, "it does not shrink");
    assert!(used.mem_critical_pressure_counter() <= used.mem_low_pressure_counter());
    host.mesos.destroy("a");
    host.end().await;
    let _ = std::fs::remove_file(disk);
    assert_eq!(host.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn memory_bursts_up_to_its_limit_and_is_counted() {
    let Some(mut host) = Cgrouped::new("cgroups/mem") else { return };
    // 40 MiB that nobody takes.
    let command = "cat /proc/self/oom_score_adj; dd if=/dev/zero bs=41943040 count=1 | sleep 1000";
    let request = [("mem", 32.0)];
    let supervisor = host.start_with("a", command, &request, &[("mem", f64::INFINITY)]).await;
    let is_full = |used: &ResourceStatistics| used.mem_anon_bytes() >= 41_943_040;
    let used = found("40 MiB", || Some(host.usage("a", supervisor)).filter(is_full)).await;
    assert!(used.mem_total_bytes() >= used.mem_anon_bytes(), "{used:?}");
    assert_eq!(used.mem_anon_bytes, used.mem_rss_bytes);
    assert_eq!(used.mem_file_bytes, used.mem_cache_bytes);
    let score: i32 = host.stdout("a").lines().next().expect("a line").parse().expect("a number");
    assert!((1..=1000).contains(&score), "{score}");
    let file = if host.is_v2("memory") { "memory.max" } else { "memory.limit_in_bytes" };
    let unlimited = host.file("memory", "a", file);
    assert!(unlimited == "max" || unlimited.len() > 15, "{unlimited}");
    // The limit of what runs is never lowered.
    host.mesos.update("a", vec![scalar("mem", 33.0)], map(&[]));
    let file = if host.is_v2("memory") { "memory.low" } else { "memory.soft_limit_in_bytes" };
    until("33 MiB", || host.file("memory", "a", file) == (33_u64 << 20).to_string()).await;
    host.mesos.destroy("a");
    assert_eq!(host.end().await.limitation, None);
}

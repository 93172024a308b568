//! What happens to the cgroups of a container, from its start to its end.

use super::*;

impl Isolator for Cgroups {
    fn name(&self) -> &'static str {
        "cgroups"
    }

    fn recover(&self, running: &[Running], ended: &[String]) -> Result<(), String> {
        let is_known = |id: &str| {
            running.iter().any(|r| r.container_id == id) || ended.iter().any(|e| e == id)
        };
        let mut open = vec![(self.tracker(&self.root).path, None::<String>)];
        while let Some((directory, parent)) = open.pop() {
            for directory in group::children(&directory) {
                let Some(id) = directory.file_name().and_then(|n| n.to_str()) else { continue };
                let known = is_known(id);
                if !known && owner::read(&directory).is_none_or(|owner| owner != self.owner) {
                    continue;
                }
                let member = self.add(id, parent.as_deref(), inside::is_limited(&directory));
                if known && member.is_limited {
                    let groups = self.groups(&member.relative);
                    self.controllers.iter().for_each(|controller| controller.adopt(&groups));
                }
                if known {
                    open.push((directory.join(INSIDE), Some(id.to_owned())));
                } else {
                    tracing::warn!(container = %id, "a container that nobody knows is removed");
                    self.kill(id);
                    self.cleanup(id)?;
                }
            }
        }
        Ok(())
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        let is_limited = inside::wants_limits(spec);
        let member = self.add(&spec.container_id, spec.parent.as_deref(), is_limited);
        if member.parent.is_some() && is_limited {
            self.divide(&member)?;
        }
        let tracker = self.make_tracker(&member)?;
        let groups = self.limiting(&member);
        if !member.is_limited {
            let wanted = self.wanted(&spec.container_id, &[], &spec.limits)?;
            if !wanted.devices.opened.is_empty() {
                self.controllers.iter().try_for_each(|c| c.open_devices(&groups, &wanted))?;
            }
            // Memory that is short is short for all that share it.
            let memory = groups.get("memory").ok().filter(|_| !spec.shares_everything());
            preparation.memory = memory
                .filter(|_| self.controllers.iter().any(|c| c.kernel() == ["memory"]))
                .map(|group| group.path.clone());
        } else {
            let wanted = self.wanted(&spec.container_id, &spec.resources, &spec.limits)?;
            self.make(&member.relative, &tracker, preparation.owner)?;
            for controller in &self.controllers {
                controller.apply(&groups, &wanted, true)?;
                controller.prepare(&groups, &wanted, preparation)?;
            }
        }
        // A tracker inside a cgroup is limited by that.
        let mut joined = groups.distinct();
        joined.retain(|group| !tracker.path.starts_with(&group.path));
        joined.insert(&tracker);
        preparation.cgroups.extend(joined.into_iter().map(|group| group.path.clone()));
        if preparation.rootfs.is_some() {
            self.show(&groups, &tracker, preparation);
        }
        preparation.tracker = Some(tracker.path);
        Ok(())
    }

    fn update(
        &self,
        container_id: &str,
        resources: &[v1::Resource],
        limits: &BTreeMap<String, f64>,
    ) -> Result<(), String> {
        let Some(groups) = self.own(container_id) else { return Ok(()) };
        let wanted = self.wanted(container_id, resources, limits)?;
        if self.gpus.is_some() {
            self.controllers.iter().try_for_each(|c| c.open_devices(&groups, &wanted))?;
        }
        self.controllers.iter().try_for_each(|c| c.apply(&groups, &wanted, false))
    }

    fn usage(
        &self,
        running: &Running,
        _processes: &Processes,
        out: &mut ResourceStatistics,
    ) -> Result<(), String> {
        let Some(groups) = self.own(&running.container_id) else { return Ok(()) };
        self.controllers.iter().try_for_each(|controller| controller.usage(&groups, out))
    }

    fn network_class(&self, container_id: &str) -> Option<u32> {
        let groups = self.own(container_id)?;
        self.controllers.iter().find_map(|controller| controller.network_class(&groups))
    }

    fn kill(&self, container_id: &str) {
        let Some(member) = self.containers().get(container_id).cloned() else { return };
        let tracker = self.tracker(&member.relative);
        if tracker.write("cgroup.kill", 1).is_ok() {
            return;
        }
        let (file, frozen, thawed) = if tracker.is_v2 {
            ("cgroup.freeze", "1", "0")
        } else {
            ("freezer.state", "FROZEN", "THAWED")
        };
        let deadline = Instant::now() + self.destroy_timeout;
        loop {
            let _ = tracker.write(file, frozen);
            let processes = tracker.processes();
            for pid in &processes {
                // SAFETY: a plain system call.
                unsafe { libc::kill(*pid, libc::SIGKILL) };
            }
            let _ = tracker.write(file, thawed);
            if processes.is_empty() || Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn limitation(&self, container_id: &str, saw_oom: bool) -> Option<Limitation> {
        let shared = || {
            let member = self.containers().get(container_id).cloned()?;
            Some(self.limiting(&member)).filter(|_| saw_oom)
        };
        match self.own(container_id).or_else(shared) {
            Some(groups) => self.controllers.iter().find_map(|c| c.limitation(&groups, saw_oom)),
            // The machine was booted meanwhile, say.
            None => saw_oom.then(memory::without_figures),
        }
    }

    fn cleanup(&self, container_id: &str) -> Result<(), String> {
        let Some(member) = self.containers().get(container_id).cloned() else { return Ok(()) };
        let deadline = Instant::now() + self.destroy_timeout;
        let tracker = self.tracker(&member.relative);
        let own = self.own(container_id).unwrap_or_default();
        self.controllers.iter().for_each(|controller| controller.forget(&own));
        for group in own.distinct() {
            if group.path != tracker.path {
                group.remove(deadline)?;
            }
        }
        // The last one: it tells whose all of them are.
        tracker.remove(deadline)?;
        self.containers().remove(container_id);
        Ok(())
    }
}

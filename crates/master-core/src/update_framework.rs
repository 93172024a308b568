//! UPDATE_FRAMEWORK: all or nothing, answered at once (spec/master.md 1.2).

use crate::announce::Announcement;
use crate::frameworks::options;
use crate::master::{Cx, Master};
use crate::validate;
use allocator::FrameworkId;
use std::collections::BTreeSet;
use wire::v1::scheduler::call;

impl Master {
    /// Replaces a framework's description, suppressed roles and constraints.
    pub(crate) fn update_framework(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        update: call::UpdateFramework,
    ) -> Result<(), String> {
        let mut info = update.framework_info;
        let suppressed: BTreeSet<String> = update.suppressed_roles.into_iter().collect();
        validate::framework::check(&info)
            .map_err(|e| format!("Supplied FrameworkInfo is not valid: {e}"))?;
        self.check_against_flags(&info)
            .map_err(|e| format!("Supplied FrameworkInfo is not valid: {e}"))?;
        let Some(framework) = self.framework(key) else { return Ok(()) };
        validate::framework::check_update(&framework.info, &info)
            .map_err(|e| format!("FrameworkInfo update is not valid: {e}"))?;
        validate::framework::check_roles_of_subscription(
            &info,
            &suppressed,
            update.offer_constraints.as_ref(),
        )
        .map_err(|e| format!("'UpdateFramework' call is not valid: {e}"))?;
        info.id = Some(framework.id.as_str().into());
        let changed = framework.info != info;
        let gone: BTreeSet<String> =
            framework.roles().difference(&crate::state::roles_of(&info)).cloned().collect();
        let rescinded: Vec<String> = framework
            .offers
            .values()
            .filter(|o| gone.contains(&o.role))
            .map(|o| o.id.clone())
            .collect();
        for offer in rescinded {
            self.rescind(cx, &offer);
        }
        let Some(framework) = self.framework_mut(key) else { return Ok(()) };
        framework.info = info.clone();
        framework.suppressed = suppressed;
        framework.constraints = update.offer_constraints;
        let options =
            options(&framework.info, &framework.suppressed, framework.constraints.as_ref());
        self.allocator.update_framework(key, options);
        if changed {
            self.announce(cx, || Announcement::FrameworkUpdated { framework: key });
            self.tell_agents(cx, &self.all_agents(), &info);
        }
        Ok(())
    }
}

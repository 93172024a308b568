//! Quota and weights: validation, registry, and offers that have to give way (spec/master.md 4.2 and 4.3).

use crate::master::{Cx, Master, Waiting};
use crate::registry::{QUOTA, RegistryOp, WEIGHTS, read};
use crate::share::Promises;
use allocator::Quota;
use base::Token;
use resources::{Milli, Resources, from_milli, is_descendant_or_self, to_milli, validate_role};
use std::borrow::Cow;
use std::collections::BTreeMap;
use wire::v1;
use wire::v1::quota::{QuotaConfig, QuotaRequest};
use wire::v1::value::Scalar;

/// Most megabytes of `mem` or `disk`: an exabyte.
const MEGABYTES_MAX: f64 = 1_099_511_627_776.0;
/// Most of anything else.
const OTHER_MAX: f64 = 1e12;

/// Why a change is refused: HTTP status and text.
type Refusal = (u16, String);

/// Amounts by name.
pub(crate) type Amounts = BTreeMap<String, Milli>;

/// Most that a quota or share may be of, in units and in words.
pub(crate) fn most(name: &str) -> (f64, &'static str) {
    if name == "mem" || name == "disk" {
        (MEGABYTES_MAX, "1 exabyte")
    } else {
        (OTHER_MAX, "1 trillion")
    }
}

pub(crate) fn amounts(map: &BTreeMap<String, Scalar>) -> Amounts {
    map.iter().map(|(name, scalar)| (name.clone(), to_milli(scalar.value))).collect()
}

pub(crate) fn shown(amounts: &Amounts) -> String {
    let parts = amounts.iter().filter(|(_, milli)| **milli != 0);
    let parts: Vec<String> =
        parts.map(|(name, milli)| format!("{name}:{}", from_milli(*milli))).collect();
    if parts.is_empty() { "{}".to_owned() } else { parts.join("; ") }
}

/// Adds to a sum, which ends at the most that can be counted.
pub(crate) fn grow(sum: &mut Amounts, name: &str, milli: Milli) {
    let amount = sum.entry(name.to_owned()).or_default();
    *amount = amount.saturating_add(milli);
}

/// The policy's form of a quota.
pub(crate) fn to_policy(config: &QuotaConfig) -> Quota {
    Quota { guarantees: amounts(&config.guarantees), limits: amounts(&config.limits) }
}

/// Checks the name of a resource.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("Empty resource name".to_owned());
    }
    if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("Invalid resource name '{name}': expected no blanks"));
    }
    Ok(())
}

/// Checks one configuration for itself.
fn check(config: &QuotaConfig) -> Result<(), String> {
    validate_role(&config.role).map_err(|e| format!("Invalid 'QuotaConfig.role': {e}"))?;
    for (field, map) in [("guarantees", &config.guarantees), ("limits", &config.limits)] {
        for (name, scalar) in map {
            check_name(name).map_err(|e| format!("Invalid 'QuotaConfig.{field}': {e}"))?;
            let value = scalar.value;
            let (most, word) = most(name);
            if value > most {
                return Err(format!(
                    "Invalid 'QuotaConfig.{field}': {{'{name}': {value}}} is invalid: values greater than {word} ({most}) are not supported"
                ));
            }
        }
    }
    for (kind, map) in [("guarantee", &config.guarantees), ("limit", &config.limits)] {
        for (name, scalar) in map {
            let value = scalar.value;
            let fault = if value.is_nan() || value.is_infinite() {
                "the value is not finite"
            } else if value < 0.0 {
                "the value is negative"
            } else if value.is_subnormal() {
                "the value is too small"
            } else {
                continue;
            };
            return Err(format!("Invalid {kind} configuration {{'{name}': {value}}}: {fault}"));
        }
    }
    let (guarantees, limits) = (amounts(&config.guarantees), amounts(&config.limits));
    let over = |(name, milli): (&String, &Milli)| limits.get(name).is_some_and(|l| l < milli);
    if guarantees.iter().any(over) {
        return Err(format!(
            "'QuotaConfig.guarantees' {} is not contained within the 'QuotaConfig.limits' {}",
            shown(&guarantees),
            shown(&limits)
        ));
    }
    Ok(())
}

impl Master {
    pub(crate) fn is_whitelisted(&self, role: &str) -> bool {
        role == "*" || self.state.role_whitelist.as_ref().is_none_or(|roles| roles.contains(role))
    }

    /// What a role and those below it consume: reservations, and unreserved scalars in use.
    pub(crate) fn consumed(&self, role: &str) -> Amounts {
        let mut consumed = Amounts::new();
        let is_below = |of: &str| is_descendant_or_self(of, role);
        let mut add = |resources: &Resources| {
            for entry in resources.iter() {
                if let resources::Value::Scalar(milli) = entry.value {
                    grow(&mut consumed, &entry.identity.name, milli);
                }
            }
        };
        for agent in self.state.agents.values() {
            add(&agent.total.filter(|e| e.reserved_to().is_some_and(is_below)));
        }
        for framework in self.state.frameworks.values() {
            let used = &framework.used;
            add(&used.filter(|e| {
                e.is_quota_charged() && e.identity.allocated_to.as_deref().is_some_and(is_below)
            }));
        }
        consumed
    }

    /// Checks guarantees of all roles together.
    fn check_together(&self, configs: &[QuotaConfig]) -> Result<(), String> {
        self.promises(configs).check_countable()?;
        let mut all: BTreeMap<&str, &QuotaConfig> =
            self.state.quotas.iter().map(|(role, config)| (role.as_str(), config)).collect();
        all.extend(configs.iter().map(|c| (c.role.as_str(), c)));
        let sum = |roles: &mut dyn Iterator<Item = &&QuotaConfig>| {
            let mut sum = Amounts::new();
            for (name, milli) in roles.flat_map(|c| amounts(&c.guarantees)) {
                grow(&mut sum, &name, milli);
            }
            sum
        };
        for (role, config) in &all {
            let limits = amounts(&config.limits);
            let mut below =
                all.values().filter(|c| c.role != **role && is_descendant_or_self(&c.role, role));
            let below = sum(&mut below);
            if below.iter().any(|(name, milli)| limits.get(name).is_some_and(|l| l < milli)) {
                return Err(format!(
                    "total quota guarantees '{}' of the roles below '{role}' exceed its limits '{}'",
                    shown(&below),
                    shown(&limits)
                ));
            }
        }
        Ok(())
    }

    /// Whether the cluster has what is guaranteed in all.
    fn check_capacity(&self, cx: &Cx<'_>, configs: &[QuotaConfig]) -> Result<(), String> {
        self.promises(configs).check(&self.state.capacity(), cx.now.wall)
    }

    /// All that is promised to roles, with these quotas.
    fn promises(&self, configs: &[QuotaConfig]) -> Promises<'_> {
        let mut quotas = self.state.quotas.clone();
        quotas.extend(configs.iter().map(|c| (c.role.clone(), c.clone())));
        let shares = self.state.shares.values().map(|share| &share.config).collect();
        Promises { quotas: Cow::Owned(quotas), shares }
    }

    pub(crate) fn update_quota(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        force: bool,
        configs: Vec<QuotaConfig>,
    ) {
        match self.check_quota(cx, force, &configs) {
            Ok(()) => self.write_quota(cx, token, configs),
            Err(text) => cx.respond(token, 400, text),
        }
    }

    fn check_quota(&self, cx: &Cx<'_>, force: bool, configs: &[QuotaConfig]) -> Result<(), String> {
        for config in configs {
            if !self.is_whitelisted(&config.role) {
                return Err(format!(
                    "Invalid QuotaConfig: '{}' is not on the roles whitelist",
                    config.role
                ));
            }
            check(config).map_err(|e| format!("Invalid QuotaConfig: {e}"))?;
        }
        for config in configs.iter().filter(|_| !force) {
            let (consumed, limits) = (self.consumed(&config.role), amounts(&config.limits));
            let over = |(name, limit): (&String, &Milli)| {
                consumed.get(name).is_some_and(|used| used > limit)
            };
            if limits.iter().any(over) {
                return Err(format!(
                    "Invalid QuotaConfig: Role '{}' is already consuming '{}'; this is more than the requested limits '{}' (use 'force' flag to bypass this check)",
                    config.role,
                    shown(&consumed),
                    shown(&limits)
                ));
            }
        }
        self.check_together(configs).map_err(|e| format!("Invalid QuotaConfig: {e}"))?;
        if !force {
            self.check_capacity(cx, configs).map_err(|e| {
                format!("Invalid QuotaConfig: {e} (use 'force' flag to bypass this check)")
            })?;
        }
        Ok(())
    }

    /// The older way: what is guaranteed is the limit as well.
    pub(crate) fn set_quota(&mut self, cx: &mut Cx<'_>, token: Token, request: &QuotaRequest) {
        match self.check_request(cx, request) {
            Ok(config) => self.write_quota(cx, token, vec![config]),
            Err((status, text)) => cx.respond(token, status, text),
        }
    }

    fn check_request(&self, cx: &Cx<'_>, request: &QuotaRequest) -> Result<QuotaConfig, Refusal> {
        let invalid = |text: String| (400, format!("Failed to validate set quota request: {text}"));
        let Some(role) = request.role.clone() else {
            return Err(invalid("QuotaInfo must specify a role".to_owned()));
        };
        Resources::validate(&request.guarantee)
            .map_err(|e| invalid(format!("QuotaInfo with invalid resource: {e}")))?;
        validate_role(&role).map_err(|e| invalid(format!("QuotaInfo with invalid role: {e}")))?;
        if request.guarantee.is_empty() {
            return Err(invalid("QuotaInfo with empty 'guarantee'".to_owned()));
        }
        let mut limits: BTreeMap<String, Scalar> = BTreeMap::new();
        for resource in &request.guarantee {
            let is_reserved = !resource.reservations.is_empty()
                || resource.reservation.is_some()
                || resource.role.as_deref().is_some_and(|r| r != "*");
            let fault = if is_reserved {
                "QuotaInfo must not contain any ReservationInfo"
            } else if resource.disk.is_some() {
                "QuotaInfo must not contain DiskInfo"
            } else if resource.revocable.is_some() {
                "QuotaInfo must not contain RevocableInfo"
            } else if let Some(scalar) = resource.scalar {
                if limits.insert(resource.name.clone(), scalar).is_some() {
                    return Err(invalid(format!(
                        "QuotaInfo contains duplicate resource name '{}'",
                        resource.name
                    )));
                }
                continue;
            } else {
                "QuotaInfo must not include non-scalar resources"
            };
            return Err(invalid(fault.to_owned()));
        }
        if !self.is_whitelisted(&role) {
            return Err(invalid(format!("Unknown role '{role}'")));
        }
        if self.state.quotas.contains_key(&role) {
            return Err(invalid(format!(
                "Cannot set quota for role '{role}' which already has quota"
            )));
        }
        let config = QuotaConfig { role, guarantees: limits.clone(), limits };
        check(&config).map_err(invalid)?;
        self.check_together(std::slice::from_ref(&config)).map_err(invalid)?;
        if !request.force() {
            self.check_capacity(cx, std::slice::from_ref(&config)).map_err(|e| {
                let text = format!(
                    "Quota guarantees overcommit the cluster (use 'force' to bypass this check): {e}"
                );
                (409, text)
            })?;
        }
        Ok(config)
    }

    pub(crate) fn remove_quota(&mut self, cx: &mut Cx<'_>, token: Token, role: String) {
        if self.state.quotas.contains_key(&role) {
            let config = QuotaConfig { role, ..QuotaConfig::default() };
            return self.write_quota(cx, token, vec![config]);
        }
        cx.respond(token, 400, format!("Failed to remove quota: Role '{role}' has no quota set"));
    }

    fn write_quota(&mut self, cx: &mut Cx<'_>, token: Token, configs: Vec<QuotaConfig>) {
        let ops = configs.iter().map(|config| {
            let (section, key) = (QUOTA.to_owned(), config.role.clone());
            if is_default(config) {
                RegistryOp::Delete { section, key }
            } else {
                RegistryOp::Put { section, key, value: wire::protobuf::to_vec(config) }
            }
        });
        self.write(cx, ops.collect(), Waiting::Quota { token, configs });
    }

    /// The registry has them.
    pub(crate) fn on_quota(&mut self, cx: &mut Cx<'_>, token: Token, configs: Vec<QuotaConfig>) {
        for config in configs {
            self.allocator.set_quota(&config.role, to_policy(&config));
            let (limits, guarantees) = (amounts(&config.limits), amounts(&config.guarantees));
            self.give_way(cx, &config.role, &limits, guarantees);
            if is_default(&config) {
                self.state.quotas.remove(&config.role);
            } else {
                self.state.quotas.insert(config.role.clone(), config);
            }
        }
        cx.respond(token, 200, "");
    }

    /// Rescinds offers that exceed the new limits, and offers of others that stand in the way of the new guarantees.
    pub(crate) fn give_way(
        &mut self,
        cx: &mut Cx<'_>,
        role: &str,
        limits: &Amounts,
        guarantees: Amounts,
    ) {
        let mut held = self.allocator.quota_consumption(role);
        // A soft offer has taken nothing: what may be used of it is decided when it is accepted.
        let offers: Vec<_> = self.offers.values().filter(|o| !o.soft).cloned().collect();
        let is_own = |of: &str| is_descendant_or_self(of, role);
        for offer in offers.iter().filter(|o| is_own(&o.role)) {
            let over =
                |(name, limit): (&String, &Milli)| held.get(name).is_some_and(|held| held > limit);
            if !limits.iter().any(over) {
                break;
            }
            for (name, held) in &mut held {
                *held = held.saturating_sub(offer.resources.unreserved().scalar(name));
            }
            self.rescind(cx, &offer.id);
        }
        let mut lack: Amounts = guarantees;
        for (name, lack) in &mut lack {
            *lack = lack.saturating_sub(held.get(name).copied().unwrap_or(0).max(0));
        }
        // Soft offers hide what is free from roles with disjoint offers.
        if lack.values().any(|lack| *lack > 0) {
            let soft = self.offers.values().filter(|o| o.soft && !is_own(&o.role));
            for id in soft.map(|o| o.id.clone()).collect::<Vec<_>>() {
                self.rescind(cx, &id);
            }
        }
        for offer in offers.iter().filter(|o| !is_own(&o.role)) {
            let helps = |(name, lack): (&String, &Milli)| {
                *lack > 0 && offer.resources.unreserved().scalar(name) > 0
            };
            if lack.iter().any(helps) {
                for (name, lack) in &mut lack {
                    *lack = lack.saturating_sub(offer.resources.unreserved().scalar(name));
                }
                self.rescind(cx, &offer.id);
            }
        }
    }

    pub(crate) fn update_weights(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        infos: &[v1::WeightInfo],
    ) {
        const PREFIX: &str = "Failed to validate update weights request JSON";
        let mut weights: BTreeMap<String, f64> = BTreeMap::new();
        for info in infos {
            let role = info.role().trim();
            let fault = if let Err(error) = validate_role(role) {
                format!("{PREFIX}: Invalid role '{role}': {error}")
            } else if !self.is_whitelisted(role) {
                format!("{PREFIX}: Unknown role '{role}'")
            } else if !info.weight.is_finite() || info.weight <= 0.0 {
                format!(
                    "{PREFIX} for role '{role}': Invalid weight '{}': Weights must be positive",
                    info.weight
                )
            } else {
                weights.insert(role.to_owned(), info.weight);
                continue;
            };
            return cx.respond(token, 400, fault);
        }
        let ops = weights.iter().map(|(role, weight)| {
            let info = v1::WeightInfo { role: Some(role.clone()), weight: *weight };
            let value = wire::protobuf::to_vec(&info);
            RegistryOp::Put { section: WEIGHTS.to_owned(), key: role.clone(), value }
        });
        self.write(cx, ops.collect(), Waiting::Weights { token, weights });
    }

    /// The registry has them.
    pub(crate) fn on_weights(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        weights: BTreeMap<String, f64>,
    ) {
        let mut matters = false;
        for (role, weight) in weights {
            self.allocator.set_weight(&role, weight);
            matters |= self.state.frameworks.values().any(|f| f.roles().contains(&role));
            self.state.weights.insert(role, weight);
        }
        if matters {
            for id in self.offers.keys().cloned().collect::<Vec<_>>() {
                self.rescind(cx, &id);
            }
        }
        cx.respond(token, 200, "");
    }

    /// Takes over what the registry holds of quota, weights and shares.
    pub(crate) fn recover_quota(&mut self, role: &str, value: &[u8]) -> Result<(), String> {
        let config: QuotaConfig = read(value)?;
        self.allocator.set_quota(role, to_policy(&config));
        self.state.quotas.insert(role.to_owned(), config);
        Ok(())
    }

    pub(crate) fn recover_weight(&mut self, role: &str, value: &[u8]) -> Result<(), String> {
        let info: v1::WeightInfo = read(value)?;
        self.allocator.set_weight(role, info.weight);
        self.state.weights.insert(role.to_owned(), info.weight);
        Ok(())
    }
}

fn is_default(config: &QuotaConfig) -> bool {
    config.guarantees.is_empty() && config.limits.is_empty()
}

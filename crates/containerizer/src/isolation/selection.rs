//! Which isolators there are, and which of them are wanted.

use super::Isolator;
use crate::MesosOptions;
use std::collections::BTreeSet;

/// Makes an isolator on this host, or says why there is none; [`None`]: nothing is to be done for it.
type Make = fn(&MesosOptions) -> Result<Option<Box<dyn Isolator>>, String>;

/// All isolators, in the order in which they prepare a container.
const ISOLATORS: &[(&str, Make)] =
    &[("filesystem/posix", |_| Ok(None)), ("posix/cpu", |_| Ok(None)), ("posix/mem", |_| Ok(None))];

/// Names that stand for several.
const ALIASES: &[(&str, &[&str])] =
    &[("process", &["posix/cpu", "posix/mem"]), ("posix", &["posix/cpu", "posix/mem"])];

/// What `--isolation` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(BTreeSet<&'static str>);

impl Default for Selection {
    /// The default of `--isolation`.
    fn default() -> Self {
        Self(["filesystem/posix", "posix/cpu", "posix/mem"].into())
    }
}

impl Selection {
    /// Reads names with commas between them.
    ///
    /// # Errors
    /// Names the isolator that is not known, with the nearest name, or that comes twice.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut chosen = BTreeSet::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, names)| *names);
            let known =
                || ISOLATORS.iter().find(|(known, _)| *known == name).map(|(name, _)| *name);
            let names = match alias {
                Some(names) => names.to_vec(),
                None => known().map(|name| vec![name]).ok_or_else(|| unknown(name))?,
            };
            for name in names {
                if !chosen.insert(name) {
                    return Err(format!("isolator '{name}' is given twice"));
                }
            }
        }
        if !chosen.iter().any(|name| name.starts_with("filesystem/")) {
            chosen.insert("filesystem/posix");
        }
        Ok(Self(chosen))
    }

    /// Whether an isolator is wanted.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The names, in the order in which they prepare.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        ISOLATORS.iter().map(|(name, _)| *name).filter(|name| self.has(name))
    }

    pub(super) fn make(&self, options: &MesosOptions) -> Result<Vec<Box<dyn Isolator>>, String> {
        let wanted = ISOLATORS.iter().filter(|(name, _)| self.has(name));
        let made =
            wanted.map(|(name, make)| make(options).map_err(|e| format!("isolator '{name}': {e}")));
        made.filter_map(Result::transpose).collect()
    }
}

fn unknown(name: &str) -> String {
    let known = || ISOLATORS.iter().map(|(name, _)| *name);
    match base::nearest(name, known()) {
        Some(near) => format!("there is no isolator '{name}'; did you mean '{near}'?"),
        None => {
            let known: Vec<&str> = known().collect();
            format!("there is no isolator '{name}'; there are: {}", known.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<&[&str], &str>) {
        let got = Selection::parse(text).map(|s| s.names().collect::<Vec<_>>());
        assert_eq!(got, want.map(<[&str]>::to_vec).map_err(str::to_owned));
    }

    #[test]
    fn names_aliases_and_mistakes() {
        let posix = ["filesystem/posix", "posix/cpu", "posix/mem"].as_slice();
        check("posix/mem, posix/cpu", Ok(posix));
        check("process", Ok(posix));
        check("posix/cpu", Ok(&["filesystem/posix", "posix/cpu"]));
        check("posix/cpu,process", Err("isolator 'posix/cpu' is given twice"));
        check("posix/men", Err("there is no isolator 'posix/men'; did you mean 'posix/mem'?"));
        check(
            "network/xyz",
            Err(
                "there is no isolator 'network/xyz'; there are: filesystem/posix, posix/cpu, posix/mem",
            ),
        );
        assert_eq!(Selection::parse("process"), Ok(Selection::default()));
    }
}

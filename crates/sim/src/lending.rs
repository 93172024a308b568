//! What simulated frameworks do with resources that are lent, and wanted back.

use wire::v1;

/// Resources of an offer that one task may use together: for good, reserved, or revocable.
pub(crate) fn classes(offer: &v1::Offer) -> Vec<Vec<v1::Resource>> {
    let class =
        |r: &v1::Resource| (r.revocable.is_some(), r.role() != "*", r.reservation.is_some());
    let usable = || offer.resources.iter().filter(|r| r.disk.is_none());
    let mut all: Vec<_> = usable().map(class).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter().map(|c| usable().filter(|r| class(r) == c).cloned().collect()).collect()
}

/// How many tasks of half a cpu fit.
pub(crate) fn fit(class: &[v1::Resource]) -> usize {
    let room = |name: &str| {
        let of_name = class.iter().filter(|r| r.name == name).filter_map(|r| r.scalar.as_ref());
        of_name.map(|s| s.value).sum::<f64>()
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
    let fit = (room("cpus") / 0.5 + 1e-6).min(room("mem") / 64.0 + 1e-6) as usize;
    fit
}

/// What a task or an executor uses.
pub(crate) fn of_task(class: &[v1::Resource], cpus: f64, mem: f64) -> Vec<v1::Resource> {
    let part = |name: &str, value: f64| {
        let like = class.iter().find(|r| r.name == name).cloned().unwrap_or_default();
        v1::Resource { scalar: Some(v1::value::Scalar { value }), ..like }
    };
    vec![part("cpus", cpus), part("mem", mem)]
}

/// One of a scalar from each of an offer's classes that has so much. Of what is lent, this is what a task may borrow while
/// another of its group does not.
pub(crate) fn one(offer: &v1::Offer, name: &str) -> Vec<v1::Resource> {
    let has_one = |r: &&v1::Resource| r.scalar.as_ref().is_some_and(|s| s.value >= 1.0);
    let found = offer.resources.iter().filter(|r| r.name == name && r.disk.is_none());
    let one = Some(v1::value::Scalar { value: 1.0 });
    found.filter(has_one).map(|r| v1::Resource { scalar: one, ..r.clone() }).collect()
}

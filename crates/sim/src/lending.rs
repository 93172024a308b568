//! What simulated frameworks do with resources that are lent, and wanted back.

use base::Rng;
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

/// What such a task uses.
pub(crate) fn of_task(class: &[v1::Resource]) -> Vec<v1::Resource> {
    let part = |name: &str, value: f64| {
        let like = class.iter().find(|r| r.name == name).cloned().unwrap_or_default();
        v1::Resource { scalar: Some(v1::value::Scalar { value }), ..like }
    };
    vec![part("cpus", 0.5), part("mem", 64.0)]
}

/// Something of which a task fits, at random.
pub(crate) fn pick(offer: &v1::Offer, rng: &mut Rng) -> Option<Vec<v1::Resource>> {
    let mut classes = classes(offer);
    classes.retain(|class| fit(class) > 0);
    match classes.len() {
        0 => None,
        1 => classes.pop(),
        several => Some(classes.swap_remove(rng.below(several as u64) as usize)),
    }
}

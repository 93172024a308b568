//! Who refuses all that is left of an agent: found out for all at once when many are asked, since those who refuse pile
//! up.

use crate::decide::Wants;
use crate::filters::Filters;
use crate::tree::Seat;
use resources::Resources;
use std::borrow::Cow;

/// Seats that are asked one by one.
const FEW: u32 = 2;

#[derive(Debug)]
pub(crate) struct Refusals<'a> {
    filters: &'a Filters,
    asked: u32,
    /// One bit for each seat that refuses.
    all: Option<Cow<'a, [u64]>>,
}

impl<'a> Refusals<'a> {
    pub(crate) fn new(filters: &'a Filters) -> Self {
        Self { filters, asked: 0, all: None }
    }

    /// Whether a seat refuses what is left.
    pub(crate) fn has(&mut self, seat: Seat, left: &Resources, wants: &[Wants]) -> bool {
        self.asked += 1;
        if self.asked <= FEW {
            return self.filters.refuse(seat, wants[seat as usize].voided, left).is_some();
        }
        let all = self.all.get_or_insert_with(|| self.filters.refusers(left));
        all.get(seat as usize / 64).is_some_and(|bits| bits & 1 << (seat % 64) != 0)
    }

    /// Something else is left now.
    pub(crate) fn forget(&mut self) {
        (self.asked, self.all) = (0, None);
    }
}

//! Whether the kernel's clock follows others.

/// What the kernel says of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Whether something, such as NTP, keeps it right.
    pub is_kept: bool,
    /// Greatest error that is to be expected, in microseconds.
    pub error_max: i64,
}

/// Reads it; None: the kernel does not tell.
#[must_use]
pub fn read() -> Option<Clock> {
    // SAFETY: all zeroes are a valid value of this structure of numbers; with `modes` 0 it is only read into.
    let (state, clock) = unsafe {
        let mut clock: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut clock), clock)
    };
    let is_kept = state != libc::TIME_ERROR && clock.status & libc::STA_UNSYNC == 0;
    (state >= 0).then_some(Clock { is_kept, error_max: clock.maxerror })
}

//! Which tid a transaction gets.

use protocol::{Failure, Tid, TransactionFault};

/// The tid of a transaction that is committed at `now`, after `last`: the time, or the tid that it
/// brings, and always above the last. [`Tid::MAX`] is nobody's, since "before `MAX`" means "the
/// current revision".
pub(crate) fn tid_after(last: Tid, brought: Option<Tid>, now: Tid) -> Result<Tid, Failure> {
    match brought {
        Some(tid) if tid >= Tid::MAX => Err(Failure::Arguments(format!(
            "a transaction's tid must be below {}: {tid}",
            Tid::MAX
        ))),
        Some(tid) if tid <= last => Err(TransactionFault::OldTid.into()),
        Some(tid) => Ok(tid),
        None => Some(now.max(last.next())).filter(|tid| *tid < Tid::MAX).ok_or_else(|| {
            Failure::Storage(format!("no tid is left for a transaction after {last} at {now}"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Tid = Tid(1 << 40);
    const NOW: Tid = Tid(1 << 50);

    #[test]
    fn tids_ascend_whatever_the_clock_says() {
        assert_eq!(tid_after(LAST, None, NOW), Ok(NOW));
        assert_eq!(tid_after(NOW, None, NOW), Ok(NOW.next()));
        assert_eq!(tid_after(NOW, None, LAST), Ok(NOW.next()));
        let highest = Tid(Tid::MAX.0 - 1);
        for (last, now) in [(highest, NOW), (Tid(u64::MAX), NOW), (LAST, Tid::MAX)] {
            let refused = tid_after(last, None, now);
            assert!(matches!(refused, Err(Failure::Storage(_))), "{last}, {now}: {refused:?}");
        }
    }

    #[test]
    fn a_tid_that_is_brought_is_kept_or_refused() {
        assert_eq!(tid_after(LAST, Some(LAST.next()), NOW), Ok(LAST.next()));
        for old in [Tid::ZERO, LAST] {
            assert_eq!(tid_after(LAST, Some(old), NOW), Err(TransactionFault::OldTid.into()));
        }
        for high in [Tid::MAX, Tid::MAX.next(), Tid(u64::MAX)] {
            let refused = tid_after(LAST, Some(high), NOW);
            assert!(matches!(refused, Err(Failure::Arguments(_))), "{high}: {refused:?}");
        }
    }
}

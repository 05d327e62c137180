//! A part of the store read, chosen at random: every record, and the bytes of some results. The index stays as it is.

use std::sync::Arc;

use crate::error::Result;
use crate::model::action::{Outcome, Place};
use crate::store::disk::{Disk, RealDisk};
use crate::store::examine::{Asked, Examination, Examining, Log, TELL_EVERY, set_aside, sizes};
use crate::store::facade::Store;
use crate::store::frame::Frame;
use crate::store::opening::Opening;
use crate::store::recover::{Damage, replay};

use std::path::Path;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Of one.
    part: f64,
    /// Another choice for another number.
    seed: u64,
}

impl Share {
    /// So many percent, another choice at each time.
    pub fn of_percent(percent: f64, seed: u64) -> Self {
        Share { part: percent / 100.0, seed }
    }

    /// Whether something with this name is looked at.
    pub fn takes(&self, name: &[u8]) -> bool {
        let mut hasher = crate::hash::FieldHasher::new("pipe sample");
        let digest = hasher.number(self.seed).bytes(name).finish();
        let first = digest.0.iter().take(6).fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        (first as f64) < self.part * (1_u64 << 48) as f64
    }
}

/// Reads every record of the store in `dir` and hashes a share of the results; what is damaged is set aside.
pub fn sample(dir: &Path, share: Share, asked: &mut Asked<'_>) -> Result<Examining> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    if crate::store::format::Format::read(&*disk, dir)?.is_none() {
        return Err(super::no_store(dir));
    }
    let store = match Store::open(dir)? {
        Opening::Opened(store, _) => store,
        Opening::Held(holder) => return Ok(Examining::Held(holder)),
    };
    let mut found = Examination::default();
    let log = read(&store, share, asked, &mut found)?;
    if !log.hurt.is_empty() || !log.damage.is_empty() {
        set_aside(&store, &log, asked, &mut found)?;
    }
    Ok(Examining::Done(store, found))
}

fn read(store: &Store, share: Share, asked: &mut Asked<'_>, found: &mut Examination) -> Result<Log> {
    let segments = store.log.segments();
    let sizes = sizes(segments)?;
    let total = sizes.values().sum();
    let mut log = Log::new();
    let mut unreadable = Vec::new();
    let mut failed = None;
    let replayed = replay(segments, crate::model::action::Position(0), None, &mut |_, frame| {
        if found.frames.is_multiple_of(TELL_EVERY) {
            let before: u64 =
                sizes.iter().filter(|(n, _)| **n < frame.position.segment()).map(|(_, size)| size).sum();
            (asked.tell)("the log", before + u64::from(frame.position.offset()), total);
        }
        if let Some(Frame::Act(act)) = frame.decode()
            && let Outcome::Output(output) = &act.outcome
            && output.place != Place::Input
            && !share.takes(&frame.position.0.to_le_bytes())
        {
            found.frames += 1;
            found.unread += 1;
            return;
        }
        found.frames += 1;
        let read = log.frame(&frame, segments, &store.blobs, found, &mut unreadable);
        failed = failed.take().or(read.err());
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    log.damage = replayed.damage;
    log.damage.extend::<Vec<Damage>>(unreadable);
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_takes_about_as_many_as_it_says_and_others_at_another_time() {
        let taken = |share: Share| (0..10_000_u32).filter(|i| share.takes(&i.to_le_bytes())).count();
        assert_eq!(taken(Share::of_percent(100.0, 1)), 10_000);
        assert!((50..200).contains(&taken(Share::of_percent(1.0, 1))));
        let (one, two) = (Share::of_percent(50.0, 1), Share::of_percent(50.0, 2));
        let both = (0..10_000_u32).filter(|i| one.takes(&i.to_le_bytes()) && two.takes(&i.to_le_bytes()));
        assert!((2000..3000).contains(&both.count()));
    }
}

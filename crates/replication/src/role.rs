//! What a storage is in its replication, and what that allows.

use std::fmt::Write as _;

use protocol::Tid;

use crate::crc;
use crate::epoch::{Epoch, EpochStart, History, NotAnEpoch, Unordered};
use crate::item::Position;

/// The role of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It commits.
    Primary {
        /// In which epoch.
        epoch: Epoch,
    },
    /// It follows another one.
    Secondary,
    /// It was a primary, and another one has taken over. That is for good: a promotion or a rejoin
    /// ends it, a restart does not.
    Fenced {
        /// The highest epoch that it has heard of.
        by: Epoch,
    },
}

/// All of replication that is durable with a storage; saved before anything is said that rests on
/// it.
///
/// A primary is fenced by knowing of an epoch above its own: there is no flag to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    history: History,
    heard: Option<Epoch>,
    follows: bool,
}

/// Why a storage does not commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteRefused {
    /// It follows a primary.
    #[error("this server is a secondary: it follows a primary, and only that one commits")]
    Secondary,
    /// Another one has taken over.
    #[error(
        "this server was the primary, and another one has taken over with epoch {by}; \
         `zeoxide rejoin` makes this one follow it"
    )]
    Fenced {
        /// With which epoch.
        by: Epoch,
    },
}

/// Why a storage was not promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromoteRefused {
    /// It commits already.
    #[error("it is the primary already, with epoch {epoch}")]
    Primary {
        /// Its epoch.
        epoch: Epoch,
    },
    /// It has heard of an epoch, and does not have all that came before that.
    #[error(
        "it has heard of epoch {heard} and has not got that far: what the primary of that epoch had may \
         be lost; promote a server that has got further, or insist"
    )]
    Lacks {
        /// The epoch.
        heard: Epoch,
    },
    /// It has followed nobody yet.
    #[error("it has not got anything from a primary yet; promote another server, or insist")]
    Empty,
    /// Somebody has said the last number that there is.
    #[error("epoch {highest} has the last number that there is, so none can come after it")]
    NoNumber {
        /// It.
        highest: Epoch,
    },
    /// The storage has lost something.
    #[error("the storage ends at {position}, before its epoch {epoch} began")]
    Short {
        /// Its last transaction.
        position: Tid,
        /// Its last epoch.
        epoch: Epoch,
    },
}

impl Standing {
    /// Of a storage that becomes a primary for the first time; `unique` is random. What it has now belongs
    /// to its first epoch.
    pub fn found(unique: [u8; 16]) -> Self {
        let start = EpochStart { epoch: Epoch { number: 1, unique }, base: Position::default() };
        Self { history: start.into(), heard: None, follows: false }
    }

    /// Of a storage that follows for the first time.
    pub fn follow() -> Self {
        Self { history: History::default(), heard: None, follows: true }
    }

    /// What it is.
    pub fn role(&self) -> Role {
        match (self.follows, self.history.last(), self.heard) {
            (false, Some(epoch), None) => Role::Primary { epoch },
            (false, Some(epoch), Some(heard)) if heard <= epoch => Role::Primary { epoch },
            (false, _, Some(by)) => Role::Fenced { by },
            // Without an epoch nothing can be committed; `found` and `promote` make one.
            (true, ..) | (false, None, None) => Role::Secondary,
        }
    }

    /// Its epochs.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The highest epoch that it has ever heard of, its own included.
    pub fn highest(&self) -> Option<Epoch> {
        self.history.last().max(self.heard)
    }

    /// Whether it may commit.
    pub fn may_write(&self) -> Result<(), WriteRefused> {
        match self.role() {
            Role::Primary { .. } => Ok(()),
            Role::Secondary => Err(WriteRefused::Secondary),
            Role::Fenced { by } => Err(WriteRefused::Fenced { by }),
        }
    }

    /// Somebody knows of `epoch`. Says whether that is news; then it has to be saved, and a primary
    /// is fenced from this moment on.
    #[must_use = "what was heard has to be saved"]
    pub fn hear(&mut self, epoch: Epoch) -> bool {
        let is_news = Some(epoch) > self.highest();
        if is_news {
            self.heard = Some(epoch);
        }
        is_news
    }

    /// Takes the epochs that a secondary has been told of, with what it has now.
    pub fn adopt(&mut self, history: History) {
        self.heard = self.highest();
        self.history = history;
    }

    /// Becomes the primary, with an epoch above all that it has heard of, after `position`, which is its last
    /// transaction; `unique` is random. To be saved before anything is committed. Refused, unless somebody
    /// `insists`, if it may lack what another primary had.
    pub fn promote(
        &mut self,
        position: Position,
        unique: [u8; 16],
        insists: bool,
    ) -> Result<Epoch, PromoteRefused> {
        if let Role::Primary { epoch } = self.role() {
            return Err(PromoteRefused::Primary { epoch });
        }
        if let Some(heard) = self.heard.filter(|heard| Some(*heard) > self.history.last())
            && !insists
        {
            return Err(PromoteRefused::Lacks { heard });
        }
        if self.history.last().is_none() && !insists {
            return Err(PromoteRefused::Empty);
        }
        let number = match self.highest() {
            None => 1,
            Some(highest) => {
                highest.number.checked_add(1).ok_or(PromoteRefused::NoNumber { highest })?
            }
        };
        let epoch = Epoch { number, unique };
        // What had no epoch before belongs to the first one.
        let base = self.history.last().map_or_else(Position::default, |_| position);
        self.history.push(EpochStart { epoch, base }).map_err(|Unordered { last, .. }| {
            PromoteRefused::Short { position: position.tid, epoch: last }
        })?;
        self.follows = false;
        Ok(epoch)
    }

    /// Becomes a secondary, of which all after `common` was set aside.
    pub fn rejoin(&mut self, common: Tid) {
        self.heard = self.highest();
        self.history.cut_after(common);
        self.follows = true;
    }

    /// The text that [`Self::parse`] reads: a few lines, for a file.
    pub fn to_text(&self) -> String {
        let mut text =
            format!("{TITLE}\nrole {}\n", if self.follows { SECONDARY } else { PRIMARY });
        if let Some(heard) = self.heard {
            line(&mut text, format_args!("heard {heard}"));
        }
        for EpochStart { epoch, base } in self.history.starts() {
            line(&mut text, format_args!("epoch {epoch} {} {:016x}", base.tid, base.digest));
        }
        let crc = crc(text.as_bytes());
        line(&mut text, format_args!("crc {crc:08x}"));
        text
    }

    /// The inverse of [`Self::to_text`].
    pub fn parse(text: &str) -> Result<Self, StandingError> {
        let (body, crc_line) = text
            .strip_suffix('\n')
            .and_then(|text| text.rfind('\n').map(|at| text.split_at(at + 1)))
            .ok_or(StandingError::Checksum)?;
        if crc_line != format!("crc {:08x}", crc(body.as_bytes())) {
            return Err(StandingError::Checksum);
        }
        let mut lines = body.lines();
        if lines.next() != Some(TITLE) {
            return Err(StandingError::Version);
        }
        let mut standing = Self::follow();
        for line in lines {
            let unknown = || StandingError::Line(line.to_owned());
            match line.split_once(' ').ok_or_else(unknown)? {
                ("role", PRIMARY) => standing.follows = false,
                ("role", SECONDARY) => standing.follows = true,
                ("heard", epoch) => standing.heard = Some(epoch.parse()?),
                ("epoch", start) => standing.history.push(parse_start(start)?)?,
                _ => return Err(unknown()),
            }
        }
        Ok(standing)
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String has room as long as there is memory");
}

fn parse_start(text: &str) -> Result<EpochStart, StandingError> {
    let mut words = text.split(' ');
    let epoch = words.next().unwrap_or_default().parse()?;
    let mut number = || words.next().and_then(|word| u64::from_str_radix(word, 16).ok());
    match (number(), number()) {
        (Some(tid), Some(digest)) => {
            Ok(EpochStart { epoch, base: Position { tid: Tid(tid), digest } })
        }
        _ => Err(StandingError::Line(format!("epoch {text}"))),
    }
}

/// A text that is not a standing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StandingError {
    /// It was changed, or is not whole.
    #[error("its checksum is wrong")]
    Checksum,
    /// It is from another version.
    #[error("it is not of a version that is known here")]
    Version,
    /// A line that says nothing known.
    #[error("the line {0:?} is not known")]
    Line(String),
    /// An epoch that is none.
    #[error(transparent)]
    Epoch(#[from] NotAnEpoch),
    /// Epochs out of order.
    #[error(transparent)]
    Unordered(#[from] Unordered),
}

const TITLE: &str = "zeoxide replication 1";
const PRIMARY: &str = "primary";
const SECONDARY: &str = "secondary";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tid: u64) -> Position {
        Position { tid: Tid(tid), digest: tid * 7 }
    }

    #[test]
    fn a_primary_is_fenced_by_a_higher_epoch_until_it_rejoins() {
        let mut old = Standing::found([5; 16]);
        let first = old.history().last().unwrap();
        assert_eq!(old.role(), Role::Primary { epoch: first });
        let mut new = Standing::follow();
        new.adopt(old.history().clone());
        assert_eq!(new.may_write(), Err(WriteRefused::Secondary));
        let second = new.promote(at(9), [1; 16], false).unwrap();
        assert_eq!(new.role(), Role::Primary { epoch: second });
        assert_eq!(
            new.promote(at(9), [2; 16], true),
            Err(PromoteRefused::Primary { epoch: second })
        );

        assert!(!old.hear(first));
        assert!(old.hear(second));
        assert!(!old.hear(second));
        assert_eq!(old.may_write(), Err(WriteRefused::Fenced { by: second }));
        let mut restarted = Standing::parse(&old.to_text()).unwrap();
        assert_eq!(restarted.role(), Role::Fenced { by: second });
        restarted.rejoin(Tid(9));
        assert_eq!((restarted.role(), restarted.highest()), (Role::Secondary, Some(second)));
    }

    #[test]
    fn a_storage_that_has_followed_nobody_is_promoted_if_somebody_insists() {
        let mut new = Standing::follow();
        let position = Position::default();
        assert_eq!(new.promote(position, [1; 16], false), Err(PromoteRefused::Empty));
        assert!(new.promote(position, [1; 16], true).is_ok());
    }

    #[test]
    fn a_promotion_goes_above_all_that_was_heard() {
        let mut standing = Standing::found([5; 16]);
        assert!(standing.hear(Epoch { number: 7, unique: [9; 16] }));
        let heard = standing.highest().unwrap();
        assert_eq!(standing.promote(at(3), [0; 16], false), Err(PromoteRefused::Lacks { heard }));
        let epoch = standing.promote(at(3), [0; 16], true).unwrap();
        assert_eq!(epoch.number, 8);
        assert_eq!(standing.role(), Role::Primary { epoch });
        let highest = Epoch { number: u64::MAX, unique: [0; 16] };
        assert!(standing.hear(highest));
        assert_eq!(
            standing.promote(at(4), [0; 16], true),
            Err(PromoteRefused::NoNumber { highest })
        );
    }

    #[test]
    fn a_storage_that_lost_what_an_epoch_rests_on_is_not_promoted() {
        let mut standing = Standing::found([5; 16]);
        assert!(standing.hear(Epoch { number: 2, unique: [9; 16] }));
        let epoch = standing.promote(at(50), [0; 16], true).unwrap();
        standing.rejoin(Tid(50));
        let short = PromoteRefused::Short { position: Tid(49), epoch };
        assert_eq!(standing.promote(at(49), [0; 16], true), Err(short));
    }

    #[test]
    fn a_rejoin_forgets_the_epochs_of_what_was_set_aside_but_not_that_they_were() {
        let mut standing = Standing::follow();
        standing.adopt(Standing::found([1; 16]).history().clone());
        let epoch = standing.promote(at(50), [2; 16], true).unwrap();
        standing.rejoin(Tid(40));
        assert_eq!(standing.history().starts().len(), 1);
        assert_eq!(standing.highest(), Some(epoch));
    }

    #[test]
    fn the_text_form_is_pinned() {
        let mut standing = Standing::found([0x11; 16]);
        assert!(standing.hear(Epoch { number: 2, unique: [0x22; 16] }));
        standing.promote(at(0x1234), [0x33; 16], true).unwrap();
        let text = "zeoxide replication 1\nrole primary\n\
            heard 2.22222222222222222222222222222222\n\
            epoch 1.11111111111111111111111111111111 0000000000000000 0000000000000000\n\
            epoch 3.33333333333333333333333333333333 0000000000001234 0000000000007f6c\n";
        assert_eq!(standing.to_text(), format!("{text}crc {:08x}\n", crc(text.as_bytes())));
    }

    #[test]
    fn a_text_that_was_changed_or_cut_is_refused() {
        let mut standing = Standing::found([1; 16]);
        assert!(standing.hear(Epoch { number: 2, unique: [3; 16] }));
        let text = standing.to_text();
        assert_eq!(Standing::parse(&text), Ok(standing));
        for length in 0..text.len() {
            assert_eq!(Standing::parse(&text[..length]), Err(StandingError::Checksum), "{length}");
        }
        assert_eq!(Standing::parse(&text.replace('3', "4")), Err(StandingError::Checksum));
    }
}

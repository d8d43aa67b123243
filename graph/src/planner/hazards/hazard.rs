//! One hazard, in few bytes: frames have several a pass.

use crate::pairs::PairId;
use crate::schedule::HazardKind;

/// Who comes first in a hazard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A kept node, by position.
    Node(u32),
    /// Something at this level of an earlier frame.
    Earlier(u64),
}

/// One hazard; whose it is follows from where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hazard {
    relation: Relation,
    /// Position or level of the source.
    at: u64,
}

/// All of a hazard but when its source ran: its accesses, its kind, whether its source is in an earlier frame, and whether
/// it may be moved to another level. Hazards of one node with the same relation ask for the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Relation(u64);

impl Relation {
    const EARLIER: u64 = 1;
    /// A write after a write, which asks for the same as a read.
    const OVER: u64 = 1 << 1;
    const AFTER_READ: u64 = 1 << 2;
    const ORDER: u64 = 1 << 3;
    const DST: u32 = 16;
    const SRC: u32 = 32;
    const MOVES: u64 = 1 << 63;

    /// Of hazards against nodes of the frame.
    #[inline]
    pub(crate) fn within(src_pair: PairId, dst_pair: PairId, kind: HazardKind) -> Self {
        let accesses = u64::from(src_pair) << Self::SRC | u64::from(dst_pair) << Self::DST;
        Relation(accesses | Self::bits(kind))
    }

    #[inline]
    const fn bits(kind: HazardKind) -> u64 {
        match kind {
            HazardKind::ReadAfterWrite => 0,
            HazardKind::WriteAfterWrite => Self::OVER,
            HazardKind::WriteAfterRead => Self::AFTER_READ,
            HazardKind::Order => Self::ORDER,
        }
    }

    /// Of hazards against earlier frames.
    #[inline]
    pub(crate) fn earlier(src_pair: PairId, dst_pair: PairId, kind: HazardKind) -> Self {
        Relation(Self::within(src_pair, dst_pair, kind).0 | Self::EARLIER)
    }

    /// The same for a source that is known not to stay at its level.
    pub(crate) fn moving(self) -> Self {
        Relation(self.0 | Self::MOVES)
    }

    /// What hazards with the relation ask of a barrier; it is that of one of them.
    #[inline]
    pub(crate) fn asks(self) -> Self {
        Relation(self.0 & !(Self::MOVES | Self::EARLIER | Self::OVER))
    }

    /// Whether more than an order is asked for, and nothing but a write has to be seen.
    #[inline]
    pub(crate) fn is_memory(self) -> bool {
        self.0 & (Self::AFTER_READ | Self::ORDER) == 0
    }

    #[inline]
    pub(crate) fn is_earlier(self) -> bool {
        self.0 & Self::EARLIER != 0
    }

    /// What the source does.
    #[inline]
    pub(crate) fn src_pair(self) -> PairId {
        (self.0 >> Self::SRC) as PairId
    }

    /// What the node whose hazard it is does.
    #[inline]
    pub(crate) fn dst_pair(self) -> PairId {
        (self.0 >> Self::DST) as PairId
    }

    #[inline]
    pub(crate) fn kind(self) -> HazardKind {
        match self.0 & (Self::OVER | Self::AFTER_READ | Self::ORDER) {
            0 => HazardKind::ReadAfterWrite,
            Self::OVER => HazardKind::WriteAfterWrite,
            Self::AFTER_READ => HazardKind::WriteAfterRead,
            _ => HazardKind::Order,
        }
    }
}

impl Hazard {
    pub(crate) fn new(src: Source, src_pair: PairId, dst_pair: PairId, kind: HazardKind) -> Self {
        match src {
            Source::Node(position) => Self::within(Relation::within(src_pair, dst_pair, kind), position),
            Source::Earlier(level) => Self::earlier(Relation::earlier(src_pair, dst_pair, kind), level),
        }
    }

    /// Against the node at a position.
    #[inline]
    pub(crate) fn within(relation: Relation, position: u32) -> Self {
        Hazard { relation, at: position.into() }
    }

    /// Against something at a level of an earlier frame.
    #[inline]
    pub(crate) fn earlier(relation: Relation, level: u64) -> Self {
        Hazard { relation, at: level }
    }

    /// The same with a source that does not stay at its level.
    pub(crate) fn moving(self) -> Self {
        Hazard { relation: self.relation.moving(), ..self }
    }

    #[inline]
    pub(crate) fn relation(self) -> Relation {
        self.relation
    }

    #[inline]
    pub(crate) fn src(self) -> Source {
        if self.relation.is_earlier() { Source::Earlier(self.at) } else { Source::Node(self.at as u32) }
    }

    #[inline]
    pub(crate) fn src_pair(self) -> PairId {
        self.relation.src_pair()
    }

    #[inline]
    pub(crate) fn dst_pair(self) -> PairId {
        self.relation.dst_pair()
    }

    #[inline]
    pub(crate) fn kind(self) -> HazardKind {
        self.relation.kind()
    }

    /// Whether its source runs before that of another with the same relation, given the levels of both in this frame.
    #[inline]
    pub(crate) fn is_before(self, other: Hazard, level: u32, other_level: u32) -> bool {
        if self.relation.is_earlier() { self.at < other.at } else { level < other_level }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hazard_says_what_it_was_made_of() {
        let kinds = [
            HazardKind::ReadAfterWrite,
            HazardKind::WriteAfterWrite,
            HazardKind::WriteAfterRead,
            HazardKind::Order,
        ];
        for kind in kinds {
            for src in
                [Source::Node(u32::MAX), Source::Node(0), Source::Earlier(u64::MAX), Source::Earlier(0)]
            {
                let h = Hazard::new(src, 0xfedc, 0x1234, kind);
                assert_eq!((h.src(), h.src_pair(), h.dst_pair(), h.kind()), (src, 0xfedc, 0x1234, kind));
            }
        }
    }
}

//! Where the staging memory of a structure went.

use crate::resource::HostSlice;

/// Offsets below this can move: none of what fits a resource ends beyond 64 bits then.
const FAR: u64 = 1 << 62;

/// Where the staging memory of a structure went.
#[derive(Debug, Default)]
pub(super) struct Moves {
    moves: Vec<Move>,
    /// The first upload that does not fit.
    astray: Option<u32>,
}

/// Where one staging buffer went.
#[derive(Clone, Copy, Debug)]
struct Move {
    from: u32,
    to: u32,
    /// What is added to offsets, modulo 2^64.
    by: u64,
}

impl Moves {
    pub(super) fn clear(&mut self) {
        self.moves.clear();
        self.astray = None;
    }

    /// Whether anything went elsewhere.
    pub(super) fn any(&self) -> bool {
        self.moves.iter().any(|m| m.from != m.to || m.by != 0)
    }

    /// Where a slice is now.
    pub(super) fn apply(&self, slice: HostSlice) -> HostSlice {
        let moved = self.moves.iter().find(|m| m.from == slice.buffer);
        moved.map_or(slice, |m| HostSlice { buffer: m.to, offset: slice.offset.wrapping_add(m.by) })
    }

    /// Takes in where an upload is now, a node of the frame.
    #[inline]
    pub(super) fn enter(&mut self, old: HostSlice, new: HostSlice, node: u32) {
        let to = Move { from: old.buffer, to: new.buffer, by: new.offset.wrapping_sub(old.offset) };
        let near = old == new || (old.offset | new.offset) < FAR;
        let last = self.moves.last();
        if !(near && last.is_some_and(|m| (m.from, m.to, m.by) == (to.from, to.to, to.by))) {
            self.enter_another(to, near, node);
        }
    }

    fn enter_another(&mut self, to: Move, near: bool, node: u32) {
        let fits = match self.moves.iter().position(|m| m.from == to.from) {
            Some(known) => {
                let last = self.moves.len() - 1;
                self.moves.swap(known, last);
                (self.moves[last].to, self.moves[last].by) == (to.to, to.by)
            }
            None => {
                self.moves.push(to);
                true
            }
        };
        if !(fits && near) {
            self.astray.get_or_insert(node);
        }
    }

    /// All are entered: returns an upload that does not fit, if there is one. Different buffers have to be different
    /// still, and in the same order by number.
    pub(super) fn end(&mut self) -> Option<u32> {
        self.moves.sort_unstable_by_key(|m| m.from);
        let in_order = self.moves.is_sorted_by(|a, b| a.to < b.to);
        self.astray.or((!in_order).then_some(0))
    }
}

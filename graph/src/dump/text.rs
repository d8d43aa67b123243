//! For a person with a wrong or slow frame.

use super::boxes::{self, Boxes};
use super::model::{
    CauseDump, CommandDump, EntryDump, FrameDump, LevelDump, NodeDump, NodeKindDump, RegionDump,
    ResourceKind, ScatterRegionDump,
};
use super::names::headline;
use super::write::{bytes, count, join, len, line, putln};
use crate::access::Access;
use crate::uploads::UploadRule;
use std::collections::HashMap;

/// Regions, merged transfers and such of which no more are listed; the rest is counted.
const LISTED: usize = 12;

impl FrameDump {
    /// The frame as text: totals, resources, then level by level the barrier call with its causes and what runs.
    ///
    /// Each barrier entry reads `source stages:accesses -> destination stages:accesses`; a party of a cause shows its
    /// own access only where it differs from the entry's, and its stages only where those differ too. Causes that differ by transfer or range only are one line.
    /// Staging offsets are relative to the first byte the frame uses in that staging buffer.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        header(&mut out, self);
        resources(&mut out, self);
        let printer =
            Printer { dump: self, boxes: Boxes::new(self), bases: boxes::staging_bases(self), out: &mut out };
        printer.frame();
        out
    }
}

impl std::fmt::Display for FrameDump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_text())
    }
}

fn header(out: &mut String, dump: &FrameDump) {
    let t = &dump.totals;
    putln!(out, "{}", line(&headline(&dump.name)));
    if let Some(problem) = &dump.problem {
        putln!(out, "not planned: {}", join(problem.lines().map(line), "\n             "));
    }
    putln!(
        out,
        "  declared  {}, {}, {}, {}, {}",
        count(t.passes, "pass"),
        count(t.uploads, "upload"),
        count(t.copies, "copy"),
        count(t.fills, "fill"),
        count(t.readbacks, "readback")
    );
    if dump.problem.is_some() {
        return;
    }
    let scatters = match t.scatters {
        0 => String::new(),
        n => format!(
            "{} with {} and {} B, ",
            count(n, "scatter"),
            count(t.scatter_regions, "region"),
            t.scattered_bytes
        ),
    };
    putln!(
        out,
        "  planned   depth {}, {} with {}, {} with {} and {} B, {scatters}{} culled",
        t.depth,
        count(t.barrier_calls, "barrier call"),
        count(t.barrier_entries, "entry"),
        count(t.copy_commands, "copy command"),
        count(t.regions, "region"),
        t.copied_bytes,
        t.culled
    );
    if let Some(origin) = dump.origin_in_words() {
        putln!(out, "  plan      {}", line(&origin));
    }
    uploads(out, dump);
    if !dump.causes_collected {
        putln!(out, "  {}", boxes::NO_CAUSES);
    }
}

/// How uploads travel, where there was a choice.
fn uploads(out: &mut String, dump: &FrameDump) {
    let choice = &dump.uploads;
    let us = |ps: u64| format!("{}.{} us", ps / 1_000_000, ps / 100_000 % 10);
    let (regions, copies, scatter) =
        (count(choice.regions, "region"), us(choice.as_copies), us(choice.as_scatter));
    let why = match choice.rule {
        UploadRule::Copy => return,
        _ if dump.totals.uploads == 0 => return,
        UploadRule::Scatter if choice.scattered == 0 => "all copied, though scatter was asked for".to_owned(),
        UploadRule::Scatter => format!("{} scattered, as was asked for", choice.scattered),
        UploadRule::Cheapest(_) if choice.regions == 0 => {
            "all copied: nothing that can be scattered is worth it".to_owned()
        }
        UploadRule::Cheapest(_) if choice.scattered == 0 => {
            format!("all copied: {copies} for {regions} that scattered would take {scatter}")
        }
        UploadRule::Cheapest(_) => {
            format!("{} scattered: {scatter} for {regions} that as copies take {copies}", choice.scattered)
        }
    };
    putln!(out, "  uploads   {why}");
    if choice.out_of_reach > 0 {
        let n = count(choice.out_of_reach, "upload");
        putln!(out, "            {n} worth scattering copied: no address of the buffer");
    }
    if let UploadRule::Cheapest(costs) = choice.rule {
        putln!(out, "            {costs}");
    }
}

fn resources(out: &mut String, dump: &FrameDump) {
    if dump.resources.is_empty() {
        return;
    }
    putln!(out);
    putln!(out, "resources");
    let lifetimes = boxes::lifetimes(dump);
    let rows = dump.resources.iter().zip(0_u32..).map(|(r, i)| {
        let kind = match r.kind {
            ResourceKind::Persistent => "persistent",
            ResourceKind::Transient => "transient",
        };
        let levels = match (lifetimes.get(&i), &dump.problem) {
            (Some((a, b)), _) if a == b => format!("level {a}"),
            (Some((a, b)), _) => format!("levels {a} to {b}"),
            (None, None) => "unused".to_owned(),
            (None, Some(_)) => String::new(),
        };
        let size = r.size.map_or_else(|| "? B".to_owned(), |s| format!("{s} B"));
        [line(&r.name), kind.to_owned(), size, levels, r.usage.to_string()]
    });
    table(out, "  ", &rows.collect::<Vec<_>>());
}

struct Printer<'a> {
    dump: &'a FrameDump,
    boxes: Boxes,
    bases: HashMap<u32, u64>,
    out: &'a mut String,
}

impl Printer<'_> {
    fn frame(mut self) {
        let dump = self.dump;
        if dump.problem.is_some() && dump.queues.is_empty() {
            self.declared();
        }
        let mut calls = 0_u32;
        for (q, queue) in dump.queues.iter().enumerate() {
            if dump.queues.len() > 1 {
                putln!(self.out);
                putln!(self.out, "queue {q}");
            }
            for level in &queue.levels {
                self.level(level, &mut calls);
            }
        }
        self.explicit_orders();
        self.culled();
        self.trimmed();
        self.host_reads();
        self.host_writes();
    }

    fn declared(&mut self) {
        putln!(self.out);
        putln!(self.out, "declared");
        for node in &self.dump.nodes {
            self.node(node);
            // A transfer's name says what it uses.
            if node.kind == NodeKindDump::Pass {
                self.uses(node);
            }
        }
    }

    fn level(&mut self, level: &LevelDump, calls: &mut u32) {
        putln!(self.out);
        if let Some(barrier) = &level.barrier {
            let entries = count(len(&barrier.entries), "entry");
            putln!(self.out, "barrier {calls}, before level {}: {entries}", level.level);
            *calls = calls.saturating_add(1);
            for entry in &barrier.entries {
                self.entry(entry);
            }
        }
        if level.commands.is_empty() {
            return;
        }
        putln!(self.out, "level {}", level.level);
        for command in &level.commands {
            self.command(command);
        }
    }

    fn entry(&mut self, entry: &EntryDump) {
        putln!(self.out, "  {} -> {}", entry.source(), entry.destination());
        let mut rows = Vec::new();
        for group in self.boxes.grouped(entry) {
            let Some(first) = group.first() else { continue };
            let producers = boxes::parties(self.dump, group.iter().map(|c| c.producer.who));
            let consumers = boxes::parties(self.dump, group.iter().map(|c| c.consumer.who));
            rows.push([
                format!("{}{}", line(&producers), own_access(first, entry, true)),
                format!("then  {}{}", line(&consumers), own_access(first, entry, false)),
                first.kind.to_string(),
                line(&boxes::subject(self.dump, &group)),
                if first.coarsened { "coarsened".to_owned() } else { String::new() },
            ]);
        }
        table(self.out, "    ", &rows);
    }

    fn command(&mut self, command: &CommandDump) {
        let dump = self.dump;
        match command {
            CommandDump::Pass { node } => match dump.nodes.get(*node as usize) {
                Some(n) => {
                    self.node(n);
                    self.uses(n);
                }
                None => putln!(self.out, "  pass {}", dump.node_name(*node)),
            },
            CommandDump::Fill { nodes, .. } if !nodes.is_empty() => {
                for n in nodes {
                    putln!(self.out, "  {}", line(&dump.node_name(*n)));
                }
            }
            CommandDump::Fill { to, range, value, .. } => {
                let to = line(&dump.buffer_name(*to));
                putln!(self.out, "  fill {to}{} with {value:#010x}", bytes(range));
            }
            CommandDump::Scatter { regions } => self.scatter(regions),
            CommandDump::Copy { from, to, regions } => {
                let size = regions.iter().fold(0_u64, |sum, r| sum.saturating_add(r.size));
                let nodes = boxes::copied_nodes(regions);
                putln!(
                    self.out,
                    "  copy {} -> {}: {} of {size} B from {}",
                    line(&dump.buffer_name(*from)),
                    line(&dump.buffer_name(*to)),
                    count(len(regions), "region"),
                    count(len(&nodes), "declared transfer")
                );
                let rows = regions.iter().take(LISTED).map(|r| {
                    let end = r.dst.saturating_add(r.size);
                    let (first, last) =
                        (boxes::position(&self.bases, *to, r.dst), boxes::position(&self.bases, *to, end));
                    [
                        format!("[{first}..{last})"),
                        format!("from {}", boxes::position(&self.bases, *from, r.src)),
                        origin(dump, r),
                    ]
                });
                table(self.out, "      ", &rows.collect::<Vec<_>>());
                more_regions(self.out, regions.len());
            }
        }
    }

    fn scatter(&mut self, regions: &[ScatterRegionDump]) {
        let dump = self.dump;
        let size = regions.iter().fold(0_u64, |sum, r| sum.saturating_add(r.region.size));
        let nodes = boxes::copied_nodes(regions.iter().map(|r| &r.region));
        putln!(
            self.out,
            "  scatter {} of {size} B from {}",
            count(len(regions), "region"),
            count(len(&nodes), "declared transfer")
        );
        let rows = regions.iter().take(LISTED).map(|s| {
            let (to, from) = (line(&dump.buffer_name(s.to)), line(&dump.buffer_name(s.from)));
            let end = s.region.dst.saturating_add(s.region.size);
            [
                format!("{to}[{}..{end})", s.region.dst),
                format!("from {from} {}", boxes::position(&self.bases, s.from, s.region.src)),
                origin(dump, &s.region),
            ]
        });
        table(self.out, "      ", &rows.collect::<Vec<_>>());
        more_regions(self.out, regions.len());
    }

    fn node(&mut self, node: &NodeDump) {
        let mut notes = String::new();
        if let Some(queue) = node.queue {
            notes = format!("{notes}, on {queue}");
        }
        if node.side_effects {
            notes.push_str(", side effects");
        }
        if node.prologue {
            notes.push_str(", before all others");
        }
        let word = match node.kind {
            NodeKindDump::Pass => "pass ",
            _ => "",
        };
        putln!(self.out, "  {word}{}{notes}", line(&node.name));
    }

    fn uses(&mut self, node: &NodeDump) {
        let rows = node.uses.iter().map(|u| {
            [
                u.mode.to_string(),
                format!("{}{}", line(&self.dump.resource_name(u.resource)), bytes(&u.range)),
                Access::new(u.stages, u.access).to_string(),
            ]
        });
        table(self.out, "      ", &rows.collect::<Vec<_>>());
    }

    fn explicit_orders(&mut self) {
        let dump = self.dump;
        if dump.explicit_orders.is_empty() {
            return;
        }
        putln!(self.out);
        putln!(self.out, "explicit order");
        let name = |n: Option<u32>| match n {
            Some(n) => line(&dump.node_name(n)),
            None => "<pass of another frame>".to_owned(),
        };
        for o in &dump.explicit_orders {
            putln!(self.out, "  {} before {}", name(o.first), name(o.then));
        }
    }

    fn culled(&mut self) {
        if self.dump.culled.is_empty() {
            return;
        }
        putln!(self.out);
        putln!(self.out, "culled");
        for (name, because, nodes) in boxes::culled(self.dump) {
            putln!(self.out, "  {}: {}", line(&name), line(because));
            if let [one] = nodes[..]
                && let Some(node) = self.dump.nodes.get(one as usize)
                && node.kind == NodeKindDump::Pass
            {
                self.uses(node);
            }
        }
    }

    fn trimmed(&mut self) {
        if self.dump.trimmed.is_empty() {
            return;
        }
        putln!(self.out);
        putln!(self.out, "trimmed uploads");
        for t in &self.dump.trimmed {
            let by = match t.by.as_slice() {
                [] => "nothing kept reads them".to_owned(),
                by => format!("overwritten by {}", some_names(self.dump, by)),
            };
            putln!(
                self.out,
                "  {}: bytes {} are not uploaded, {by}",
                line(&self.dump.node_name(t.node)),
                bytes(&t.range)
            );
        }
    }

    fn host_writes(&mut self) {
        if self.dump.host_writes.is_empty() {
            return;
        }
        putln!(self.out);
        putln!(self.out, "written directly by the host, before the frame");
        for w in &self.dump.host_writes {
            putln!(self.out, "  {}{}", line(&self.dump.resource_name(w.resource)), bytes(&w.range));
        }
    }

    fn host_reads(&mut self) {
        if self.dump.host_reads.is_empty() {
            return;
        }
        putln!(self.out);
        putln!(self.out, "the host may read when the frame is done");
        let rows = self.dump.host_reads.iter().map(|h| {
            let place = format!("{}{}", line(&self.dump.resource_name(h.resource)), bytes(&h.range));
            [place, if h.nodes.is_empty() { String::new() } else { some_names(self.dump, &h.nodes) }]
        });
        table(self.out, "  ", &rows.collect::<Vec<_>>());
    }
}

/// Says how many regions of so many are not listed.
fn more_regions(out: &mut String, regions: usize) {
    if regions > LISTED {
        putln!(out, "      and {}", count((regions - LISTED) as u64, "more region"));
    }
}

/// The access of a party, where it is not what the entry says.
fn own_access(cause: &CauseDump, entry: &EntryDump, first: bool) -> String {
    let (party, scope) = match first {
        true => (&cause.producer, entry.source()),
        false => (&cause.consumer, entry.destination()),
    };
    let access = Access::new(party.stages, party.access);
    if access == scope || access == Access::NONE {
        String::new()
    } else if access.stages == scope.stages {
        format!(" ({})", access.access)
    } else {
        format!(" ({access})")
    }
}

/// Which transfers a region came from, unless that is plain.
fn origin(dump: &FrameDump, region: &RegionDump) -> String {
    match region.nodes.as_slice() {
        [] => format!("merged from {}", region.merged),
        [one] => format!("{}{}", line(&dump.node_name(*one)), whole(dump, *one, region)),
        several => format!("merged from {}: {}", several.len(), some_names(dump, several)),
    }
}

fn whole(dump: &FrameDump, node: u32, region: &RegionDump) -> &'static str {
    let use_ = dump.nodes.get(node as usize).and_then(|n| n.uses.last());
    match use_ {
        Some(u) if u.range.end.saturating_sub(u.range.start) != region.size => ", in part",
        _ => "",
    }
}

fn some_names(dump: &FrameDump, nodes: &[u32]) -> String {
    let mut text = join(nodes.iter().take(LISTED).map(|&n| line(&dump.node_name(n))), ", ");
    if nodes.len() > LISTED {
        text = format!("{text}, and {} more", nodes.len() - LISTED);
    }
    text
}

/// Widest column to which shorter cells are padded; longer ones stand out.
const WIDEST: usize = 48;

/// Rows with their columns aligned.
fn table<const N: usize>(out: &mut String, indent: &str, rows: &[[String; N]]) {
    let mut widths = [0; N];
    for row in rows {
        for (w, cell) in widths.iter_mut().zip(row) {
            let n = cell.chars().count();
            if n <= WIDEST {
                *w = n.max(*w);
            }
        }
    }
    for row in rows {
        let mut text = String::from(indent);
        for (w, cell) in widths.iter().zip(row) {
            if *w == 0 && cell.is_empty() {
                continue;
            }
            super::write::put!(text, "{cell:<w$}  ");
        }
        putln!(out, "{text}");
    }
}

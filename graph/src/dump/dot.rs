//! The frame as a Graphviz digraph.

use super::boxes::{self, Boxes, End};
use super::model::FrameDump;
use super::names::headline;
use super::write::{join, line, putln};

impl FrameDump {
    /// The frame in the DOT language: a cluster a level, an edge for each hazard that made a barrier entry.
    ///
    /// All transfers of one copy command are one box.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let boxes = Boxes::new(self);
        let edges = boxes::edges(self, &boxes);
        let mut out = String::new();
        putln!(out, "digraph frame {{");
        putln!(out, "  label={};", quoted(title(self).iter()));
        putln!(out, "  labelloc=t; labeljust=l; rankdir=TB; newrank=true; fontname=\"Helvetica\";");
        putln!(out, "  node [shape=box, style=filled, fillcolor=\"#e8eef7\", fontname=\"Helvetica\"];");
        putln!(out, "  edge [fontname=\"Helvetica\", fontsize=10];");
        for (i, level) in boxes.levels.iter().enumerate() {
            if level.boxes.is_empty() {
                continue;
            }
            putln!(out, "  subgraph cluster_{i} {{");
            putln!(out, "    label={}; color=\"#9aa7b8\";", quoted([&level.title].into_iter()));
            for b in level.boxes.clone() {
                let Some(command) = boxes.all.get(b) else { continue };
                let style =
                    if command.pass { "" } else { ", style=\"filled,rounded\", fillcolor=\"#f6efdc\"" };
                putln!(out, "    b{b} [label={}{style}];", quoted(command.lines.iter()));
            }
            putln!(out, "  }}");
        }
        if self.queues.is_empty() {
            for (i, node) in self.nodes.iter().enumerate() {
                putln!(out, "  n{i} [label={}];", quoted([&node.name].into_iter()));
            }
        }
        if edges.iter().any(|e| e.from == End::Earlier) {
            putln!(out, "  earlier [label=\"earlier frames\", shape=plaintext, style=\"\"];");
        }
        if edges.iter().any(|e| e.to == End::Host) {
            putln!(out, "  host [label=\"the host\", shape=plaintext, style=\"\"];");
        }
        for edge in &edges {
            let (from, to) = (id(edge.from), id(edge.to));
            putln!(out, "  {from} -> {to} [label={}];", quoted(edge.lines.iter()));
        }
        levels_below_each_other(&mut out, &boxes);
        for (i, (name, because, _)) in boxes::culled(self).into_iter().enumerate() {
            let label = quoted([name, format!("culled: {because}")].iter());
            putln!(
                out,
                "  culled{i} [label={label}, style=dashed, color=\"#999999\", fontcolor=\"#777777\"];"
            );
        }
        putln!(out, "}}");
        out
    }
}

/// What stands above a drawing.
pub(super) fn title(dump: &FrameDump) -> Vec<String> {
    let mut lines = vec![headline(&dump.name)];
    if let Some(problem) = &dump.problem {
        lines.push("not planned".to_owned());
        lines.extend(problem.lines().map(str::to_owned));
    } else if !dump.causes_collected {
        lines.push(boxes::NO_CAUSES.to_owned());
    }
    lines
}

/// Levels stand one below the other even where no hazard is drawn between them.
fn levels_below_each_other(out: &mut String, boxes: &Boxes) {
    let firsts: Vec<usize> =
        boxes.levels.iter().filter(|l| !l.boxes.is_empty()).map(|l| l.boxes.start).collect();
    for pair in firsts.windows(2) {
        if let [a, b] = pair {
            putln!(out, "  b{a} -> b{b} [style=invis];");
        }
    }
}

fn id(end: End) -> String {
    match end {
        End::Box(b) => format!("b{b}"),
        End::Node(n) => format!("n{n}"),
        End::Earlier => "earlier".to_owned(),
        End::Host => "host".to_owned(),
    }
}

/// A quoted DOT string, one text a line.
fn quoted<'a>(lines: impl Iterator<Item = &'a String>) -> String {
    let escaped = lines.map(|l| line(l).replace('\\', "\\\\").replace('"', "\\\""));
    format!("\"{}\"", join(escaped, "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_are_escaped() {
        let lines = ["a\"b\\N".to_owned(), "c\nd".to_owned()];
        assert_eq!(quoted(lines.iter()), r#""a\"b\\N\nc\\u{a}d""#);
    }
}

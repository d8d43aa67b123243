//! The frame as a Mermaid flowchart.

use super::boxes::{self, Boxes, End};
use super::dot::title;
use super::model::FrameDump;
use super::write::{join, line, put, putln};

impl FrameDump {
    /// The frame as a Mermaid flowchart: a subgraph a level, an edge for each hazard that made a barrier entry.
    ///
    /// All transfers of one copy command are one box.
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let boxes = Boxes::new(self);
        let edges = boxes::edges(self, &boxes);
        let mut out = String::new();
        putln!(out, "flowchart TD");
        putln!(out, "  title[{}]:::title", quoted(title(self).iter()));
        for (i, level) in boxes.levels.iter().enumerate() {
            if level.boxes.is_empty() {
                continue;
            }
            putln!(out, "  subgraph level{i}[{}]", quoted([&level.title].into_iter()));
            for b in level.boxes.clone() {
                let Some(command) = boxes.all.get(b) else { continue };
                let label = quoted(command.lines.iter());
                match command.pass {
                    true => putln!(out, "    b{b}[{label}]"),
                    false => putln!(out, "    b{b}[/{label}/]"),
                }
            }
            putln!(out, "  end");
        }
        if self.queues.is_empty() {
            for (i, node) in self.nodes.iter().enumerate() {
                putln!(out, "  n{i}[{}]", quoted([&node.name].into_iter()));
            }
        }
        if edges.iter().any(|e| e.from == End::Earlier) {
            putln!(out, "  earlier([\"earlier frames\"])");
        }
        if edges.iter().any(|e| e.to == End::Host) {
            putln!(out, "  host([\"the host\"])");
        }
        for edge in &edges {
            putln!(out, "  {} -->|{}| {}", id(edge.from), quoted(edge.lines.iter()), id(edge.to));
        }
        for (i, (name, because, _)) in boxes::culled(self).into_iter().enumerate() {
            let label = quoted([name, format!("culled: {because}")].iter());
            putln!(out, "  culled{i}[{label}]:::culled");
        }
        putln!(out, "  classDef title fill:none,stroke:none");
        putln!(out, "  classDef culled fill:none,stroke:#999,stroke-dasharray:4,color:#777");
        out
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

/// A quoted label; whatever Mermaid, Markdown or HTML could take for its own is a character code.
fn quoted<'a>(lines: impl Iterator<Item = &'a String>) -> String {
    format!("\"{}\"", join(lines.map(|l| escaped(l)), "<br/>"))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in line(text).chars() {
        match c {
            ' ' | '.' | ',' | ':' | '-' | '(' | ')' | '/' | '=' | '+' => out.push(c),
            c if c.is_alphanumeric() => out.push(c),
            c => put!(out, "#{};", u32::from(c)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_is_syntax() {
        assert_eq!(escaped("a\"]-->b"), "a#34;#93;--#62;b");
        assert_eq!(escaped("`x` <b> #1;"), "#96;x#96; #60;b#62; #35;1#59;");
    }
}

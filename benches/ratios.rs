//! This library beside others, in one run, as a Markdown table; `--readme FILE` puts it between two marks of a file.
//!
//! A peer is a program that takes the arguments of `examples/peer` and prints its lines. Each round runs every program
//! once on every workload, so that a busy machine slows all of them; a cell is the median of the rounds' ratios.
//!
//! ```text
//! cargo build --release --features vulkan --example peer
//! cargo bench --bench ratios -- --peer ash=/path/to/peer --peer 'wgpu belt=/path/to/other --mode belt' --readme README.md
//! ```

use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Workload, the figure of its line, and what that is.
const COLUMNS: [(&str, &str, &str); 8] = [
    ("U1", "wall_us", "U1 wall"),
    ("U1", "thread_us", "U1 CPU"),
    ("U2", "wall_us", "U2 wall"),
    ("U2", "thread_us", "U2 CPU"),
    ("U3", "wall_us", "U3 wall"),
    ("U4", "wall_us", "U4 wall"),
    ("G1", "total_ns", "G1"),
    ("G2", "total_ns", "G2"),
];
const BEGIN: &str = "<!-- ratios: begin -->";
const END: &str = "<!-- ratios: end -->";

struct Peer {
    name: String,
    command: Vec<String>,
}

struct Options {
    peers: Vec<Peer>,
    rounds: usize,
    readme: Option<PathBuf>,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options { peers: Vec::new(), rounds: 5, readme: None };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} takes a value"));
        match arg.as_str() {
            "--peer" => options.peers.push(peer(&value()?)?),
            "--rounds" => {
                options.rounds = value()?.parse().map_err(|e| format!("--rounds: {e}"))?;
            }
            "--readme" => options.readme = Some(value()?.into()),
            // What cargo passes on.
            "--bench" => {}
            other => {
                return Err(format!(
                    "unknown argument {other}; --peer NAME=COMMAND, --rounds N, --readme FILE"
                ));
            }
        }
    }
    Ok(options)
}

fn peer(text: &str) -> Result<Peer, String> {
    let (name, command) = text.split_once('=').ok_or("--peer takes NAME=COMMAND")?;
    Ok(Peer { name: name.to_owned(), command: command.split_whitespace().map(str::to_owned).collect() })
}

fn run(options: &Options) -> Result<(), String> {
    let ours = ours()?;
    // By peer and column: the ratio of each round.
    let mut ratios = vec![vec![Vec::new(); COLUMNS.len()]; options.peers.len()];
    let mut own = vec![Vec::new(); COLUMNS.len()];
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        let mut works: Vec<&str> = COLUMNS.map(|c| c.0).to_vec();
        works.dedup();
        for work in works {
            let mine = figures(&ours, work)?.ok_or(format!("examples/peer {work} printed no line"))?;
            let theirs =
                options.peers.iter().map(|peer| figures(peer, work)).collect::<Result<Vec<_>, _>>()?;
            for (column, (_, figure, _)) in COLUMNS.iter().enumerate().filter(|(_, c)| c.0 == work) {
                let Some(mine) = mine[figure].as_f64() else { continue };
                own[column].push(mine);
                for (peer, line) in theirs.iter().enumerate() {
                    ratios[peer][column]
                        .extend(line.as_ref().and_then(|l| l[figure].as_f64()).map(|t| t / mine));
                }
            }
        }
    }
    let table = table(&options.peers, ratios, own);
    print!("{table}");
    options.readme.as_ref().map_or(Ok(()), |readme| write(readme, &table))
}

/// The example of this package, built beside this bench.
fn ours() -> Result<Peer, String> {
    let this = std::env::current_exe().map_err(|e| e.to_string())?;
    let at = this.ancestors().nth(2).map(|release| release.join("examples/peer"));
    let at = at
        .filter(|at| at.exists())
        .ok_or("examples/peer is not built: cargo build --release --features vulkan --example peer")?;
    Ok(Peer { name: String::new(), command: vec![at.to_string_lossy().into_owned()] })
}

/// What a peer prints for a workload; none if it cannot run it.
fn figures(peer: &Peer, work: &str) -> Result<Option<serde_json::Value>, String> {
    let (program, args) = peer.command.split_first().ok_or(format!("{}: no command", peer.name))?;
    let output = Command::new(program).arg(work).args(args).output();
    let output = output.map_err(|e| format!("{program}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|l| l.starts_with('{')).filter(|_| output.status.success());
    Ok(line.and_then(|line| serde_json::from_str(line).ok()))
}

fn table(peers: &[Peer], ratios: Vec<Vec<Vec<f64>>>, own: Vec<Vec<f64>>) -> String {
    let heads = COLUMNS.map(|c| c.2).join(" | ");
    let mut table = format!("| | {heads} |\n|---|{}\n", "---:|".repeat(COLUMNS.len()));
    for (peer, columns) in peers.iter().zip(ratios) {
        // Who declares nothing takes no time for it.
        let ratio = |values| median(values).filter(|m| *m >= 0.005);
        let cells: Vec<String> =
            columns.into_iter().map(|c| ratio(c).map_or("-".into(), |m| format!("{m:.2}"))).collect();
        table += &format!("| {} | {} |\n", peer.name, cells.join(" | "));
    }
    let cell = |(column, values): (usize, Vec<f64>)| {
        let Some(value) = median(values) else { return "-".to_owned() };
        let figure = COLUMNS[column].1;
        let a_pass = if figure == "total_ns" { "ns a pass" } else { "µs" };
        format!("{value:.0} {a_pass}")
    };
    let cells: Vec<String> = own.into_iter().enumerate().map(cell).collect();
    table + &format!("| *memkit-gpu itself* | {} |\n", cells.join(" | "))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Puts the table between its marks.
fn write(readme: &PathBuf, table: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(readme).map_err(|e| format!("{}: {e}", readme.display()))?;
    let marks = text.find(BEGIN).zip(text.find(END)).filter(|(begin, end)| begin < end);
    let (begin, end) = marks.ok_or(format!("{}: no marks {BEGIN} and {END}", readme.display()))?;
    let text = format!("{}\n{table}{}", &text[..begin + BEGIN.len()], &text[end..]);
    std::fs::write(readme, text).map_err(|e| format!("{}: {e}", readme.display()))
}

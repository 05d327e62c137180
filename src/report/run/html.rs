//! A run as one HTML page that needs nothing else: numbers, a picture of throughput over time, failures, the
//! Pipelinefile; or two runs side by side. No script, nothing from elsewhere.

use super::compare::Compared;
use super::diff::difference;
use super::markdown::{NEWS, news, title};
use super::{causes, headline, micros};
use crate::query::report::RunReport;
use crate::text;

/// The size of the picture.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 220.0;
/// Room for its labels.
const LEFT: f64 = 56.0;
const BELOW: f64 = 24.0;

/// Told apart in light and dark, also by most who see few colours.
const COLOURS: [&str; 8] =
    ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#888888"];

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--faint:#888}\
body{font:15px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.3rem 0}\
table{border-collapse:collapse;width:100%}th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);\
text-align:right;font-variant-numeric:tabular-nums}table:not(.text) td{white-space:nowrap}th:first-child,td:first-child,.text td,.text th{text-align:left}\
th{font-weight:600;color:var(--faint)}.scroll{overflow-x:auto}pre{padding:1rem;border:1px solid var(--line);\
overflow-x:auto;font-size:13px}svg{width:100%;height:auto}svg text{font-size:11px;fill:var(--faint)}\
.key{display:inline-block;margin-right:1.2rem}.key i{display:inline-block;width:.8em;height:.8em;margin-right:.4em}\
.bad{color:#c33}code{font-size:13px;overflow-wrap:anywhere}";

/// The page. `pipelinefile`: the file that it ran, if it was kept.
pub fn html(report: &RunReport, command: &str, pipelinefile: Option<&str>) -> String {
    let mut out = head(&format!("Run {}", report.run.number));
    out.push_str(&about(report, command));
    out.push_str("<h2>Throughput</h2>\n");
    out.push_str(&picture(report, top(report)));
    out.push_str("<h2>Targets</h2>\n");
    let targets = super::table(report);
    out.push_str(&table("", &targets.heads, targets.rows.into_iter()));
    let failures = causes(report);
    if !failures.is_empty() {
        out.push_str("<h2 class=\"bad\">Failed</h2>\n");
        let rows = failures.into_iter().map(|(target, summary, place, count, sample)| {
            vec![text::thousands(count), target, summary, place.unwrap_or_default(), sample]
        });
        out.push_str(&table("text", &["documents", "target", "cause", "place", "for example"], rows));
    }
    if !report.slowest.is_empty() {
        out.push_str("<h2>Slowest</h2>\n");
        let rows = report.slowest.iter();
        let rows = rows.map(|slow| vec![micros(slow.duration), slow.target.clone(), slow.doc.clone()]);
        out.push_str(&table("text", &["time", "target", "document"], rows));
    }
    if let Some(pipelinefile) = pipelinefile {
        out.extend([format!("<h2>Pipelinefile</h2>\n<pre>{}</pre>\n", escaped(pipelinefile))]);
    }
    out.push_str(END);
    out
}

/// A run, the command that it was, and the Pipelinefile that it ran if it was kept.
pub type OfRun<'a> = (&'a RunReport, &'a str, Option<&'a str>);

/// The page of two runs side by side, the earlier one first in all pairs.
pub fn html_of_two((report, command, ran): OfRun<'_>, (other, before, ran_before): OfRun<'_>) -> String {
    let compared = Compared::of(report, other);
    let mut out = head(&title(report, other).replacen('r', "R", 1));
    for (run, command) in [(other, before), (report, command)] {
        out.extend([format!("<h2>Run {}</h2>\n", run.run.number)]);
        out.push_str(&about(run, command));
        // Of the same height, so that they can be compared.
        out.push_str(&picture(run, top(other).max(top(report))));
    }
    out.push_str("<h2>Targets</h2>\n");
    let words = compared.words(other);
    out.push_str(&table("", &compared.table.heads, compared.table.rows.into_iter()));
    if !words.is_empty() {
        out.extend([format!("<h2 class=\"bad\">Failed</h2>\n<p>{}</p>\n", escaped(&words))]);
    }
    if !compared.anew.is_empty() {
        out.push_str(&table("text", &NEWS, compared.anew.iter().map(|failed| news(failed))));
    }
    if let (Some(old), Some(new)) = (ran_before, ran) {
        let lines = difference(old, new);
        let shown = if lines.is_empty() {
            "<p>Both ran the same.</p>".to_owned()
        } else {
            format!("<pre>{}</pre>", escaped(&lines.join("\n")))
        };
        out.extend([format!("<h2>Pipelinefile</h2>\n{shown}\n")]);
    }
    out.push_str(END);
    out
}

const END: &str = "</body>\n</html>\n";

fn head(title: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>pipe: {title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    )
}

/// What was run, when, and what came of it.
fn about(report: &RunReport, command: &str) -> String {
    let host = if report.run.host.is_empty() { String::new() } else { format!(" on {}", report.run.host) };
    let begun = format!("{}{host}, pipe {}", report.run.start.date_time(), report.run.version);
    let lines = [escaped(&begun), escaped(&headline(report))];
    format!("<p><code>{}</code></p>\n<p>{}</p>\n", escaped(command), lines.join("</p>\n<p>"))
}

fn table(class: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let cells = |tag: &str, row: &[String]| -> String {
        row.iter()
            .flat_map(|cell| ["<", tag, ">", &escaped(cell), "</", tag, ">"].map(str::to_owned))
            .collect()
    };
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let mut out =
        format!("<div class=\"scroll\"><table class=\"{class}\">\n<tr>{}</tr>\n", cells("th", &head));
    rows.for_each(|row| out.extend([format!("<tr>{}</tr>\n", cells("td", &row))]));
    out.push_str("</table></div>\n");
    out
}

/// The most actions a second that ended in a run.
fn top(report: &RunReport) -> f64 {
    let ended = &report.throughput.ended;
    let stretches = ended.first().map_or(0, Vec::len);
    let seconds = report.throughput.every as f64 / 1000.0;
    let sum = |at: usize| ended.iter().map(|of| of[at]).sum::<u64>() as f64 / seconds;
    (0..stretches).map(sum).fold(0.0, f64::max)
}

/// Actions a second over time, the targets one upon the other. `top`: what its height is enough for.
fn picture(report: &RunReport, top: f64) -> String {
    let ended = &report.throughput.ended;
    let stretches = ended.first().map_or(0, Vec::len);
    if stretches == 0 || report.ran() == 0 {
        return "<p>No module ran.</p>\n".to_owned();
    }
    let seconds = report.throughput.every as f64 / 1000.0;
    let top = nice(top);
    let (plot_width, plot_height) = (WIDTH - LEFT, HEIGHT - BELOW);
    let bar = plot_width / stretches as f64;
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Actions a second over the time of the run\">\n"
    );
    // Of 1, 2, 5 and 10 a fifth has few digits.
    for part in 0..=5 {
        let y = 8.0 + (plot_height - 8.0) * (1.0 - f64::from(part) / 5.0);
        out.extend([format!(
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#8884\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 6.0,
            y + 4.0,
            rate(top * f64::from(part) / 5.0)
        )]);
    }
    let mut heights = vec![0.0; stretches];
    for (ix, of) in ended.iter().enumerate() {
        let colour = COLOURS[ix % COLOURS.len()];
        for (at, count) in of.iter().enumerate().filter(|(_, count)| **count > 0) {
            let height = *count as f64 / seconds / top * (plot_height - 8.0);
            heights[at] += height;
            out.extend([format!(
                "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{height:.2}\" fill=\"{colour}\"/>\n",
                LEFT + bar * at as f64,
                plot_height - heights[at],
                (bar - 0.6).max(0.4),
            )]);
        }
    }
    for part in 0..=4u64 {
        let x = LEFT + plot_width * part as f64 / 4.0;
        let anchor = ["start", "middle", "middle", "middle", "end"][part as usize];
        let at = report.throughput.every * stretches as u64 * part / 4;
        out.extend([format!(
            "<text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"{anchor}\">{}</text>\n",
            HEIGHT - 6.0,
            text::duration(std::time::Duration::from_millis(at))
        )]);
    }
    out.push_str("</svg>\n<p>");
    for (ix, target) in report.targets.iter().enumerate().filter(|(ix, _)| ended[*ix].iter().any(|n| *n > 0))
    {
        let colour = COLOURS[ix % COLOURS.len()];
        let name = escaped(&target.target);
        out.extend([format!("<span class=\"key\"><i style=\"background:{colour}\"></i>{name}</span>")]);
    }
    out.push_str("</p>\n<p>Actions that ended, a second.</p>\n");
    out
}

/// The next of 1, 2, 5, 10, 20, … at or above a number.
fn nice(number: f64) -> f64 {
    let mut unit = 10f64.powf(number.max(0.001).log10().floor());
    for factor in [1.0, 2.0, 5.0, 10.0] {
        if unit * factor >= number {
            return unit * factor;
        }
    }
    unit *= 10.0;
    unit
}

fn rate(number: f64) -> String {
    if number >= 10.0 || number.fract() == 0.0 {
        text::thousands(number.round() as u64)
    } else {
        format!("{number:.2}")
    }
}

pub(in crate::report) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}
